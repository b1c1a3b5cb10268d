"""The 17 OpenFace Action Units, in OpenFace's order, and the FACS prototypes of the expressions.

Intensities are OpenFace's 0-5 divided by 5 inside the code, 0-5 where people read or write them.
"""

import numpy as np

AU_DESCRIPTIONS: dict[str, str] = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU17": "chin raiser",
    "AU20": "lip stretcher",
    "AU23": "lip tightener",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU45": "blink",
}
AU_NAMES: tuple[str, ...] = tuple(AU_DESCRIPTIONS)
NUM_AUS = len(AU_NAMES)
MAX_INTENSITY = 5.0  # OpenFace's scale

RAFD_EXPRESSIONS = (
    "neutral", "angry", "contemptuous", "disgusted", "fearful", "happy", "sad", "surprised",
)  # fmt: skip
CFEED_CATEGORIES = (
    "neutral", "happy", "sad", "fearful", "angry", "surprised", "disgusted",
    "happily_surprised", "happily_disgusted", "sadly_fearful", "sadly_angry", "sadly_surprised",
    "sadly_disgusted", "fearfully_angry", "fearfully_surprised", "fearfully_disgusted", "angrily_surprised",
    "angrily_disgusted", "disgustedly_surprised", "appalled", "hatred", "awed",
)  # fmt: skip
CFEED_PRIMARY = CFEED_CATEGORIES[:7]

# Core and variant AUs after Du, Tao & Martinez 2014; OpenFace has no AU24 (taken as 23), 11 and 16 are dropped
# (our decision, spec 5.4). Contempt: RaFD's unilateral AU14 with EMFACS' AU12.
_CORE_AND_VARIANT: dict[str, tuple[str, str]] = {
    "neutral": ("", ""),
    "happy": ("12 25", "6"),
    "sad": ("4 15", "1 6 17"),
    "fearful": ("1 4 20 25", "2 5 26"),
    "angry": ("4 7 23", "10 17"),
    "surprised": ("1 2 25 26", "5"),
    "disgusted": ("9 10 17", "4 23"),
    "contemptuous": ("14", "12"),
    "happily_surprised": ("1 2 12 25", "5 26"),
    "happily_disgusted": ("10 12 25", "4 6 9"),
    "sadly_fearful": ("1 4 20 25", "2 5 6 15"),
    "sadly_angry": ("4 15", "6 7 17"),
    "sadly_surprised": ("1 4 25 26", "2 6"),
    "sadly_disgusted": ("4 10", "1 6 9 15 17 25"),
    "fearfully_angry": ("4 20 25", "5 7 10"),
    "fearfully_surprised": ("1 2 5 20 25", "4 10 26"),
    "fearfully_disgusted": ("1 4 10 20 25", "2 5 6 9 15"),
    "angrily_surprised": ("4 25 26", "5 7 10"),
    "angrily_disgusted": ("4 10 17", "7 9 23"),
    "disgustedly_surprised": ("1 2 5 10", "4 9 17 23"),
    "appalled": ("4 10", "6 9 17 23"),
    "hatred": ("4 10", "7 9 17 23"),
    "awed": ("1 2 5 25", "4 20 26"),
}


def prototype_aus(expression: str) -> np.ndarray:
    """FACS prototype of an expression: core AUs at intensity 3 of 5, variant AUs at 1.5.

    Args:
        expression: one of `RAFD_EXPRESSIONS` or `CFEED_CATEGORIES`.

    Returns:
        float32 array (17,) in [0, 1].

    Raises:
        KeyError: the expression is unknown.

    Source: AUs from Du et al. 2014 and EMFACS (spec 5.5); the intensities are our decision.

    >>> dict(zip(AU_NAMES, prototype_aus("happy").round(1).tolist()))["AU12"]
    0.6
    """
    aus = np.zeros(NUM_AUS, dtype=np.float32)
    for group, intensity in zip(_CORE_AND_VARIANT[expression], (0.6, 0.3), strict=True):
        for number in group.split():
            aus[AU_NAMES.index(f"AU{int(number):02d}")] = intensity
    return aus
