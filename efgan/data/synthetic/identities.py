"""Who the embedded people are: shape, skin, brows, eyes, lips, beard, hair, drawn from a seed.

All numbers here are our decision, chosen by eye; they describe no real person or group.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from efgan.data.synthetic.head import LEFT_EYE, RIGHT_EYE, load_head
from efgan.data.synthetic.look import Triple, triple

MALE_HAIR = ("short", "side_part", "cropped", "receding", "bald", "curly_short", "medium")
FEMALE_HAIR = ("long", "long_fringe", "bob", "tied_back", "wavy", "curly_volume", "short", "long_centre")
_PAIRS = (  # targets with -incr / -decr, standard deviation of the weight
    ("nose-scale-horiz", 0.28), ("nose-scale-vert", 0.25), ("nose-scale-depth", 0.25), ("nose-width1", 0.25),
    ("nose-width2", 0.25), ("nose-width3", 0.25), ("nose-hump", 0.25), ("nose-volume", 0.25),
    ("nose-point-width", 0.25), ("nose-flaring", 0.25), ("mouth-scale-horiz", 0.22), ("mouth-cupidsbow", 0.3),
    ("mouth-lowerlip-height", 0.25), ("mouth-upperlip-height", 0.25), ("chin-height", 0.2), ("chin-width", 0.25),
    ("chin-prominent", 0.25), ("head-scale-horiz", 0.25), ("head-fat", 0.25), ("forehead-temple", 0.25),
    ("forehead-nubian", 0.2),
)  # fmt: skip
_SIDED = ("cheek-bones", "cheek-volume", "cheek-inner", "eye-scale", "eye-height1", "eye-bag", "ear-scale", "ear-wing")
_UP_DOWN = ("nose-point", "nose-base", "eyebrows-angle")
_HEAD_SHAPES = ("oval", "round", "diamond", "invertedtriangular", "square", "rectangular", "triangular")
_LIGHT, _MEDIUM, _DARK = np.array([0.80, 0.60, 0.50]), np.array([0.60, 0.39, 0.26]), np.array([0.23, 0.135, 0.09])
_HAIR = {
    "black": (0.022, 0.018, 0.017), "dark_brown": (0.055, 0.033, 0.022), "brown": (0.12, 0.066, 0.035),
    "blond": (0.42, 0.28, 0.13), "red": (0.24, 0.075, 0.028), "grey": (0.36, 0.35, 0.34),
}  # fmt: skip
_EYES = {
    "dark": (0.075, 0.036, 0.018), "brown": (0.17, 0.085, 0.036), "green": (0.13, 0.20, 0.10),
    "blue": (0.13, 0.21, 0.33), "grey": (0.26, 0.31, 0.35),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One synthetic person. Colours are linear RGB; lengths are rest-space decimetres.

    Attributes:
        seed: seeds this person's textures.
        female: presents as a woman.
        age: 0 (twenty) to 1 (seventy).
        melanin: 0 (light) to 1 (dark skin).
        shape: target → weight of the neutral face, including the relaxed pose of brows and lids.
        skin, lip, hair_colour, brow_colour, eye: colours.
        redness, freckles, lashes, makeup, beard, stubble: strengths in [0, 1].
        beard_style: 0 full, 1 goatee, 2 moustache.
        brow_density, brow_thickness, brow_arch: the painted brows (arch in dm).
        hair: one of `MALE_HAIR` or `FEMALE_HAIR`.
        hairline: shift of the front hairline in dm (up is positive).
        wrinkle_gain: how strongly skin folds in six places (forehead, glabella, nose, eyes, cheeks, chin).
        shirt: colour of the shirt.
    """

    seed: int
    female: bool
    age: float
    melanin: float
    shape: dict[str, float]
    skin: Triple
    lip: Triple
    hair_colour: Triple
    brow_colour: Triple
    eye: Triple
    redness: float
    freckles: float
    lashes: float
    makeup: float
    beard: float
    stubble: float
    beard_style: int
    brow_density: float
    brow_thickness: float
    brow_arch: float
    hair: str
    hairline: float
    wrinkle_gain: tuple[float, ...]
    shirt: Triple


def _shape(random: np.random.Generator, female: bool, age: float, ancestry: np.ndarray) -> dict[str, float]:
    weights: dict[str, float] = {}

    def add(name: str, weight: float) -> None:
        weights[name] = weights.get(name, 0.0) + weight

    def pair(name: str, deviation: float) -> None:
        weight = float(np.clip(random.normal() * deviation * 0.85, -0.45, 0.45))
        add(name + ("-incr" if weight > 0 else "-decr"), abs(weight))

    male_part = float(np.clip((0.04 if female else 0.92) + random.normal() * 0.04, 0, 1))
    heavy = random.normal() * 0.35
    for sex, sex_weight in (("male", male_part), ("female", 1 - male_part)):
        for stage, stage_weight in (("young", 1 - age), ("old", age)):
            both = sex_weight * stage_weight
            for name, share in zip(("caucasian", "asian", "african"), ancestry, strict=True):
                add(f"{name}-{sex}-{stage}", both * float(share))
            body = f"universal-{sex}-{stage}-averagemuscle-"
            add(body + "averageweight", both * (1 - abs(heavy)))
            add(body + ("maxweight" if heavy > 0 else "minweight"), both * abs(heavy))
    for name, deviation in _PAIRS:
        pair(name, deviation)
    for name in _SIDED:
        weight = float(np.clip(random.normal() * 0.22, -0.5, 0.5))
        for side in "lr":
            add(f"{side}-{name}" + ("-incr" if weight > 0 else "-decr"), abs(weight) * random.uniform(0.9, 1.1))
    for name in _UP_DOWN:
        weight = float(random.normal() * 0.25)
        add(name + ("-up" if weight > 0 else "-down"), min(abs(weight), 0.6))
    shapes = _HEAD_SHAPES[:4] if female else _HEAD_SHAPES
    add("head-" + shapes[random.integers(len(shapes))], float(random.uniform(0, 0.5)))
    if ancestry[1] > 0.5:
        for side in "lr":
            add(f"{side}-eye-epicanthus-in", float(random.uniform(0.2, 0.7)))
    # A relaxed, friendly neutral: the base mesh frowns a little, most of all with the male brow ridge.
    for side in ("Left", "Right"):
        add("browDown" + side, -0.34 if female else -0.30)
        add("browOuterUp" + side, 0.04)
        add("eyeWide" + side, 0.20 if female else 0.16)
        add("mouthSmile" + side, 0.17)
        add("noseSneer" + side, -0.10)
    add("browInnerUp", 0.22)
    add("eyebrows-trans-backward", 0.75 if female else 0.45)
    add("eyebrows-trans-up", 0.25 if female else 0.15)
    if female:
        add("mouth-lowerlip-volume-incr", float(random.uniform(0.0, 0.35)))
        add("mouth-upperlip-volume-incr", float(random.uniform(0.0, 0.35)))
        add("mouth-scale-vert-incr", float(random.uniform(0.0, 0.25)))
        add("chin-width-decr", 0.45)
        add("chin-bones-decr", 0.35)
        add("head-fat-decr", 0.15)
        add("nose-scale-horiz-decr", 0.2)
        for side in "lr":
            add(f"{side}-eye-scale-incr", 0.35)
    return weights


def _colours(random: np.random.Generator, melanin: float, age: float, female: bool) -> dict[str, Triple]:
    half = melanin / 0.5
    base = _LIGHT * (1 - half) + _MEDIUM * half if half < 1 else _MEDIUM * (2 - half) + _DARK * (half - 1)
    skin = (
        base * random.uniform(0.95, 1.06) * np.array([1, random.uniform(0.96, 1.03), random.uniform(0.92, 1.0)])
    ) ** 1.55
    share = [0.2, 0.25, 0.25, 0.2, 0.1] if melanin < 0.3 else [0.75, 0.22, 0.03, 0, 0]
    hair = np.array(_HAIR[list(_HAIR)[random.choice(5, p=share)]])
    grey = np.clip((age - 0.45) * 2.2 + random.normal() * 0.25, 0, 1) if age > 0.35 else 0.0
    hair = (hair * (1 - grey) + np.array(_HAIR["grey"]) * grey) * random.uniform(0.8, 1.25)
    share = [0.2, 0.28, 0.2, 0.2, 0.12] if melanin < 0.3 else [0.75, 0.22, 0.03, 0, 0]
    eye = np.array(_EYES[list(_EYES)[random.choice(5, p=share)]])
    redder = skin * np.array([0.80, 0.46, 0.46])
    paint = np.array([[0.36, 0.05, 0.06], [0.42, 0.10, 0.11], [0.30, 0.04, 0.09], [0.38, 0.13, 0.10]])[
        random.integers(4)
    ]
    amount = random.uniform(0.05, 0.5) if female else random.uniform(0, 0.05)
    lip = redder * (1 - amount) + paint * amount * (1 - 0.45 * melanin)
    brow = np.minimum(hair * 0.55, 0.10) + 0.004
    shirts = np.array(
        [
            [0.02, 0.02, 0.025],
            [0.03, 0.05, 0.11],
            [0.25, 0.25, 0.25],
            [0.10, 0.02, 0.03],
            [0.04, 0.09, 0.06],
            [0.45, 0.44, 0.42],
        ]
    )
    shirt = shirts[random.integers(6)] * random.uniform(0.8, 1.2)
    named = {"skin": skin, "hair_colour": hair, "brow_colour": brow, "eye": eye, "lip": lip, "shirt": shirt}
    return {name: triple(value) for name, value in named.items()}


def sample_identity(seed: int, number: int) -> Identity:
    """The person `number` of the family `seed`; any prefix 0…n is balanced in sex and skin tone.

    Args:
        seed: family of people; different families share nobody.
        number: 0-based position in the family.
    """
    random = np.random.default_rng([seed, number, 68])
    female = number % 2 == 0
    tone = (number // 2 * 2 + number // 6) % 3  # light, dark, medium in turn, so every six people hold all six kinds
    ancestry = random.dirichlet([0.35] * 3) * 0.35
    ancestry[(0, 1, 2)[tone]] += 0.65
    centre = (0.10, 0.34, 0.80)[tone]
    melanin = float(np.clip(centre + random.normal() * (0.07, 0.10, 0.13)[tone], 0.02, 1))
    age = float(random.beta(1.2, 3.2) * 0.95)
    hair = str(random.choice(FEMALE_HAIR if female else MALE_HAIR, p=_hair_odds(female, age, tone)))
    bearded = not female and random.random() < 0.42
    return Identity(
        seed=int(random.integers(2**31)),
        female=female,
        age=age,
        melanin=melanin,
        shape=_shape(random, female, age, ancestry),
        **_colours(random, melanin, age, female),
        redness=float(random.uniform(0.3, 1)),
        freckles=float(max(0, random.uniform(-0.8, 0.6))) * (melanin < 0.4),
        lashes=float(random.uniform(0.75, 1.0) if female else random.uniform(0.25, 0.45)),
        makeup=float(random.uniform(0.1, 0.7) if female else 0),
        beard=float(random.uniform(0.45, 0.95)) if bearded else 0.0,
        stubble=0.0 if female else float(random.uniform(0.0, 0.35)),
        beard_style=int(random.integers(3)),
        brow_density=float(random.uniform(0.6, 0.85) if female else random.uniform(0.7, 0.95)),
        brow_thickness=float(random.uniform(0.58, 0.85) if female else random.uniform(0.9, 1.3)),
        brow_arch=float(random.uniform(0.015, 0.05) if female else random.uniform(-0.01, 0.02)),
        hair=hair,
        hairline=float(random.uniform(-0.08, 0.06)),
        wrinkle_gain=tuple(float(v) for v in np.clip(random.lognormal(-0.35, 0.45, 6), 0.25, 1.5)),
    )


def _hair_odds(female: bool, age: float, tone: int) -> np.ndarray:
    if female:  # long, long_fringe, bob, tied_back, wavy, curly_volume, short, long_centre
        odds = np.array([3, 2.5, 2.5, 2.5, 2.5, 0.6, 0.8, 2.0])
        if tone == 2:
            odds = np.array([1.0, 1.0, 1.0, 3.0, 1.5, 4.5, 1.2, 0.8])
    else:  # short, side_part, cropped, receding, bald, curly_short, medium
        odds = np.array([3, 2.5, 1.5, 0.5 + 4 * age, 0.3 + 2.5 * age, 0.8, 1.0])
        if tone == 2:
            odds = np.array([1.5, 0.3, 4, 0.6 + 2 * age, 1 + 2 * age, 3, 0.2])
    return odds / odds.sum()


@lru_cache(maxsize=8)
def _neutral(seed: int, shape: tuple[tuple[str, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    head = load_head()
    vertices = head.deformed(head.vertices, dict(shape))
    eyes = np.stack([vertices[head.part_vertices(part)].mean(0) for part in (LEFT_EYE, RIGHT_EYE)])
    return vertices, eyes


def build_neutral(identity: Identity) -> tuple[np.ndarray, np.ndarray]:
    """The person's neutral mesh (float32, V×3; do not write into it) and the two eyeball centres (2×3)."""
    return _neutral(identity.seed, tuple(identity.shape.items()))
