"""How a face is looked at: pose, framing, light, background, camera. Shared by all images of a variant."""

from dataclasses import dataclass

import numpy as np

from efgan.data.synthetic.look import Light, Triple, triple
from efgan.data.synthetic.rasteriser import box_blur

STUDIO = Light(
    key=(-0.45, 0.55, 0.75), fill=(0.75, 0.15, 0.6),
    key_colour=(0.95, 0.93, 0.90), fill_colour=(0.38, 0.39, 0.41), ambient=(0.32, 0.32, 0.32),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class View:
    """One camera and light set-up.

    Attributes:
        yaw, pitch, roll: head pose in degrees.
        shift: (right, down) as a fraction of the image side.
        scale: zoom, 1 = the usual face crop.
        light: two lights and the light from everywhere.
        exposure: factor before tone mapping.
        gaze: (right, up) in radians.
        background: linear RGB.
        background_kind: "plain" or "outdoor" (procedural: sky, foliage, walls, out of focus).
        background_seed: seeds the background.
        noise: standard deviation of camera noise in grey levels of 255.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    light: Light = STUDIO
    exposure: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    background: Triple = (0.6, 0.6, 0.6)
    background_kind: str = "plain"
    background_seed: int = 0
    noise: float = 0.0


def _light(random: np.random.Generator, contrast: float, tint: float) -> Light:
    side = random.uniform(-0.75, 0.75)
    key = np.array([side, random.uniform(0.35, 0.75), 0.8])
    fill = np.array([-np.sign(side) * random.uniform(0.5, 0.9), random.uniform(0, 0.3), 0.65])
    warmth = random.normal() * tint
    strength = 0.80 + contrast * random.uniform(-0.1, 0.35)
    weak = random.uniform(0.34, 0.5) * (1 - 0.6 * contrast * random.random())
    return Light(
        key=triple(key),
        fill=triple(fill),
        key_colour=triple(strength * np.array([1 + warmth, 1, 1 - warmth])),
        fill_colour=triple(weak * np.array([1 - warmth, 1, 1 + warmth])),
        ambient=triple(np.full(3, random.uniform(0.30, 0.38))),
    )


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def sample_view(seed: int, identity: int, variant: int) -> View:
    """The studio-like view of one (identity, variant): small pose, soft light, plain background (our decision)."""
    random = np.random.default_rng([seed, identity, variant, 21])
    level = random.choice([0.18, 0.38, 0.55, 0.72]) * random.uniform(0.9, 1.1)
    tint = 1 + random.normal(size=3) * 0.04
    return View(
        yaw=float(random.uniform(-6, 6)),
        pitch=float(random.uniform(-3, 3)),
        roll=float(random.uniform(-2, 2)),
        shift=_pair(random.uniform(-0.012, 0.012, 2)),
        scale=float(random.uniform(0.975, 1.025)),
        exposure=float(random.uniform(0.95, 1.08)),
        gaze=_pair(random.normal(size=2) * 0.025),
        background=triple(np.clip(level * tint, 0.05, 0.9)),
        background_seed=int(random.integers(2**31)),
        light=_light(random, 0.5, 0.02),
    )


def wild_view(seed: int) -> View:
    """A view unlike the training ones: harder coloured light, larger pose, out-of-focus background, camera noise."""
    random = np.random.default_rng([seed, 83])
    return View(
        yaw=float(random.uniform(-11, 11)),
        pitch=float(random.uniform(-5, 5)),
        roll=float(random.uniform(-5, 5)),
        shift=_pair(random.uniform(-0.02, 0.02, 2)),
        scale=float(random.uniform(0.93, 1.0)),
        exposure=float(random.uniform(0.85, 1.15)),
        gaze=_pair(random.normal(size=2) * 0.08),
        background=triple(random.uniform(0.15, 0.6, 3)),
        background_kind="outdoor",
        background_seed=int(random.integers(2**31)),
        noise=float(random.uniform(1, 3.5)),
        light=_light(random, 1.0, 0.10),
    )


def draw_background(view: View, size: int) -> np.ndarray:
    """The empty scene: float32, size×size×3, linear RGB."""
    random = np.random.default_rng(view.background_seed)
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) / size
    colour = np.array(view.background, np.float32)
    if view.background_kind == "plain":
        centre, fall = random.uniform(0.2, 0.8, 2), random.uniform(0.05, 0.3)
        light = 1.06 - fall * ((row - centre[0]) ** 2 + (column - centre[1]) ** 2) / 0.5 - 0.08 * row
        return (light[:, :, None] * colour).astype(np.float32)
    return _outdoor(random, row, column, colour)


def _outdoor(random: np.random.Generator, row: np.ndarray, column: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Sky, wall or foliage far out of focus: soft discs and upright bars over a graded ground."""
    size = len(row)
    sky = random.uniform(0.35, 0.9) * np.array([random.uniform(0.75, 1.0), 0.92, random.uniform(0.9, 1.1)])
    blend = np.clip((row - random.uniform(0.15, 0.7)) * 5 + 0.5, 0, 1)[:, :, None]
    scene = sky * (1 - blend) + 0.5 * ground * blend
    hues = np.array([[0.45, 0.6, 0.28], [0.75, 0.62, 0.45], [0.55, 0.62, 0.75], [0.5, 0.4, 0.33], [0.3, 0.36, 0.2]])
    family = random.permutation(5)[:3]
    for _ in range(random.integers(18, 36)):
        y, x, radius = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.03, 0.2)
        tone = random.beta(1.2, 2.2) * hues[family[random.integers(3)]] * random.uniform(0.85, 1.15, 3)
        if random.random() < 0.6:
            cover = np.clip((radius - np.hypot(row - y, column - x)) * 25 + 0.5, 0, 1)
        else:
            cover = np.clip((radius * 0.4 - abs(column - x)) * 25 + 0.5, 0, 1) * np.clip((row - y) * 10 + 0.5, 0, 1)
        cover = (cover * random.uniform(0.35, 0.95))[:, :, None]
        scene = scene * (1 - cover) + tone * cover
    focus = max(1, size // random.integers(24, 64))
    channels = [box_blur(np.ascontiguousarray(scene[:, :, c], dtype=np.float32), focus) for c in range(3)]
    return np.clip(np.stack(channels, 2), 0, 1.2)
