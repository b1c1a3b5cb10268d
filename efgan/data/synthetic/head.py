"""The embedded head: hm08 mesh, face units, identity targets and landmark vertices (CC0, see head_provenance.json).

Rest space is the mesh as delivered: decimetres, y up, z towards the camera, x towards the subject's left, eyes at
about y = 7.28. Procedural features (brows, hairline, wrinkles) are placed there, so they follow every deformation.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

HEAD_FILE = Path(__file__).with_name("head.npz")
BODY, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, SHIRT, LEFT_LASHES, RIGHT_LASHES = range(9)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The mesh at rest and everything that moves it.

    Attributes:
        vertices: float32, V×3, rest space.
        triangles: int32, T×3, opaque parts first-to-last by `part`, lashes left out.
        part: int32, T, one of the part numbers of this module.
        lashes: int32, K×3, the (two-sided) lash triangles.
        masks: float32, V×4 in [0, 1]: lips, ears, eyelids, inside of the mouth.
        targets: name → (vertex numbers K, offsets K×3) at weight 1.
        soft: float32, V: where normals are smoothed (the cheeks: their mesh folds too sharply in a smile).
        lash_tip: float32, V: 0 at the lash roots to 1 at the tips (0 elsewhere).
        landmark_triangles, landmark_weights: 68×3 vertex numbers and weights, iBUG order (0-16 jaw from the image's
            left, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth).
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    lashes: np.ndarray
    masks: np.ndarray
    targets: dict[str, tuple[np.ndarray, np.ndarray]]
    soft: np.ndarray
    lash_tip: np.ndarray
    landmark_triangles: np.ndarray
    landmark_weights: np.ndarray

    def part_vertices(self, part: int) -> np.ndarray:
        """Sorted vertex numbers of one opaque part."""
        return np.unique(self.triangles[self.part == part])

    def landmarks(self, points: np.ndarray) -> np.ndarray:
        """The 68 landmarks (68×D) of points given per vertex (V×D)."""
        return (points[self.landmark_triangles] * self.landmark_weights[:, :, None]).sum(1)

    def deformed(self, base: np.ndarray, weights: dict[str, float]) -> np.ndarray:
        """`base` (V×3) plus the weighted targets, as a new float32 array."""
        vertices = base.copy()
        for name, weight in weights.items():
            if weight:
                index, offset = self.targets[name]
                vertices[index] += np.float32(weight) * offset
        return vertices


def _cheeks(vertices: np.ndarray, masks: np.ndarray) -> np.ndarray:
    x, y, z = vertices.astype(np.float64).T
    weight = np.exp(-(((np.abs(x) - 0.47) / 0.17) ** 4) - ((y - 6.85) / 0.22) ** 4)
    weight *= (z > 0.7) & (masks[:, 0] == 0) & (masks[:, 3] < 20)
    return np.where(weight > 0.02, weight, 0).astype(np.float32)


def _lash_tip(vertices: np.ndarray, masks: np.ndarray, lashes: np.ndarray) -> np.ndarray:
    """Distance of lash vertices from the skin of the lids, scaled to 0…1."""
    lids = vertices[(masks[:, 2] > 0) & (np.abs(vertices[:, 1] - 7.28) < 0.2)]
    index = np.unique(lashes)
    distance = np.sqrt(((vertices[index][:, None] - lids[None]) ** 2).sum(2)).min(1)
    tip = np.zeros(len(vertices), np.float32)
    tip[index] = np.clip(distance / 0.08, 0, 1)
    return tip


@cache
def load_head() -> Head:
    """Reads `head.npz` once per process."""
    with np.load(HEAD_FILE, allow_pickle=False) as data:
        part = data["part"].astype(np.int32)
        triangles = data["triangles"].astype(np.int32)
        starts = data["target_starts"]
        index = data["target_index"].astype(np.int64)
        offset = data["target_offset"].astype(np.float32)
        targets = {
            str(name): (index[a:b], offset[a:b])
            for name, a, b in zip(data["target_names"], starts[:-1], starts[1:], strict=True)
        }
        lash = triangles[part >= LEFT_LASHES]
        return Head(
            vertices=data["vertices"],
            triangles=np.ascontiguousarray(triangles[part < LEFT_LASHES]),
            part=part[part < LEFT_LASHES],
            lashes=np.concatenate([lash, lash[:, [0, 2, 1]]]),
            masks=data["masks"].astype(np.float32) / 255,
            targets=targets,
            soft=_cheeks(data["vertices"], data["masks"]),
            lash_tip=_lash_tip(data["vertices"], data["masks"], lash),
            landmark_triangles=data["landmark_triangles"].astype(np.int64),
            landmark_weights=data["landmark_weights"],
        )
