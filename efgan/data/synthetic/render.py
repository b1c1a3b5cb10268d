"""One face → one picture with its 68 landmarks."""

from dataclasses import dataclass
from math import radians

import numpy as np

from efgan.data.action_units import AU_NAMES
from efgan.data.synthetic.expressions import both_sides, face_unit_weights
from efgan.data.synthetic.hair import HairLayer, build_hair, scalp_of
from efgan.data.synthetic.head import (
    LEFT_EYE,
    LOWER_TEETH,
    RIGHT_EYE,
    SHIRT,
    TONGUE,
    UPPER_TEETH,
    load_head,
)
from efgan.data.synthetic.identities import Identity, build_neutral
from efgan.data.synthetic.look import Light, Look, Scalp, Triple, triple
from efgan.data.synthetic.rasteriser import box_blur, rasterise, soften, vertex_normals
from efgan.data.synthetic.shading import shade_hair, shade_head, shade_lashes
from efgan.data.synthetic.views import View, draw_background

CAMERA_DISTANCE = 12.0  # dm in front of the head's origin
EYE_LINE, MOUTH_LINE = 0.39, 0.71  # rows of the face crop, as shares of its side
LOWEST_CHIN = 0.905  # neutral chin: leaves room for an open jaw
EYE_DEPTH = 0.018  # dm that the eyeballs are set back
SAMPLES = 3  # samples per pixel side


@dataclass(frozen=True, kw_only=True)
class _Person:
    """What all pictures of one identity share."""

    neutral: np.ndarray
    eyes: np.ndarray
    lip_depth: float
    centre: np.ndarray  # pivot of the head's rotation
    eye_y: float
    zoom: float  # image sides per dm at the face's depth
    hair: tuple[HairLayer, ...]
    scalp: Scalp
    noise: np.ndarray


_PEOPLE: list[tuple[Identity, _Person]] = []  # the last few people, so that their next picture is quick


def _person(identity: Identity) -> _Person:
    for known, person in _PEOPLE:
        if known == identity:
            return person
    head = load_head()
    neutral, eyes = build_neutral(identity)
    points = head.landmarks(neutral)
    eye_y, mouth_y, chin_y = float(points[36:48, 1].mean()), float(points[60:68, 1].mean()), float(points[8, 1])
    zoom = min((MOUTH_LINE - EYE_LINE) / (eye_y - mouth_y), (LOWEST_CHIN - EYE_LINE) / (eye_y - chin_y))
    scalp = scalp_of(identity)
    if scalp.covers_ears:  # pressed to the head under the hair
        neutral = neutral * np.where(np.arange(3) == 0, 1 - 0.16 * head.masks[:, 1:2], 1).astype(np.float32)
    neutral = _settled(neutral)
    person = _Person(
        neutral=neutral,
        eyes=eyes - np.array([0, 0, EYE_DEPTH], np.float32),
        lip_depth=float(points[[51, 57, 62, 66], 2].max()),
        centre=np.array([0, eye_y - 0.2, 0.5], np.float32),
        eye_y=eye_y,
        zoom=zoom,
        hair=build_hair(identity),
        scalp=scalp,
        noise=np.random.default_rng([identity.seed, 3]).standard_normal((16, 16, 16)).astype(np.float32),
    )
    _PEOPLE[:] = [(identity, person), *_PEOPLE[:3]]
    return person


def _settled(neutral: np.ndarray) -> np.ndarray:
    """Moves eyes, teeth, tongue back and the collar off the neck: identity targets let them poke through the skin."""
    head = load_head()
    neutral = neutral.copy()
    neutral[head.part_vertices(LEFT_EYE), 2] -= EYE_DEPTH
    neutral[head.part_vertices(RIGHT_EYE), 2] -= EYE_DEPTH
    for part, back in ((UPPER_TEETH, 0.06), (LOWER_TEETH, 0.07), (TONGUE, 0.16)):
        inner = head.part_vertices(part)
        neutral[inner] = neutral[inner] * np.array([0.90, 1, 1], np.float32) - np.array([0, 0, back], np.float32)
    collar = head.part_vertices(SHIRT)
    neutral[collar, 1] -= 0.65 * np.maximum(head.vertices[collar, 1] - 5.75, 0)  # its corners stand up like wings
    neutral[collar] += 0.035 * vertex_normals(neutral, head.triangles[head.part == SHIRT])[collar]
    return neutral


def _rotation(view: View) -> np.ndarray:
    yaw, pitch, roll = radians(view.yaw), radians(view.pitch), radians(view.roll)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return tilt @ nod @ turn


class _Camera:
    """Rotates points and projects them to (column, row, depth) in pixels of a size×size picture."""

    def __init__(self, person: _Person, view: View, size: int) -> None:
        self.rotation = _rotation(view)
        self.person, self.view, self.size = person, view, size

    def turned(self, points: np.ndarray) -> np.ndarray:
        centre = self.person.centre
        return np.ascontiguousarray((points - centre) @ self.rotation.T + centre, dtype=np.float32)

    def projected(self, turned: np.ndarray) -> np.ndarray:
        depth = CAMERA_DISTANCE - turned[:, 2]
        zoom = self.person.zoom * self.view.scale * (CAMERA_DISTANCE - 1.4) / depth
        column = 0.5 + self.view.shift[0] + turned[:, 0] * zoom
        row = EYE_LINE + self.view.shift[1] - (turned[:, 1] - self.person.eye_y) * zoom
        return np.stack([column * self.size, row * self.size, depth], 1).astype(np.float32)


def _look(identity: Identity, sides: np.ndarray, person: _Person) -> Look:
    mean = dict(zip(AU_NAMES, sides.mean(0).astype(float).tolist(), strict=True))
    gain, age = identity.wrinkle_gain, identity.age
    strong = 0.45 + 0.75 * age
    i12, i14 = AU_NAMES.index("AU12"), AU_NAMES.index("AU14")
    folds = (
        0.10 * age * gain[0] + gain[0] * strong * 0.55 * max(mean["AU01"], mean["AU02"]),
        0.05 * age + gain[1] * strong * 0.85 * mean["AU04"],
        gain[2] * strong * 0.9 * mean["AU09"],
        0.12 * age * gain[3] + gain[3] * strong * 0.55 * max(mean["AU06"], 0.4 * mean["AU12"]),
        0.06
        + 0.4 * age * gain[4]
        + gain[4] * min(0.8 * mean["AU12"] + 0.7 * mean["AU10"] + 0.6 * mean["AU09"] + 0.4 * mean["AU06"], 1.1),
        gain[5] * 0.7 * mean["AU17"],
        *(
            gain[4] * min(1.1, float(a14) + 0.25 * float(a12))
            for a14, a12 in zip(sides[:, i14], sides[:, i12], strict=True)
        ),
    )
    i = identity
    return Look(
        i.skin, i.lip, i.hair_colour, i.brow_colour, i.eye, i.shirt, i.melanin, i.redness, i.freckles, i.makeup, i.age,
        i.beard, i.stubble, i.beard_style, i.brow_density, i.brow_thickness, i.brow_arch,
        tuple(float(f) for f in folds), float(i.seed % 628) / 100, person.lip_depth,
    )  # fmt: skip


def _unit(vector: Triple) -> Triple:
    return triple(np.asarray(vector) / np.linalg.norm(vector))


def _buffers(side: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((side, side), -1, np.int32), np.empty((side, side, 2), np.float32)


def _occlusion(depth: np.ndarray, triangle: np.ndarray, samples: int) -> np.ndarray:
    """How open every pixel's surroundings are, from the depth picture: 1 = open, 0.12 = deep in a crease."""
    start = samples // 2
    near = depth[start::samples, start::samples].copy()
    covered = triangle[start::samples, start::samples] >= 0
    near[~covered] = near[covered].max()
    side = near.shape[0]
    small = np.clip((box_blur(near, max(1, side // 48)) - near) * 3.0, -1, 0)
    large = np.clip((box_blur(near, max(2, side // 19)) - near) * 1.2, -1, 0)
    return box_blur(np.clip(1 + 2.0 * small + 0.9 * large, 0.12, 1).astype(np.float32), 1)


def _draw_hair(image, depth, person: _Person, camera: _Camera, vertices, normals, colour, light: Light) -> None:
    side = image.shape[0]
    for layer in person.hair:
        if layer.sheet:
            turned = camera.turned(layer.geometry)
            half = layer.triangles[: len(layer.triangles) // 2]
            layer_normals = vertex_normals(turned, half)
            layer_normals *= np.where(layer_normals[:, 2:] < -0.2, -1, 1).astype(np.float32)
        else:
            turned = vertices + normals * layer.geometry[:, None]
            layer_normals = vertex_normals(turned, layer.triangles)
        triangle, weight = _buffers(side)
        rasterise(camera.projected(turned), layer.triangles, triangle, weight, depth.copy())
        attributes = np.ascontiguousarray(np.concatenate([layer_normals, turned, layer.coordinates], 1))
        shade_hair(image, triangle, weight, layer.triangles, attributes, layer.level, layer.sheet, colour, light,
                   person.scalp, person.noise)  # fmt: skip


def _developed(image: np.ndarray, view: View, samples: int) -> np.ndarray:
    """Averages the samples, maps tones and encodes to uint8.

    In float64, as rotations are: NumPy's float32 powers and products differ from one kind of CPU to the next.
    """
    size = image.shape[0] // samples
    picture = image.reshape(size, samples, size, samples, 3).mean((1, 3), dtype=np.float64) * (1.12 * view.exposure)
    picture = np.clip(1.12 * picture / (1 + 0.18 * picture), 0, 1) ** (1 / 2.2) * 255
    if view.noise:
        picture = picture + np.random.default_rng([view.background_seed, 9]).normal(size=picture.shape) * view.noise
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def render_face(
    identity: Identity, aus: np.ndarray, *, view: View | None = None, size: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one person with one expression.

    Args:
        identity: who.
        aus: 17 AUs in [0, 1] (order of `AU_NAMES`), or 2×17 for the subject's left and right side.
        view: pose, light, background; the default is frontal studio light.
        size: side of the square picture in pixels.

    Returns:
        uint8 picture size×size×3 (RGB) and float32 landmarks 68×2 ((x, y) in pixels, iBUG order), the exact
        projections of mesh vertices.

    Raises:
        ValueError: AUs of another shape or outside [0, 1].
    """
    sides, view, head = both_sides(aus), view or View(), load_head()
    person = _person(identity)
    side = size * SAMPLES
    camera = _Camera(person, view, side)
    turned = camera.turned(head.deformed(person.neutral, face_unit_weights(sides)))
    eyes = camera.turned(person.eyes)
    normals = vertex_normals(turned, head.triangles)
    soften(normals, head.triangles, head.soft)
    points = camera.projected(turned)

    triangle, weight = _buffers(side)
    depth = np.full((side, side), np.inf, np.float32)
    rasterise(points, head.triangles, triangle, weight, depth)
    occlusion = _occlusion(depth, triangle, SAMPLES)
    attributes = np.ascontiguousarray(np.concatenate([normals, turned, head.vertices, head.masks], 1))
    image = np.repeat(np.repeat(draw_background(view, size), SAMPLES, 0), SAMPLES, 1)
    gaze = np.array(_unit((np.sin(view.gaze[0]), np.sin(view.gaze[1]) - 0.02, 1.0)))
    light = view.light._replace(key=_unit(view.light.key), fill=_unit(view.light.fill))
    look = _look(identity, sides, person)
    shade_head(image, triangle, weight, head.triangles, head.part, attributes, occlusion, SAMPLES, eyes, gaze, look,
               light, person.scalp, person.noise)  # fmt: skip
    lash, lash_weight = _buffers(side)
    rasterise(points, head.lashes, lash, lash_weight, depth + np.float32(0.02))
    shade_lashes(image, lash, lash_weight, head.lashes, head.lash_tip, head.vertices, identity.lashes)
    _draw_hair(image, depth, person, camera, turned, normals, np.array(identity.hair_colour), light)
    return _developed(image, view, SAMPLES), (head.landmarks(points)[:, :2] / SAMPLES).astype(np.float32)
