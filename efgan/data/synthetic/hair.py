"""Hair styles: shells that grow from the scalp, and sheets of longer hair that hang from it (our decision)."""

from dataclasses import dataclass

import numpy as np

from efgan.data.synthetic.head import BODY, load_head
from efgan.data.synthetic.identities import Identity, build_neutral
from efgan.data.synthetic.look import Scalp
from efgan.data.synthetic.shading import scalp_density


@dataclass(frozen=True, kw_only=True)
class Hang:
    """A sheet of hanging hair, mirrored to both sides.

    Attributes:
        start: azimuth of its front edge in degrees (0 = nose, 90 = ear).
        end: height of its tips (rest-space y).
        lift: distance from the skull, dm.
        flare: how far it widens towards the tips, dm.
        wave: amplitude of waves, dm.
        inward: how far the tips turn in, dm.
    """

    start: float
    end: float
    lift: float = 0.13
    flare: float = 0.05
    wave: float = 0.0
    inward: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Style:
    """A hair style: `height` of the shell at the top and `side` share of it at the sides, `layers` of the shell.

    `puff` is the thickness of a ball of curls behind the face (dm); the other fields are those of `Scalp` and `Hang`.
    """

    height: float
    layers: int
    side: float = 0.35
    recession: float = 0.03
    baldness: float = 0.0
    fringe: float = 0.0
    sideburn: float = 7.15
    flow: int = 0
    part: float = 0.0
    curl: float = 0.0
    ragged: float = 1.0
    puff: float = 0.0
    hang: Hang | None = None


STYLES: dict[str, Style] = {
    "short": Style(height=0.11, layers=4, flow=2, part=0.2, sideburn=7.0),
    "side_part": Style(height=0.14, layers=4, flow=1, part=0.28, sideburn=7.05, ragged=0.7),
    "cropped": Style(height=0.035, layers=2, side=0.8, curl=1.0, ragged=0.6, sideburn=7.0),
    "receding": Style(height=0.07, layers=3, recession=0.20, flow=0, sideburn=7.05),
    "bald": Style(height=0.05, layers=2, side=1.0, baldness=1.0, sideburn=7.05, ragged=0.8),
    "curly_short": Style(height=0.14, layers=7, side=0.55, curl=1.0, ragged=1.6, sideburn=7.0),
    "medium": Style(height=0.15, layers=4, flow=0, part=-0.1, ragged=0.8, side=0.8,
                    hang=Hang(start=98, end=6.5, lift=0.06)),
    "long": Style(height=0.12, layers=4, flow=1, part=0.22, ragged=0.6, hang=Hang(start=57, end=5.2, wave=0.01)),
    "long_centre": Style(height=0.10, layers=4, flow=1, part=0.0, ragged=0.6, hang=Hang(start=53, end=5.2)),
    "long_fringe": Style(height=0.11, layers=4, flow=2, fringe=1.0, ragged=0.9,
                         hang=Hang(start=56, end=5.3)),
    "bob": Style(height=0.13, layers=4, flow=1, part=0.2, ragged=0.6,
                 hang=Hang(start=56, end=6.25, flare=0.10, inward=0.12, lift=0.16)),
    "tied_back": Style(height=0.07, layers=3, flow=0, side=0.9, ragged=0.5, sideburn=7.2),
    "wavy": Style(height=0.15, layers=4, flow=1, part=-0.2, ragged=0.8,
                  hang=Hang(start=57, end=5.6, wave=0.05, flare=0.12, lift=0.17)),
    "curly_volume": Style(height=0.20, layers=6, side=0.95, curl=1.0, ragged=1.6, sideburn=7.0, puff=0.30),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HairLayer:
    """One layer to draw: mesh plus what the shader needs of every vertex (see `shade_hair`).

    `geometry` is V×3 vertices of a sheet, or V offsets along the normals of the head for a shell.
    """

    triangles: np.ndarray
    level: float
    sheet: bool
    geometry: np.ndarray
    coordinates: np.ndarray


def scalp_of(identity: Identity) -> Scalp:
    """The shader's description of the person's hair."""
    style = STYLES[identity.hair]
    return Scalp(
        identity.hairline, style.recession, style.baldness, style.fringe, style.sideburn, style.flow, style.part,
        style.curl, 1.0 if (style.hang and style.hang.start < 90) or style.puff else 0.0, style.ragged,
    )  # fmt: skip


def _smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _shells(style: Style, scalp: Scalp) -> list[HairLayer]:
    head = load_head()
    rest, ear = head.vertices, head.masks[:, 1]
    places = zip(*rest.T.astype(float), ear.astype(float), strict=True)
    density = np.array([scalp_density(x, y, z, e, scalp) for x, y, z, e in places], np.float32)
    body = head.triangles[head.part == BODY]
    triangles = np.ascontiguousarray(body[density[body].max(1) > 0.02])
    rise = style.height * density * (style.side + (1 - style.side) * _smooth(7.3, 8.2, rest[:, 1]))
    coordinates = np.concatenate([rest, ear[:, None]], 1).astype(np.float32)
    return [
        HairLayer(triangles=triangles, level=(k + 1) / style.layers, sheet=False,
                  geometry=(rise * (k + 1) / style.layers).astype(np.float32), coordinates=coordinates)
        for k in range(style.layers)
    ]  # fmt: skip


def _sheet(hang: Hang, neutral: np.ndarray, random: np.random.Generator, back: bool, outer: bool) -> HairLayer:
    middle, skull = _measure(neutral)
    # `hang.end` is a rest-space height; the person's head may sit higher or lower.
    head = load_head()
    end = hang.end + float(np.mean((neutral - head.vertices)[head.landmark_triangles[27:31, 0], 1]))
    columns, rows = (49, 28) if back else (37, 36)
    along = np.linspace(0, 1, rows)
    reach = 0.42  # share of the rows on the skull; the rest hangs free
    polar = np.deg2rad(8 + 82 * np.minimum(along / reach, 1))
    fall = np.maximum((along - reach) / (1 - reach), 0)
    lift = hang.lift * (1.0 if outer else 0.8) * (0.45 + 0.55 * _smooth(0.5, 1.4, polar))
    # The front edge runs from the parting over the temple to where it hangs in front of the ear.
    front = (
        np.deg2rad(28 + (hang.start - 28) * _smooth(0.4, 1.35, polar)) if hang.start < 90 else np.deg2rad(hang.start)
    )
    phase = random.uniform(0, 6.3, 2)
    vertices, coordinates = [], []
    for edge in np.linspace(0, 1, columns):
        angle = np.deg2rad(112 + 136 * edge) if back else front + (np.deg2rad(150) - front) * edge
        angle = np.broadcast_to(angle, rows)
        bend = 1 + hang.flare * fall / skull[0] - hang.inward * np.maximum(fall - 0.75, 0) * 4 / skull[0]
        wave = hang.wave * fall * np.sin(fall * 14 + phase[0] + 1.3 * np.sin(edge * 8))
        lock = 0.012 * np.sin(edge * 31 + phase[1]) * np.minimum(along * 3, 1)
        x = np.sin(angle) * ((skull[0] + lift) * np.sin(polar) * bend + wave + lock)
        z = middle[2] + np.cos(angle) * ((skull[2] + lift) * np.sin(polar) * bend + wave + lock)
        y = middle[1] + (skull[1] + lift) * np.cos(polar)
        y = np.where(fall > 0, middle[1] + fall * (end - middle[1]), y)
        density = _smooth(-0.02, 0.05, along) * _smooth(1.02, 0.84, along)
        border = np.full(rows, edge)
        if not back:
            density = density * _smooth(-0.03, 0.06, border) * _smooth(1.0, 0.9, border)
        inside = (0.42 if back else (1.0 if outer else 0.6)) * (0.72 + 0.28 * _smooth(0, 0.15, border))
        vertices.append(np.stack([x, y, z], 1))
        coordinates.append(np.stack([np.rad2deg(angle) / 5, along * 4, density, inside], 1))
    grid = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = (grid[i, j].ravel() for i, j in (
        (slice(None, -1), slice(None, -1)), (slice(1, None), slice(None, -1)), (slice(1, None), slice(1, None)),
        (slice(None, -1), slice(1, None))))  # fmt: skip
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    points, values = np.concatenate(vertices), np.concatenate(coordinates)
    if not back:  # the other side
        mirrored = points * np.array([-1, 1, 1])
        other = values.copy()
        other[:, 0] += 37.3
        triangles = np.concatenate([triangles, triangles[:, [0, 2, 1]] + len(points)])
        points, values = np.concatenate([points, mirrored]), np.concatenate([values, other])
    triangles = np.concatenate([triangles, triangles[:, [0, 2, 1]]])  # seen from both sides
    return HairLayer(
        triangles=triangles.astype(np.int32), level=0.9 if outer else 0.35, sheet=True,
        geometry=points.astype(np.float32), coordinates=values.astype(np.float32),
    )  # fmt: skip


def _measure(neutral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half axes of the ellipsoid around the skull."""
    head = load_head()
    skull = neutral[(head.masks[:, 1] < 0.1) & (head.vertices[:, 1] > 7.5) & (head.vertices[:, 2] < 1.0)]
    low, high = skull.min(0), skull.max(0)
    middle = np.array([0.0, high[1] - 0.95, (low[2] + high[2]) / 2])
    return middle, np.array([(high[0] - low[0]) / 2, high[1] - middle[1], (high[2] - low[2]) / 2])


def _ball(neutral: np.ndarray, thickness: float) -> HairLayer:
    """The back half of a ball of curls, seen around the head; its rim is ragged."""
    middle, radius = _measure(neutral)
    middle = middle + np.array([0, -0.10, 0.05])
    rings, turns = 10, 72
    around = np.linspace(0, 2 * np.pi, turns, endpoint=False)
    points, values = [], []
    for ring in np.linspace(0, 1, rings):  # 0 = far rim, 1 = well behind the skull's outline
        outward = (radius[[0, 1]] + thickness) * (1.06 - 0.5 * ring)
        x, y = middle[0] + outward[0] * np.sin(around), middle[1] + outward[1] * np.cos(around)
        points.append(np.stack([x, y, np.full(turns, middle[2] - 0.1 - 0.5 * ring)], 1))
        density = np.full(turns, _smooth(0.0, 0.16, np.array(ring)))
        values.append(np.stack([x * 9, y * 9, density, np.full(turns, 0.95 - 0.35 * ring)], 1))
    grid = np.arange(rings * turns).reshape(rings, turns)
    a, b = grid[:-1], grid[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    triangles = np.concatenate([np.stack([i.ravel() for i in t], 1) for t in ((a, b, c), (a, c, d))])
    triangles = np.concatenate([triangles, triangles[:, [0, 2, 1]]])
    return HairLayer(triangles=triangles.astype(np.int32), level=0.7, sheet=True,
                     geometry=np.concatenate(points).astype(np.float32),
                     coordinates=np.concatenate(values).astype(np.float32))  # fmt: skip


def build_hair(identity: Identity) -> tuple[HairLayer, ...]:
    """All layers of the person's hair, in drawing order (back and roots first)."""
    style, scalp = STYLES[identity.hair], scalp_of(identity)
    random = np.random.default_rng([identity.seed, 5])
    shells = _shells(style, scalp)
    neutral, _ = build_neutral(identity)
    if style.puff:
        return (_ball(neutral, style.puff), *shells)
    if style.hang is None:
        return tuple(shells)
    return (
        _sheet(style.hang, neutral, random, back=True, outer=False),
        *shells,
        _sheet(style.hang, neutral, random, back=False, outer=False),
        _sheet(style.hang, neutral, random, back=False, outer=True),
    )
