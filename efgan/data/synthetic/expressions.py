"""Action Units → face units of the mesh.

The AU label of an embedded face is the control value given here. The face units are ARKit-like shapes, so a label
says "this control at this intensity", not a certified FACS code.
"""

import numpy as np

from efgan.data.action_units import AU_NAMES, NUM_AUS

# Face-unit weights at intensity 5. A name ending in "*" stands for its Left and Right units.
# Our decision: chosen by eye so that every AU shows clearly at 64 px.
AU_FACE_UNITS: dict[str, dict[str, float]] = {
    "AU01": {"browInnerUp": 1.35, "browDown*": -0.1},
    "AU02": {"browOuterUp*": 1.35},
    "AU04": {"browDown*": 1.35, "browInnerUp": -0.95, "browOuterUp*": 0.25, "noseSneer*": 0.15},
    "AU05": {"eyeWide*": 1.45},
    "AU06": {"cheekSquint*": 1.7, "eyeSquint*": 0.45},
    "AU07": {"eyeSquint*": 1.25, "eyeBlink*": 0.10},
    "AU09": {"noseSneer*": 1.6, "browDown*": 0.25},
    "AU10": {"mouthUpperUp*": 1.1, "noseSneer*": 0.15},
    "AU12": {"mouthSmile*": 1.0, "cheekSquint*": 0.2},
    "AU14": {"mouthDimple*": 1.7, "mouthPress*": 0.7, "mouthSmile*": -0.3},
    "AU15": {"mouthFrown*": 1.3, "mouthSmile*": -0.15},
    "AU17": {"mouthShrugLower": 1.15, "mouthShrugUpper": 0.7, "mouthSmile*": -0.15},
    "AU20": {"mouthStretch*": 1.6, "mouthSmile*": 0.25, "mouthLowerDown*": 0.25},
    "AU23": {"mouthPress*": 0.7, "mouthRollLower": 0.65, "mouthRollUpper": 0.65, "mouthSmile*": -0.2},
    "AU25": {"mouthLowerDown*": 0.95, "mouthUpperUp*": 0.5, "jawOpen": 0.12},
    "AU26": {"jawOpen": 0.8},
    "AU45": {"eyeBlink*": 1.0},
}
LIMITS = {"eyeBlink": 1.02, "mouthDimple": 2.0, "mouthStretch": 1.8, "cheekSquint": 2.1, "noseSneer": 1.9}
DEFAULT_LIMIT = 1.45


def both_sides(aus: np.ndarray) -> np.ndarray:
    """AUs as a float32 array 2×17 (subject's left, right) from 17 or 2×17 values in [0, 1].

    Raises:
        ValueError: another shape, or values outside [0, 1].
    """
    aus = np.asarray(aus, np.float32)
    if aus.shape == (NUM_AUS,):
        aus = np.stack([aus, aus])
    if aus.shape != (2, NUM_AUS) or not (aus.min() >= 0 and aus.max() <= 1):
        raise ValueError(f"AUs must be {NUM_AUS} or 2×{NUM_AUS} values in [0, 1], not shape {aus.shape}")
    return aus


def face_unit_weights(sides: np.ndarray) -> dict[str, float]:
    """Weights of the face units for AUs of both sides.

    Args:
        sides: 2×17 in [0, 1], row 0 the subject's left.

    Returns:
        Face unit → weight, limited so that sums of AUs do not tear the mesh.
    """
    weights: dict[str, float] = {}
    for column, code in enumerate(AU_NAMES):
        left, right = float(sides[0, column]), float(sides[1, column])
        if left == 0 and right == 0:
            continue
        for unit, weight in AU_FACE_UNITS[code].items():
            names = [(unit, (left + right) / 2)]
            if unit.endswith("*"):
                names = [(unit[:-1] + "Left", left), (unit[:-1] + "Right", right)]
            for name, value in names:
                weights[name] = weights.get(name, 0.0) + weight * value
    # A closed eye neither widens nor squints: the lid would leave the eyeball.
    for side, row in (("Left", 0), ("Right", 1)):
        closed = float(sides[row, AU_NAMES.index("AU45")])
        for name in ("eyeWide" + side, "eyeSquint" + side):
            if name in weights:
                weights[name] *= 1 - closed
    return {
        n: min(w, LIMITS.get(n.removesuffix("Left").removesuffix("Right"), DEFAULT_LIMIT)) for n, w in weights.items()
    }
