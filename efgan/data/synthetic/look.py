"""What the shading kernels need to know: light, a person's look with the folds of the moment, and where hair grows."""

from collections.abc import Iterable
from typing import NamedTuple

Triple = tuple[float, float, float]


def triple(values: Iterable[float]) -> Triple:
    """Three numbers (a colour, a direction) as plain floats."""
    a, b, c = (float(value) for value in values)
    return a, b, c


class Light(NamedTuple):
    """Directions towards two lights in camera coordinates (x right, y up, z to the camera), colours linear RGB."""

    key: Triple
    fill: Triple
    key_colour: Triple
    fill_colour: Triple
    ambient: Triple


class Look(NamedTuple):
    """An identity and its expression, as the shader needs it. Fields as in `Identity`, plus the folds.

    `folds` are the strengths of forehead lines, frown lines, nose wrinkles, crow's feet, cheek folds, chin dimples,
    left and right dimple beside the mouth.
    `fold_phase` shifts and bends them per person. `lip_depth` is the depth of the closed lips' front.
    """

    skin: Triple
    lip: Triple
    hair: Triple
    brow: Triple
    eye: Triple
    shirt: Triple
    melanin: float
    redness: float
    freckles: float
    makeup: float
    age: float
    beard: float
    stubble: float
    beard_style: int
    brow_density: float
    brow_thickness: float
    brow_arch: float
    folds: tuple[float, ...]
    fold_phase: float
    lip_depth: float


class Scalp(NamedTuple):
    """Where hair grows and how it lies.

    Attributes:
        hairline: shift of the front hairline, dm.
        recession: depth of the bays at the temples, dm.
        baldness: 0 to 1, bares the crown.
        fringe: 0 to 1, hair over the forehead.
        sideburn: lowest y of the hair before the ear.
        flow: 0 swept back, 1 sideways from the parting, 2 forward.
        part: x of the parting.
        curl: 0 straight, 1 curly.
        covers_ears: 1 when hair lies over the ears.
        ragged: how uneven the outline is.
    """

    hairline: float
    recession: float
    baldness: float
    fringe: float
    sideburn: float
    flow: int
    part: float
    curl: float
    covers_ears: float
    ragged: float
