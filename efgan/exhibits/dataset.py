"""Pictures and checks of a dataset: people × expressions, Action Units alone, landmarks and focus boxes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from efgan.config import DataConfig
from efgan.data.action_units import AU_DESCRIPTIONS, AU_NAMES, MAX_INTENSITY
from efgan.data.check import check_photos
from efgan.data.faces import FaceSet
from efgan.data.licensed import NO_CSV, find_sets, survey_photos
from efgan.data.openface_run import find_openface
from efgan.errors import UserError
from efgan.exhibits.runs import plain
from efgan.grids import Box, image_grid, save_figure
from efgan.models.local_focus import compute_focus_boxes

_WIDTH = 384  # dots of a picture with landmarks
BOX_COLOURS = {"eyes": "#0173b2", "nose": "#029e73", "mouth": "#d55e00"}


def check_folder(folder: Path, dataset: str | None, out: Path, *, say: Callable[[str], None]) -> bool:
    """Checks every set in a folder: what `efgan data check` does.

    Args:
        folder: a data root, or one set.
        dataset: only this one; None for all that are there.
        out: gets <dataset>/counts.csv, action_units.csv, excluded.csv and crops.png.
        say: prints a text.

    Returns:
        True if every set can be used.

    Raises:
        UserError: no such folder or dataset.
    """
    usable = True
    for name, place in find_sets(folder, dataset).items():
        try:
            found = survey_photos(place, DataConfig(dataset=name, split="image"))
        except UserError as error:  # the other sets are still checked
            say(f"{name}: {error}\n")
            usable = False
            continue
        findings = check_photos(found)
        files = findings.save(out / name)
        if len(found.faces):
            files += save_figure(draw_focus_crops(found.faces), out / name / "crops")
        say(findings.text())
        if any(item.reason == NO_CSV for item in found.excluded) and find_openface():
            say(f"OpenFace is on this machine: `efgan data openface {place} --dataset {name}` makes the missing CSVs.")
        say(f"Files: {', '.join(map(str, files))}\n")
        usable = usable and len(found.faces) > 0
    return usable


def draw_contact_sheet(faces: FaceSet, *, people: int = 8, classes: int = 8) -> Figure:
    """The first people of a set (rows) in its first expressions (columns), first variant each.

    Args:
        faces: the set.
        people, classes: how many, at most.
    """
    numbers = faces.identity.unique()[:people].tolist()
    shown = faces.expression_names[:classes]

    def find(person: int, label: int) -> Tensor | None:
        found = ((faces.identity == person) & (faces.expression == label)).nonzero().flatten()
        return faces.images[found[0]] if len(found) else None

    rows = [[find(person, label) for label in range(len(shown))] for person in numbers]
    return image_grid(
        rows, row_labels=[f"person {number}" for number in numbers], column_labels=[plain(name) for name in shown],
        cell=192, caption=f"{faces.name}: {len(numbers)} of {len(faces.identity.unique())} people, "
        f"{len(shown)} of {len(faces.expression_names)} expressions; {_kind(faces)}, {faces.size} px.",
    )  # fmt: skip


def draw_au_sweep(*, person: int = 0, steps: int = 6, size: int = 128) -> Figure:
    """One rendered person with each Action Unit alone, from 0 to 5.

    Args:
        person: number of an embedded identity.
        steps: intensities, evenly spaced.
        size: pixels.
    """
    from efgan.data.synthetic import render_face, sample_identity  # numba compiles on import

    identity = sample_identity(0, person)
    intensities = np.linspace(0, 1, steps)
    rows = [[render_face(identity, _only(code, value), size=size)[0] for value in intensities] for code in AU_NAMES]
    return image_grid(
        rows, row_labels=[f"{code} {words}" for code, words in AU_DESCRIPTIONS.items()],
        column_labels=[f"{value * MAX_INTENSITY:.0f}" for value in intensities], cell=128,
        caption=f"Embedded faces: one synthetic person, one Action Unit at a time, intensity 0 to 5, {size} px.",
    )  # fmt: skip


def draw_mean_face(faces: FaceSet, train: Tensor, *, eyes_with_brows: bool = False) -> Figure:
    """The mean training face with mean landmarks' focus boxes, and three faces with their own landmarks.

    Args:
        faces: the set.
        train: int64 positions of the training faces.
        eyes_with_brows: as in `ModelConfig`.
    """
    mean = faces.images[train].float().mean(0)
    boxes = compute_focus_boxes(faces.landmarks[train], faces.size, eyes_with_brows=eyes_with_brows)
    zoom = _WIDTH / faces.size
    frames = [
        Box(row=0, column=0, top=b.top * zoom, left=b.left * zoom, height=b.height * zoom, width=b.width * zoom,
            colour=BOX_COLOURS[name])
        for name, b in boxes.items()
    ]  # fmt: skip
    examples = train[torch.linspace(0, len(train) - 1, 3).long()].tolist()
    pictures = [_with_landmarks(mean, faces.landmarks[train].mean(0))]
    pictures += [_with_landmarks(faces.images[i].float(), faces.landmarks[i]) for i in examples]
    sizes = ", ".join(f"{name} {b.height}×{b.width}" for name, b in boxes.items())
    return image_grid(
        [pictures], column_labels=["mean training face\nwith focus boxes"]
        + [f"{plain(_label(faces, i))}\nwith 68 landmarks" for i in examples], boxes=frames, cell=_WIDTH,
        caption=f"{faces.name} ({_kind(faces)}): mean of {len(train)} training faces; boxes of the local focuses in "
        f"pixels: {sizes}.",
    )  # fmt: skip


def draw_focus_crops(faces: FaceSet, *, count: int = 10, columns: int = 5, eyes_with_brows: bool = False) -> Figure:
    """Example faces, evenly from the whole set, as they are cropped, with the local focuses' boxes.

    Args:
        faces: the set, not empty.
        count: how many, at most.
        columns: pictures per row.
        eyes_with_brows: as in `ModelConfig`.
    """
    boxes = compute_focus_boxes(faces.landmarks, faces.size, eyes_with_brows=eyes_with_brows)
    chosen = torch.linspace(0, len(faces) - 1, min(count, len(faces))).long().tolist()
    cells: list[Tensor | None] = [faces.images[i] for i in chosen] + [None] * (-len(chosen) % columns)
    frames = [
        Box(row=k // columns, column=k % columns, colour=BOX_COLOURS[name], **box._asdict())
        for k in range(len(chosen)) for name, box in boxes.items()
    ]  # fmt: skip
    return image_grid(
        [cells[start : start + columns] for start in range(0, len(cells), columns)], boxes=frames, cell=256,
        caption=f"{faces.name} ({_kind(faces)}, {faces.size} px): crops by landmarks, with the boxes of the local "
        "focuses (eyes, nose, mouth), which lie at the mean landmarks of all faces. Eyes must lie in the upper box "
        "and the mouth in the lower one.",
    )  # fmt: skip


def _with_landmarks(image: Tensor, landmarks: Tensor) -> Tensor:
    """uint8 3×W×W: the image (float, 0-255) enlarged, with a white dot on every landmark."""
    picture = F.interpolate(image[None], size=_WIDTH, mode="bicubic")[0].round().clamp(0, 255)
    for x, y in (landmarks * (_WIDTH / image.shape[-1])).round().long().clamp(2, _WIDTH - 3).tolist():
        picture[:, y - 2 : y + 3, x - 2 : x + 3] = 255
    return picture.to(torch.uint8)


def _only(code: str, value: float) -> np.ndarray:
    return np.where(np.array(AU_NAMES) == code, value, 0.0)


def _label(faces: FaceSet, i: int) -> str:
    label = int(faces.expression[i])
    return faces.expression_names[label] if label >= 0 else "random AUs" if faces.synthetic else "no class"


def _kind(faces: FaceSet) -> str:
    return "synthetic faces" if faces.synthetic else "photographs"
