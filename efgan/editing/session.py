"""One person's editing session: faces on offer, trained methods, the current request, and what comes of it.

Nothing here knows of widgets: `efgan.editing.widgets` shows it, tests drive it.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from efgan.data.action_units import MAX_INTENSITY
from efgan.data.crop import read_photo
from efgan.data.faces import FaceSet
from efgan.editing.edit_state import EditState
from efgan.editing.editor import Editor, load_editor
from efgan.editing.pictures import save_animation, save_png, to_array
from efgan.editing.reference import load_gallery, reference_run, sibling_runs
from efgan.editing.sources import Face, faces_in_photo, gallery_face
from efgan.errors import UserError
from efgan.experiments import find_experiment
from efgan.models.branch import Edit


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

    @property
    def stage_images(self) -> list[np.ndarray]:
        """The image after each stage, uint8 S×S×3."""
        return [to_array(step.image[0]) for step in self.steps]

    def attention(self, stage: int | None = None) -> np.ndarray | None:
        """Where it was edited, H×W in [0, 1]: the highest attention of any branch, of one stage (from 0) or of all.

        None for a method without attention (StarGAN).
        """
        step = self.edit if stage is None else self.steps[stage]
        maps = [attention[0].numpy() for attention in step.strongest_attention.values()]
        return np.maximum.reduce(maps) if maps else None


class EditSession:
    """Faces, methods, the current `state`, and the edits asked for. Made by `open_session`.

    Args:
        runs: trained run folders by experiment; opened when first used.
        gallery: faces on offer from the start.
        out: folder for saved edits and uploaded photos.
        method: the experiment that edits first.
        shipped: the runs are those of results/reference.
    """

    def __init__(self, runs: dict[str, Path], gallery: FaceSet, out: Path, *, method: str, shipped: bool) -> None:
        self.runs = runs
        self.out = out
        self.shipped = shipped
        self.random = np.random.default_rng()
        self._editors: dict[str, Editor] = {}
        self.state = EditState(method=method)
        gallery = gallery.resized(self.editor().config.data.image_size)
        self.faces = [gallery_face(gallery, k) for k in range(len(gallery))]
        self.gallery_size = len(gallery)
        self.state = self.state.reset(self.face.aus)

    @property
    def face(self) -> Face:
        """The source that the state asks for.

        Raises:
            UserError: there is no such face.
        """
        if not 0 <= self.state.face < len(self.faces):
            raise UserError(f"no face {self.state.face}: there are {len(self.faces)}, counted from 0")
        return self.faces[self.state.face]

    def editor(self, method: str | None = None) -> Editor:
        """The trained generator of a method, by default the state's.

        Raises:
            UserError: there is no such run.
        """
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
            label = editor.label_of(state.chosen_expression())
        start = time.perf_counter()
        source, wanted = (torch.from_numpy(aus / MAX_INTENSITY)[None] for aus in (face.aus, target))
        edit = editor.edit_batch(
            face.tensor[None], source, wanted, label,
            stages=state.stages if own else None, local_branches=state.local_branches if own else True,
        )  # fmt: skip
        return Edited(face=face, target_aus=target, edit=edit, seconds=time.perf_counter() - start)

    def compared(self) -> Iterator[tuple[str, np.ndarray]]:
        """The same request by every trained method, by its name in the paper; those that cannot do it are left out.

        Yields:
            Name, and uint8 S×S×3.
        """
        for method in self.runs:
            try:
                yield find_experiment(method).method, self.edited(method).image
            except UserError:  # StarGAN without a class
                continue

    def add_photo(self, photo: Path | str | bytes, name: str = "photo") -> int:
        """Finds the faces of a photo and puts them on offer.

        Args:
            photo: a file, or its content.
            name: what it is called.

        Returns:
            The position of the first of them among `faces`.

        Raises:
            UserError: no readable picture, or no face in it; the session is then as it was.
        """
        if isinstance(photo, bytes):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "photo"
                path.write_bytes(photo)
                try:
                    picture = read_photo(path)
                except UserError as error:
                    raise UserError(str(error).replace(str(path), name)) from None
        else:
            name, picture = Path(photo).stem, read_photo(Path(photo).expanduser())
        found = faces_in_photo(self.editor(), picture, re.sub(r"\W+", "_", name) or "photo")
        self.faces += found
        return len(self.faces) - len(found)

    def save_picture(self) -> Path:
        """Writes the edit: at the model's own size, or put back into the photo that the face comes from."""
        return save_png(self.face.finished(self.edited().image), self.new_path("png"))

    def save_animation(self, suffix: str = "gif", frames: int = 24) -> Path:
        """Writes the way from the source to the target and back, along the Interpolator's path.

        Args:
            suffix: gif or mp4.
            frames: pictures of one way.

        Raises:
            UserError: StarGAN, which has no way between expressions.
        """
        if self.state.method == "stargan":
            raise UserError("StarGAN knows no way between two expressions: choose another method for an animation")
        face, state = self.face, self.state
        alphas = np.linspace(0, 1, frames)
        source, target = (torch.from_numpy(aus / MAX_INTENSITY) for aus in (face.aus, state.target_aus(face.aus)))
        edits = self.editor().continuous(face.tensor, source, target, alphas.tolist(), stages=state.stages,
                                         local_branches=state.local_branches)  # fmt: skip
        pictures = (face.finished(to_array(edit)) if k else face.photo for k, edit in enumerate(edits))
        width = 256 if face.crop is None else min(480, face.photo.shape[1])
        return save_animation(pictures, self.new_path(suffix), width=width)

    def new_path(self, suffix: str) -> Path:
        """A free file name in `out`: face, expression, number."""
        stem = f"{self.face.name}_{self.state.expression or 'edit'}".replace(" ", "_")
        number = 1
        while (path := self.out / f"{stem}_{number}.{suffix}").exists():
            number += 1
        return path


def open_session(run: Path | str | None = None, *, out: Path | str) -> EditSession:
    """Opens a run, its sibling methods and the shipped faces.

    From then on torch leaves one core to the browser: threads that wait for a busy core made an edit eight times slower
    (measured on two cores; our decision).

    Args:
        run: a run folder; None or "" opens the shipped model.
        out: folder for what is saved.

    Raises:
        UserError: no such run, or the shipped model or faces are missing.
    """
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1)))
    folder = Path(run) if run else reference_run()
    method = folder.parent.name
    return EditSession(sibling_runs(folder), load_gallery(), Path(out), method=method, shipped=not run)
