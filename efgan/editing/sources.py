"""Faces that a session can edit: those of the shipped gallery, and those found in a person's own photos."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from efgan.data.action_units import AU_NAMES, MAX_INTENSITY, NUM_AUS
from efgan.data.crop import FaceCrop, align_face, aligned_landmarks
from efgan.data.faces import FaceSet
from efgan.data.landmarks import detect_landmarks
from efgan.editing.editor import Editor
from efgan.editing.own_aus import estimate_aus
from efgan.errors import UserError
from efgan.provenance import write_atomic


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face that can be edited.

    Attributes:
        name: for people and file names.
        image: uint8, S×S×3, as the model takes it.
        aus: its own AUs, 17 in 0-5.
        expression: its class, if it has one.
        photo: uint8, H×W×3, the picture that it was cut from; the face itself if there is none.
        landmarks: 68×2, (x, y) in pixels of `photo`.
        remark: what a person should know about it.
    """

    name: str
    image: np.ndarray
    aus: np.ndarray
    photo: np.ndarray
    landmarks: np.ndarray
    expression: str | None = None
    remark: str = ""
    crop: FaceCrop | None = field(default=None, repr=False)

    @property
    def tensor(self) -> Tensor:
        """uint8, 3×S×S."""
        return torch.from_numpy(np.ascontiguousarray(self.image)).permute(2, 0, 1)

    def finished(self, edited: np.ndarray) -> np.ndarray:
        """The edit (uint8, S×S×3) as it is saved: put back into the photo, if the face comes from one."""
        return edited if self.crop is None else self.crop.paste_back(self.photo, self.image, edited)


def gallery_face(faces: FaceSet, index: int) -> Face:
    """A face of a set."""
    label = int(faces.expression[index])
    expression = faces.expression_names[label] if label >= 0 else None
    image = faces.images[index].permute(1, 2, 0).numpy()
    return Face(name=f"person {int(faces.identity[index])} {expression or ''}".strip(), image=image, photo=image,
                aus=MAX_INTENSITY * faces.aus[index].numpy(), landmarks=aligned_landmarks(faces.size),
                expression=expression)  # fmt: skip


def faces_in_photo(editor: Editor, photo: np.ndarray, name: str) -> list[Face]:
    """Finds the faces of a photo and estimates their AUs.

    Without a face finder (extra `wild`) the middle of the photo is taken as the face; without an AU estimator beside
    the run the face is taken as neutral. Either is said in `Face.remark`.

    Args:
        editor: the model that will edit them.
        photo: uint8, H×W×3.
        name: of the photo.

    Raises:
        UserError: no face was found.
    """
    size = editor.config.data.image_size
    remarks = []
    try:
        landmarks = detect_landmarks(photo)
    except UserError as error:
        if "extra" not in str(error):
            raise
        landmarks = [_middle(photo)]
        remarks.append(f"The middle of the photo is taken as the face: {error}.")
    crops = [align_face(points, size) for points in landmarks]
    images = [crop.apply(photo) for crop in crops]
    try:
        aus, estimator = estimate_aus(editor, images)
        aus = aus.round(2)
        remarks.append(f"Its Action Units are estimated by {estimator}.")
    except UserError as error:
        aus = np.zeros((len(images), NUM_AUS), np.float32)
        remarks.append(f"Its Action Units are taken as zero (a neutral face): {error}.")
    names = [name] if len(images) == 1 else [f"{name} face {k}" for k in range(1, len(images) + 1)]
    return [
        Face(name=names[k], image=images[k], aus=aus[k], photo=photo, landmarks=landmarks[k], crop=crops[k],
             remark=" ".join(remarks))
        for k in range(len(images))
    ]  # fmt: skip


def save_openface(face: Face, path: Path) -> Path:
    """Writes a face's landmarks and AUs in the form of OpenFace's CSV, as `efgan edit --openface` reads it."""
    columns: dict[str, Sequence[float]] = {f"{axis}_{k}": [face.landmarks[k, i]] for i, axis in enumerate("xy")
                                           for k in range(len(face.landmarks))}  # fmt: skip
    columns["confidence"] = [1.0]
    columns |= {f"{code}_r": [value] for code, value in zip(AU_NAMES, face.aus, strict=True)}
    with write_atomic(path) as file:
        file.write(",".join(columns) + "\n" + ",".join(f"{float(value[0])!r}" for value in columns.values()) + "\n")
    return path


def _middle(photo: np.ndarray) -> np.ndarray:
    """Landmarks of a face that fills the middle square of a photo as the embedded faces fill theirs."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return aligned_landmarks(side) + np.array([(width - side) / 2, (height - side) / 2])
