"""Edits photos of any size: find the face, crop it, estimate its AUs, edit, and paste the difference back.

editor = load_editor()
edited = edit_photo(editor, read_photo("me.jpg"), expression="happy")
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from efgan.data.action_units import AU_NAMES, MAX_INTENSITY, NUM_AUS, prototype_aus
from efgan.data.crop import FaceCrop, align_face
from efgan.data.landmarks import detect_landmarks
from efgan.editing.edit_state import check_expression, check_intensities
from efgan.editing.editor import EditedFace, Editor
from efgan.editing.own_aus import estimate_aus
from efgan.editing.pictures import to_array
from efgan.errors import UserError
from efgan.provenance import write_atomic

USUAL_INTENSITY = 1.4  # of a prototype: its core AUs then stand at 4.2 of 5, as the embedded faces show expressions
MAX_PROTOTYPE = 5 / 3  # there the core AUs, 3 of 5 in the prototype, reach 5
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True, kw_only=True)
class PhotoFace:
    """One face of a photo and its edit.

    Attributes:
        crop: where it is.
        image: uint8, S×S×3, the crop as the model saw it.
        source_aus: float32, 17 values 0-5, the face's own AUs, given or estimated.
        edit: what the model made of it.
    """

    crop: FaceCrop
    image: np.ndarray
    source_aus: np.ndarray
    edit: EditedFace

    @property
    def changes(self) -> bool:
        """Whether it was asked to show anything else than it does; StarGAN cannot tell and always edits."""
        target = np.asarray(list(self.edit.target_aus.values()))
        return self.edit.expression is not None or bool((np.abs(target - self.source_aus) > 1e-6).any())


@dataclass(frozen=True, kw_only=True)
class EditedPhoto:
    """An edited photo.

    Attributes:
        image: uint8, H×W×3, of the photo's size; outside the crops equal to it.
        photo: the photo as it was.
        faces: the edited faces.
        aus_from: where the faces' own AUs come from, in words.
    """

    image: np.ndarray
    photo: np.ndarray
    faces: tuple[PhotoFace, ...]
    aus_from: str


def edit_photo(
    editor: Editor, photo: np.ndarray, *, expression: str | None = None, intensity: float = USUAL_INTENSITY,
    aus: Mapping[str, float] | None = None, relative: Mapping[str, float] | None = None, face: int | None = None,
    source_aus: np.ndarray | None = None, landmarks: Sequence[np.ndarray] | None = None,
) -> EditedPhoto:  # fmt: skip
    """Edits one or all faces of a photo; a face that shows what is asked for already stays as it is.

    Args:
        editor: a trained model; see `load_editor`.
        photo: uint8, H×W×3; see `read_photo`.
        expression: a preset expression; sets all 17 AUs to its FACS prototype times `intensity`.
        intensity: 1 = the prototype, whose core AUs stand at 3 of 5; 0 = neutral.
        aus: intensities to set, 0-5, by code ("AU12"); AUs that nothing names keep the face's own values.
        relative: changes of intensity by code, -5 to 5, on top of all others; results are kept within 0-5.
        face: edit this face only, 1 = the leftmost; None = all.
        source_aus: the faces' own AUs, 17 or N×17 values 0-5, for instance from OpenFace; None estimates them.
        landmarks: 68×2 per face in photo pixels; None finds the faces (extra `wild`).

    Raises:
        UserError: no face, no such face, an unknown expression or AU, an intensity out of range, no AU estimator
            beside the run, or a StarGAN without an expression.

    Source: paper 4.5 edits faces in the wild; finding, estimating and pasting are our decision.
    """
    aus, relative = aus or {}, relative or {}
    _check_request(editor, expression, intensity, aus, relative)
    found = detect_landmarks(photo) if landmarks is None else landmarks
    if face is not None and not 1 <= face <= len(found):
        raise UserError(f"there is no face {face}: {len(found)} found, counted from the left")
    chosen = slice(None) if face is None else slice(face - 1, face)
    crops = [align_face(points, editor.config.data.image_size) for points in found[chosen]]
    images = [crop.apply(photo) for crop in crops]
    if source_aus is None:
        known_aus, aus_from = estimate_aus(editor, images)
    else:
        given = np.broadcast_to(np.asarray(source_aus, np.float32), (len(found), NUM_AUS))
        known_aus, aus_from = given[chosen], "given"
    faces = []
    pasted = photo
    for crop, image, own in zip(crops, images, known_aus.clip(0, MAX_INTENSITY), strict=True):
        target = _target_aus(own, expression, intensity, aus, relative)
        if editor.config.experiment == "stargan":
            edit = editor.edit(image, source_aus=own, expression=expression)
        else:
            edit = editor.edit(image, source_aus=own, **target)
        faces.append(PhotoFace(crop=crop, image=image, source_aus=own, edit=edit))
        if faces[-1].changes:
            pasted = crop.paste_back(pasted, image, edit.image)
    return EditedPhoto(image=pasted, photo=photo, faces=tuple(faces), aus_from=aus_from)


def _check_request(
    editor: Editor, expression: str | None, intensity: float, aus: Mapping[str, float], relative: Mapping[str, float]
) -> None:
    if expression is None and editor.config.experiment == "stargan":
        raise UserError("StarGAN edits towards an expression, not AUs: name one with --expression")
    if expression is None and not aus and not relative:
        raise UserError("nothing to edit: name an expression or AUs, e.g. --expression happy or --au AU12=4")
    if editor.config.experiment == "stargan" and (aus or relative or intensity != USUAL_INTENSITY):
        raise UserError("StarGAN knows expressions of one strength, no AUs: leave out --au, --relative and --intensity")
    if expression is not None:
        check_expression(expression)
    if not 0 <= intensity <= MAX_PROTOTYPE:
        raise UserError(f"intensity {intensity:g} is out of range: 0 (neutral) to {MAX_PROTOTYPE:.2f} (core AUs at 5); "
                        "1 is the FACS prototype (core AUs at 3 of 5)")  # fmt: skip
    check_intensities(aus, relative=False)
    check_intensities(relative, relative=True)


def _target_aus(
    own: np.ndarray, expression: str | None, intensity: float, aus: Mapping[str, float], relative: Mapping[str, float]
) -> dict[str, Any]:
    """All 17 wanted AUs, 0-5: the preset or the face's own, then what is set, then what is added."""
    base = own if expression is None else MAX_INTENSITY * intensity * prototype_aus(expression)
    wanted = dict(zip(AU_NAMES, map(float, base), strict=True)) | dict(aus)
    added = {code: value + relative.get(code, 0.0) for code, value in wanted.items()}
    return {code: min(max(value, 0.0), MAX_INTENSITY) for code, value in added.items()}


def edit_sequence(editor: Editor, edited: EditedPhoto, steps: int) -> Iterator[np.ndarray]:
    """The photo on its way to the edit: `steps` pictures, the first untouched, the last the edit.

    A cascade follows its Interpolator's path, other methods a straight line (paper 4.5, Figure 7).

    Args:
        editor: the model that made the edit.
        edited: from `edit_photo`.
        steps: pictures, at least 2.

    Yields:
        uint8, H×W×3.

    Raises:
        UserError: too few steps, or StarGAN, which knows no way between expressions.
    """
    if steps < 2:
        raise UserError(f"--steps {steps} is too few: at least 2")
    if editor.config.experiment == "stargan":
        raise UserError("StarGAN knows no way between two expressions: choose another method for an animation")
    alphas = np.linspace(0, 1, steps)[1:-1].tolist()
    changed = [face for face in edited.faces if face.changes and alphas]
    ways = []
    for face in changed:
        source, target = (
            torch.from_numpy(np.asarray(aus, np.float32) / MAX_INTENSITY)
            for aus in (face.source_aus, list(face.edit.target_aus.values()))
        )
        picture = torch.from_numpy(face.image).permute(2, 0, 1)
        ways.append(editor.continuous(picture, source, target, alphas))
    yield edited.photo
    for step in range(len(alphas)):
        frame = edited.photo
        for face, way in zip(changed, ways, strict=True):
            frame = face.crop.paste_back(frame, face.image, to_array(way[step]))
        yield frame
    yield edited.image


def save_photo(image: np.ndarray, path: Path, profile: bytes | None = None) -> Path:
    """Writes a photo as PNG (lossless), JPEG or WebP, by its name, whole or not at all.

    Args:
        image: uint8, H×W×3.
        path: the file.
        profile: ICC profile of its colours, see `efgan.data.crop.colour_profile`.

    Raises:
        UserError: another kind of file, or no such folder.
    """
    check_photo_name(path)
    with write_atomic(path, "wb") as file:
        Image.fromarray(image).save(file, _FORMATS[path.suffix.lower()], quality=95, icc_profile=profile)
    return path


def check_photo_name(path: Path) -> None:
    """Nothing for a name that `save_photo` takes; UserError for another suffix."""
    if path.suffix.lower() not in _FORMATS:
        raise UserError(f"{path}: cannot write {path.suffix or 'a file without a suffix'}; choose .png, .jpg or .webp")
