"""One person's editing session: faces on offer, trained methods, the current request, and what comes of it.

Nothing here knows of widgets: `efgan.editing.widgets` shows it, tests drive it.
"""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from efgan.data.action_units import MAX_INTENSITY
from efgan.data.faces import FaceSet
from efgan.editing.edit_state import EditState
from efgan.editing.editor import Editor, load_editor
from efgan.editing.pictures import save_gif, save_png, to_array
from efgan.editing.reference import load_gallery, reference_run, sibling_runs
from efgan.errors import UserError
from efgan.experiments import find_experiment
from efgan.models.branch import Edit


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face that can be edited.

    Attributes:
        name: for people and file names.
        image: uint8, S×S×3.
        aus: its own AUs, 17 in 0-5.
        expression: its class, if it has one.
    """

    name: str
    image: np.ndarray
    aus: np.ndarray
    expression: str | None = None

    @property
    def tensor(self) -> Tensor:
        """uint8, 3×S×S."""
        return torch.from_numpy(np.ascontiguousarray(self.image)).permute(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What came of a request.

    Attributes:
        face: the source.
        target_aus: 17 in 0-5.
        edit: everything the generator gave, a batch of one, on the CPU.
        seconds: time of the generator.
    """

    face: Face
    target_aus: np.ndarray
    edit: Edit
    seconds: float

    @cached_property
    def image(self) -> np.ndarray:
        """uint8, S×S×3."""
        return to_array(self.edit.image[0])

    @property
    def steps(self) -> tuple[Edit, ...]:
        """One edit per stage; one for single-stage methods."""
        return self.edit.stages or (self.edit,)

    def attention(self, stage: int | None = None) -> np.ndarray | None:
        """Where it was edited, H×W in [0, 1]: the highest attention of any branch, of one stage (from 0) or of all.

        None for a method without attention (StarGAN).
        """
        maps = [
            attention[0, 0].numpy()
            for step in (self.steps if stage is None else self.steps[stage : stage + 1])
            for attention in (step.global_edit.attention if step.global_edit else None, step.stitched_attention)
            if attention is not None
        ]
        return np.maximum.reduce(maps) if maps else None


class EditSession:
    """Faces, methods, the current `state`, and the edits asked for. Made by `open_session`.

    Args:
        runs: trained run folders by experiment; opened when first used.
        gallery: faces on offer from the start.
        out: folder for saved edits and uploaded photos.
        shipped: the runs are those of results/reference.
    """

    def __init__(self, runs: dict[str, Path], gallery: FaceSet, out: Path, *, method: str, shipped: bool) -> None:
        self.runs = runs
        self.out = out
        self._shipped = shipped
        self._editors: dict[str, Editor] = {}
        self.state = EditState(method=method)
        self._gallery = gallery.resized(self.editor().config.data.image_size)
        self.faces = [_gallery_face(self._gallery, k) for k in range(len(gallery))]
        self.state = self.state.reset(self.face.aus)

    @property
    def face(self) -> Face:
        """The source that the state asks for."""
        return self.faces[self.state.face]

    def editor(self, method: str | None = None) -> Editor:
        """The trained generator of a method, by default the state's."""
        method = method or self.state.method
        if method not in self.runs:
            raise UserError(f"no trained {method} beside this run: choose one of {', '.join(self.runs)}")
        if method not in self._editors:
            self._editors[method] = load_editor(self.runs[method])
        return self._editors[method]

    def edited(self, method: str | None = None) -> Edited:
        """What the state asks for, by its own method or another one with all its parts.

        Raises:
            UserError: StarGAN, and no expression that it knows is chosen.
        """
        state, face = self.state, self.face
        editor = self.editor(method)
        own = method in (None, state.method)
        target = state.target_aus(face.aus)
        label = None
        if editor.config.experiment == "stargan":
            if state.expression is None:
                raise UserError("StarGAN knows expressions, not Action Units: press one of the expressions")
            label = editor.label_of(state.expression)
        start = time.perf_counter()
        edit = editor.edit_batch(
            face.tensor[None], *(torch.from_numpy(aus / MAX_INTENSITY)[None] for aus in (face.aus, target)), label,
            stages=state.stages if own else None, local_branches=state.local_branches if own else True,
        )  # fmt: skip
        return Edited(face=face, target_aus=target, edit=edit, seconds=time.perf_counter() - start)

    def compared(self) -> dict[str, np.ndarray]:
        """The same request by every trained method, by its name in the paper; those that cannot do it are left out."""
        pictures = {}
        for method in self.runs:
            try:
                pictures[find_experiment(method).method] = self.edited(method).image
            except UserError:  # StarGAN without a class
                continue
        return pictures

    def save_picture(self) -> Path:
        """Writes the edit, at the model's own size."""
        return save_png(self.edited().image, self._new_path("png"))

    def save_animation(self, frames: int = 24) -> Path:
        """Writes a GIF from the source to the target and back, along the Interpolator's path.

        Raises:
            UserError: StarGAN, which has no way between expressions.
        """
        if self.state.method == "stargan":
            raise UserError("StarGAN knows no way between two expressions: choose another method for an animation")
        face, state = self.face, self.state
        alphas = np.linspace(0, 1, frames)
        aus = [torch.from_numpy(a / MAX_INTENSITY) for a in (face.aus, state.target_aus(face.aus))]
        edits = self.editor().continuous(face.tensor, *aus, alphas.tolist(), stages=state.stages,
                                         local_branches=state.local_branches)  # fmt: skip
        pictures = [face.image, *(to_array(edit) for edit in edits[1:])]
        return save_gif(pictures, self._new_path("gif"))

    def python_call(self) -> str:
        """Python that repeats the edit exactly."""
        state, face, editor = self.state, self.face, self.editor()
        run = "" if self._shipped and state.method == "cascade_ef_gan" else f'"{editor.folder.as_posix()}"'
        size = "" if self._gallery.size == load_gallery().size else f".resized({self._gallery.size})"
        words = [f"source_aus=5 * faces.aus[{state.face}].numpy()"]
        words += [f"stages={state.stages}"] if state.stages else []
        words += [] if state.local_branches else ["local_branches=False"]
        if state.method == "stargan":
            words.append(f'expression="{state.expression}"')
        else:
            words += ["relative=True"] if state.relative else []
            words += [f"{code}={value:g}" for code, value in state.changes(face.aus).items()]
        return (
            "from efgan import load_editor\nfrom efgan.editing.reference import load_gallery\n\n"
            f"editor, faces = load_editor({run}), load_gallery(){size}\n"
            f"image = faces.images[{state.face}].permute(1, 2, 0).numpy()\n"
            f"edited = editor.edit(image, {', '.join(words)})\n"
        )

    def _new_path(self, suffix: str) -> Path:
        """A free file name in `out`: face, expression, number."""
        stem = f"{self.face.name}_{self.state.expression or 'edit'}".replace(" ", "_")
        number = 1
        while (path := self.out / f"{stem}_{number}.{suffix}").exists():
            number += 1
        return path


def open_session(run: Path | str | None = None, *, out: Path | str) -> EditSession:
    """Opens a run, its sibling methods and the shipped faces.

    Args:
        run: a run folder; None opens the shipped model.
        out: folder for what is saved.

    Raises:
        UserError: no such run, or the shipped model or faces are missing.
    """
    folder = reference_run() if run is None else Path(run)
    method = folder.parent.name
    return EditSession(sibling_runs(folder), load_gallery(), Path(out), method=method, shipped=run is None)


def _gallery_face(faces: FaceSet, index: int) -> Face:
    label = int(faces.expression[index])
    expression = faces.expression_names[label] if label >= 0 else None
    return Face(name=f"person {int(faces.identity[index])} {expression or ''}".strip(),
                image=faces.images[index].permute(1, 2, 0).numpy(), aus=MAX_INTENSITY * faces.aus[index].numpy(),
                expression=expression)  # fmt: skip
