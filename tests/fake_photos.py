"""Miniature RaFD, CFEED and AffectNet trees in their own naming, with OpenFace CSVs as OpenFace writes them.

The people are rendered, so no test needs licensed data.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from efgan.data.action_units import AU_NAMES
from efgan.data.faces import FaceSet
from efgan.data.synthetic import render_synthetic

SCALE, LEFT, TOP = 1.5, 30, 60  # a rendered 128-px face in its photo
WIDTH, HEIGHT = 250, 300  # of a photo, pixels
_GAZE = [f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"]
_POSE = ["pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"]
_EYES = [f"eye_lmk_{axis}_{k}" for axis in ("x", "y", "X", "Y", "Z") for k in range(56)]
_POINTS = [f"{axis}_{k}" for axis in ("x", "y", "X", "Y", "Z") for k in range(68)]
_SHAPE = ["p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *(f"p_{k}" for k in range(34))]
_AUS = [f"{name}_r" for name in AU_NAMES] + [f"{n}_c" for n in (*AU_NAMES[:-1], "AU28", "AU45")]
# OpenFace 2.2, FaceLandmarkImg: 711 columns; OpenFace 2.0, FeatureExtraction: 431.
IMAGE_MODE = ["face", "confidence", *_GAZE, "gaze_angle_x", "gaze_angle_y", *_EYES, *_POSE, *_POINTS, *_SHAPE, *_AUS]
VIDEO_MODE = ["frame", "timestamp", "confidence", "success", *_GAZE, *_POSE, *_POINTS, *_SHAPE, *_AUS]


def face_row(aus: Sequence[float], points: np.ndarray, **other: object) -> dict[str, object]:
    """The cells of one face: AUs 0-5, points 68×2 in pixels, confidence 0.98 unless another is given."""
    cells: dict[str, object] = {"confidence": 0.98, "success": 1, "face": 0, "frame": 1, "timestamp": 0}
    cells |= {f"{name}_r": f"{value:.2f}" for name, value in zip(AU_NAMES, aus, strict=True)}
    cells |= {f"{axis}_{k}": f"{points[k, i]:.1f}" for i, axis in enumerate("xy") for k in range(68)}
    return cells | other


def write_csv(path: Path, rows: Iterable[dict[str, object]], *, columns: Sequence[str] = IMAGE_MODE,
              separator: str = ",") -> None:  # fmt: skip
    """An OpenFace CSV; columns that a row does not name are 0. 2.0 separates its header by ", "."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(columns), *(",".join(str(row.get(name, 0)) for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def rendered(dataset: str, people: int) -> FaceSet:
    """Rendered faces, from the machine's cache where they are there."""
    return render_synthetic(dataset, identities=people, variants=1, random_aus=0, jobs=1)


def write_photo(path: Path, faces: FaceSet, i: int) -> np.ndarray:
    """A photo that shows a rendered face; returns the landmarks in it, 68×2."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (120, 126, 130))
    side = round(128 * SCALE)
    face = Image.fromarray(faces.images[i].permute(1, 2, 0).numpy()).resize((side, side), Image.Resampling.BICUBIC)
    picture.paste(face, (LEFT, TOP))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=95)
    return faces.landmarks[i].numpy() * SCALE + (LEFT, TOP)


def write_measured_photo(path: Path, csv: Path, faces: FaceSet, i: int) -> None:
    """A photo and its CSV in image mode."""
    write_csv(csv, [face_row(5 * faces.aus[i].numpy(), write_photo(path, faces, i))])


def rafd_name(person: int, expression: str, *, camera: int = 90, gaze: str = "frontal") -> str:
    """A RaFD file name, less its ending; every third person is a child."""
    group, gender = ("Kid", "Caucasian", "Moroccan")[person % 3], ("female", "male")[person % 2]
    return f"Rafd{camera:03d}_{person + 1:02d}_{group}_{gender}_{expression}_{gaze}"


def write_rafd(folder: Path, people: int = 8) -> FaceSet:
    """`people` × 8 expressions, frontal gaze and camera, CSVs in openface/; returns what was put in."""
    faces = rendered("synthetic_rafd", people)
    for i, (person, label) in enumerate(zip(faces.identity.tolist(), faces.expression.tolist(), strict=True)):
        name = rafd_name(person, faces.expression_names[label])
        write_measured_photo(folder / f"{name}.jpg", folder / "openface" / f"{name}.csv", faces, i)
    return faces


def write_cfeed(folder: Path, people: int = 8) -> FaceSet:
    """`people` × 22 categories in one folder each, the same file names in all, CSVs in openface/<category>/."""
    faces = rendered("synthetic_cfeed", people)
    for i, (person, label) in enumerate(zip(faces.identity.tolist(), faces.expression.tolist(), strict=True)):
        category, name = faces.expression_names[label], f"S{person + 1:03d}"
        write_measured_photo(
            folder / category / f"{name}.jpg", folder / "openface" / category / f"{name}.csv", faces, i
        )
    return faces


def write_affectnet(folder: Path, people: int = 2) -> FaceSet:
    """Faces under AffectNet's folders and hashes, with training.csv, CSVs in openface/<number>/."""
    faces = rendered("synthetic_rafd", people)
    order = ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry", "contemptuous")
    lines = ["subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"]
    for i, label in enumerate(faces.expression.tolist()):
        name = f"{i % 3 + 1}/{i:08x}"
        write_measured_photo(folder / "Manually_Annotated_Images" / f"{name}.jpg", folder / "openface" / f"{name}.csv",
                             faces, i)  # fmt: skip
        lines.append(f"{name}.jpg,30,60,192,192,1.0;2.0,{order.index(faces.expression_names[label])},0.0,0.0")
    (folder / "training.csv").write_text("\n".join(lines) + "\n")
    return faces
