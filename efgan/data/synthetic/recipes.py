"""What the two embedded sets consist of: people, expressions, variants, random AU combinations.

`synthetic_rafd` stands in the role of RaFD (67 people × 8 expressions × 3 variants), `synthetic_cfeed` in that of
CFEED (230 people × 22 categories). Both are synthetic and always labelled so. The prototypes of the 22 categories are
Du et al. 2014 (see `efgan.data.action_units`); intensities and everything else are our decision.
"""

from dataclasses import dataclass

import numpy as np

from efgan.data.action_units import (
    AU_NAMES,
    CFEED_CATEGORIES,
    CFEED_PRIMARY,
    NUM_AUS,
    RAFD_EXPRESSIONS,
    prototype_aus,
)

RANDOM_BLOCK = 8  # random-AU faces per cache file
JITTER = 0.2  # every AU of every image is scaled by 1 ± this
ASYMMETRY = 0.07  # standard deviation of the difference between the sides of a face
NO_EXPRESSION = -1

# Intensities 0-5. "L" marks an AU of one side only; which side is drawn per person.
BASIC_EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "angry": {"AU04": 4.8, "AU05": 1.8, "AU07": 3.6, "AU17": 2.2, "AU23": 4.5},
    "contemptuous": {"AU12L": 2.4, "AU14L": 4.8},
    "disgusted": {"AU04": 1.8, "AU06": 1.5, "AU07": 2.2, "AU09": 4.8, "AU10": 4.2, "AU17": 1.5, "AU25": 1.0},
    "fearful": {"AU01": 4.6, "AU02": 2.8, "AU04": 2.2, "AU05": 4.7, "AU20": 4.5, "AU25": 3.2, "AU26": 1.2},
    "happy": {"AU06": 3.8, "AU12": 4.7, "AU25": 3.8},
    "sad": {"AU01": 4.6, "AU04": 2.2, "AU15": 4.7, "AU17": 3.0},
    "surprised": {"AU01": 4.6, "AU02": 4.6, "AU05": 4.2, "AU25": 3.0, "AU26": 4.6},
}
COMPOUND_SCALE = 1.4  # prototype intensities 3 and 1.5 of 5 become 4.2 and 2.1
_EXCLUDE = ({"AU05", "AU45"}, {"AU07", "AU45"}, {"AU23", "AU25"}, {"AU23", "AU26"}, {"AU12", "AU15"}, {"AU06", "AU45"})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One embedded set.

    Attributes:
        family: seed offset of its people; the sets share nobody.
        people: number of identities of the full set.
        variants: renders per identity and expression (pose, light and background differ).
        expressions: class names. evaluated: those that metrics use.
    """

    family: int
    people: int
    variants: int
    expressions: tuple[str, ...]
    evaluated: tuple[str, ...]


RECIPES: dict[str, Recipe] = {
    "synthetic_rafd": Recipe(
        family=1000, people=67, variants=3, expressions=RAFD_EXPRESSIONS, evaluated=RAFD_EXPRESSIONS
    ),
    "synthetic_cfeed": Recipe(
        family=2000, people=230, variants=1, expressions=CFEED_CATEGORIES, evaluated=CFEED_PRIMARY
    ),
}


def expression_sides(expression: str, *, side: int = 0) -> np.ndarray:
    """AUs of an expression at its usual strength.

    Args:
        expression: one of `RAFD_EXPRESSIONS` or `CFEED_CATEGORIES`.
        side: 0 = the subject's left carries one-sided AUs, 1 = the right.

    Returns:
        float32, 2×17 in [0, 1]: left and right side.
    """
    if expression not in BASIC_EXPRESSIONS:
        return np.clip(np.stack([prototype_aus(expression)] * 2) * COMPOUND_SCALE, 0, 1)
    sides = np.zeros((2, NUM_AUS), np.float32)
    for code, intensity in BASIC_EXPRESSIONS[expression].items():
        rows = side if code.endswith("L") else slice(None)
        sides[rows, AU_NAMES.index(code.removesuffix("L"))] = intensity / 5
    return sides


def jittered(sides: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The same expression as another person would show it: intensities ± 20 %, sides slightly unequal."""
    strength = random.uniform(1 - JITTER, 1 + JITTER, NUM_AUS)
    tilt = np.clip(random.normal(size=NUM_AUS) * ASYMMETRY, -0.15, 0.15)
    return np.clip(sides * strength * np.stack([1 + tilt, 1 - tilt]), 0, 1).astype(np.float32)


def expression_plan(recipe: Recipe, seed: int, identity: int, variant: int) -> list[tuple[int, np.ndarray]]:
    """(expression index, AUs 2×17) of all faces of one person and variant."""
    side = int(np.random.default_rng([seed, recipe.family, identity, 11]).integers(2))
    plan = []
    for number, name in enumerate(recipe.expressions):
        random = np.random.default_rng([seed, recipe.family, identity, variant, number])
        plan.append((number, jittered(expression_sides(name, side=side), random)))
    return plan


def random_plan(recipe: Recipe, seed: int, identity: int, count: int) -> list[np.ndarray]:
    """The first `count` random AU combinations (2×17) of one person.

    2 to 5 AUs of 17 at 0.3 to 1, dealt like cards from shuffled decks so that every AU comes equally often; pairs that
    contradict each other are not combined.
    """
    random = np.random.default_rng([seed, recipe.family, identity, 17])
    deck: list[str] = []
    combinations: list[np.ndarray] = []
    while len(combinations) < count:
        chosen: list[str] = []
        want = int(random.integers(2, 6))
        if len(deck) < 2 * NUM_AUS:
            deck += [AU_NAMES[i] for i in random.permutation(NUM_AUS)]
            deck += [AU_NAMES[i] for i in random.permutation(NUM_AUS)]
        for code in list(deck):
            if len(chosen) == want:
                break
            if code not in chosen and not any({code, other} in _EXCLUDE for other in chosen):
                chosen.append(code)
                deck.remove(code)
        sides = np.zeros((2, NUM_AUS), np.float32)
        for code in chosen:
            sides[:, AU_NAMES.index(code)] = random.uniform(0.3, 1.0)
        tilt = np.clip(random.normal(size=NUM_AUS) * ASYMMETRY, -0.15, 0.15)
        combinations.append(np.clip(sides * np.stack([1 + tilt, 1 - tilt]), 0, 1).astype(np.float32))
    return combinations
