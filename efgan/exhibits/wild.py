"""The wild faces of figure 8: AffectNet's photographs or rendered people of no set, and photos of the user's."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from efgan.config import find_preset
from efgan.data import load_faces
from efgan.data.action_units import RAFD_EXPRESSIONS
from efgan.data.crop import align_face, read_photo
from efgan.data.faces import FaceSet
from efgan.data.landmarks import detect_landmarks
from efgan.data.splits import split_faces
from efgan.editing.editor import Editor
from efgan.editing.wild import EditedPhoto, edit_photo
from efgan.errors import UserError
from efgan.exhibits.runs import Examples
from efgan.grids import Picture

PEOPLE_SEED = 8_000_008  # a family of people that no embedded set draws from
# Eyes, nose base and mouth in `skimage.data.astronaut()` (NASA, public domain): this photo needs no detector.
_ASTRONAUT = ((36, 42, 204, 102), (42, 48, 247, 105), (31, 36, 224, 129), (48, 68, 224, 146))  # first, end, x, y
_RENDERED = 128  # pixels, as the embedded sets are rendered before they are resized
_SHOWN = 256  # pixels of a photo's face
Triplet = tuple[Picture, Picture | None, Picture]


def wild_examples(editor: Editor, tasks: Sequence[tuple[str, str]]) -> Examples | None:
    """Wild faces with another face of the wanted expression: rendered ones for a run on embedded faces, AffectNet's for
    one on photographs; None where that is not there or cannot be used.

    Source: paper 4.5 and figure 8 use AffectNet; its stand-in is our decision.
    """
    data = editor.config.data
    if data.synthetic:
        return rendered_examples(tasks, size=data.image_size, seed=editor.config.seed)
    affectnet = find_preset(editor.config.preset).data("affectnet", data_root=data.data_root)
    try:
        faces = load_faces(replace(affectnet, image_size=data.image_size))
    except UserError:  # no AffectNet, or nobody measured it: the other exhibits do not need it
        return None
    return affectnet_examples(faces.subset(split_faces(faces, affectnet).test), tasks, seed=editor.config.seed)


def affectnet_examples(faces: FaceSet, tasks: Sequence[tuple[str, str]], *, seed: int) -> Examples:
    """One photo per task, drawn by seed; the desired image is another person's photo with the wanted expression.

    Tasks whose expressions the faces do not show are left out.
    """
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(seed))
    shown = {name: order[faces.expression[order] == k].tolist() for k, name in enumerate(faces.expression_names)}
    pairs = [(shown[s].pop(), shown[t].pop(), (s, t)) for s, t in tasks if shown.get(s) and shown.get(t)]
    source, target = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (0, 1))
    return Examples(
        images=faces.images[source], targets=faces.images[target], source_aus=faces.aus[source],
        target_aus=faces.aus[target], target_expression=faces.expression[target], tasks=[task for *_, task in pairs],
        names=[(faces.names[s], faces.names[t]) for s, t, _ in pairs],
    )  # fmt: skip


def rendered_examples(tasks: Sequence[tuple[str, str]], *, size: int, seed: int) -> Examples:
    """Unseen people under unseen light and background, one person per (source, target) expression.

    The desired image is the same person in the same view with the target expression.
    """
    from efgan.data.synthetic.recipes import expression_sides

    sides = [[expression_sides(expression) for expression in task] for task in tasks]
    aus = [[both.mean(0) for both in pair] for pair in sides]
    pictures = [[_render(seed, k, both, size) for both in pair] for k, pair in enumerate(sides)]
    return Examples(
        images=torch.stack([source for source, _ in pictures]), targets=torch.stack([t for _, t in pictures]),
        source_aus=torch.tensor(np.stack([source for source, _ in aus])),
        target_aus=torch.tensor(np.stack([target for _, target in aus])),
        target_expression=torch.tensor([RAFD_EXPRESSIONS.index(target) for _, target in tasks]),
        tasks=list(tasks), names=[(f"wild_{k}_{s}", f"wild_{k}_{t}") for k, (s, t) in enumerate(tasks)],
    )  # fmt: skip


def photo_triplets(editor: Editor, photos: Sequence[Path | str], expression: str) -> tuple[list[Triplet], EditedPhoto]:
    """The faces of photos with an expression of the presets, cut out at the photos' own resolution.

    Args:
        editor: the model, with an AU estimator beside its run.
        photos: files; none = the portrait of an astronaut that comes with scikit-image.
        expression: the wanted one.

    Returns:
        (photo, None, edit) per face: there is no photo of the desired expression; and the last edited photo.
    """
    triplets: list[Triplet] = []
    for photo, landmarks in [_read(path) for path in photos] or [_astronaut()]:
        edited = edit_photo(editor, photo, expression=expression, landmarks=landmarks)
        for points in landmarks:
            crop = align_face(points, _SHOWN)
            triplets.append((crop.apply(photo), None, crop.apply(edited.image)))
    return triplets, edited


def _read(path: Path | str) -> tuple[np.ndarray, list[np.ndarray]]:
    photo = read_photo(path)
    return photo, detect_landmarks(photo)


def _astronaut() -> tuple[np.ndarray, list[np.ndarray]]:
    from skimage.data import astronaut

    landmarks = np.zeros((68, 2))
    for first, end, *place in _ASTRONAUT:
        landmarks[first:end] = place
    return astronaut(), [landmarks]


def _render(seed: int, person: int, sides: np.ndarray, size: int) -> torch.Tensor:
    """uint8 3×size×size."""
    from efgan.data.synthetic.identities import sample_identity  # numba compiles on import of the renderer
    from efgan.data.synthetic.render import render_face
    from efgan.data.synthetic.views import wild_view

    identity = sample_identity(PEOPLE_SEED + seed, person)
    picture, _ = render_face(identity, sides, view=wild_view(100 * seed + person), size=_RENDERED)
    return _resized(picture, size)


def _resized(picture: np.ndarray, size: int) -> torch.Tensor:
    """uint8 H×H×3 → uint8 3×size×size."""
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    mode = "area" if size <= len(picture) else "bicubic"
    return F.interpolate(tensor, size=size, mode=mode)[0].round().clamp(0, 255).to(torch.uint8)
