"""Edits faces with a trained run: absolute or relative Action Units, whole test sets, continuous sequences."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from efgan.config import RunConfig
from efgan.data.action_units import AU_NAMES, MAX_INTENSITY
from efgan.data.faces import to_float, to_uint8
from efgan.errors import UserError
from efgan.models.branch import BranchOutput, Edit
from efgan.models.cascade import CascadeEFGAN
from efgan.models.interpolator import Interpolator
from efgan.models.local_focus import Box
from efgan.training.precision import pick_device
from efgan.training.run import TrainedRun, load_run


@dataclass(frozen=True, kw_only=True)
class EditedFace:
    """One edited face.

    Attributes:
        image: uint8, S×S×3.
        stages: the images of a cascade's stages, uint8, S×S×3 each; one for a single-stage method.
        attention: attention by branch ("global", "eyes", "nose", "mouth"), float32, H×W in [0, 1], 1 = edited.
        target_aus: the AUs asked for, 0-5, by name.
    """

    image: np.ndarray
    stages: tuple[np.ndarray, ...]
    attention: dict[str, np.ndarray]
    target_aus: dict[str, float]


class Editor:
    """A trained generator, ready to edit. Made by `load_editor`."""

    def __init__(self, run: TrainedRun, folder: Path, device: torch.device) -> None:
        self._generator = run.generator
        self._expression_names: list[str] = run.state["expression_names"]
        self.folder = folder
        self.device = device
        self.config: RunConfig = run.config
        self.focus_boxes: dict[str, Box] = {region: Box(*box) for region, box in run.state["boxes"].items()}

    @property
    def manifest(self) -> dict:
        """The run's manifest."""
        return json.loads((self.folder / "manifest.json").read_text())

    @property
    def interpolator(self) -> Interpolator | None:
        """The AUs Interpolator of a cascade; None for single-stage methods."""
        return self._generator.interpolator if isinstance(self._generator, CascadeEFGAN) else None

    @torch.no_grad()
    def edit_batch(
        self, images: Tensor, source_aus: Tensor, target_aus: Tensor, target_expression: Tensor | None = None,
        *, batch_size: int = 32,
    ) -> Edit:  # fmt: skip
        """Edits N faces.

        Args:
            images: N×3×S×S, uint8 or float in [-1, 1].
            source_aus, target_aus: N×17 in [0, 1].
            target_expression: int64, N; only StarGAN needs it.
            batch_size: faces at a time.

        Returns:
            The edit with every intermediate result, on the CPU.

        Raises:
            UserError: images of another size than the model's, or StarGAN without `target_expression`.
        """
        size = self.config.data.image_size
        if images.shape[1:] != (3, size, size):
            raise UserError(f"this model edits N×3×{size}×{size} images, not {tuple(images.shape)}: "
                            f"crop and resize the faces to {size} pixels")  # fmt: skip
        if images.dtype == torch.uint8:
            images = to_float(images)
        source, target = source_aus, target_aus
        if self.config.experiment == "stargan":
            if target_expression is None:
                raise UserError("StarGAN edits towards a class, not AUs: give target_expression")
            source = target = F.one_hot(target_expression, len(self._expression_names)).float()
        chunks = zip(images.split(batch_size), source.split(batch_size), target.split(batch_size), strict=True)
        return _concatenate([
            _to_cpu(self._generator(*(tensor.to(self.device) for tensor in chunk))) for chunk in chunks
        ])  # fmt: skip

    def edit(
        self, image: np.ndarray, *, source_aus: np.ndarray | None = None, relative: bool = False, **aus: float
    ) -> EditedFace:
        """Edits one face: `editor.edit(image, AU12=3, AU25=2)`.

        Args:
            image: uint8, S×S×3.
            source_aus: the face's own AUs, 17 values 0-5; None takes them as 0 (neutral). AUs that are not named
                keep these values.
            relative: add the given values to the face's own instead of setting them.
            aus: intensities by code, 0-5 (relative: -5 to 5).

        Raises:
            UserError: an unknown AU, an intensity out of range, an image of another size.
        """
        source = np.zeros(len(AU_NAMES), np.float32) if source_aus is None else np.asarray(source_aus, np.float32)
        target = source.copy()
        for name, value in aus.items():
            if name not in AU_NAMES:
                raise UserError(f"unknown Action Unit {name!r}: choose among {', '.join(AU_NAMES)}")
            value = value + float(source[AU_NAMES.index(name)]) if relative else value
            if not relative and not 0 <= value <= MAX_INTENSITY:
                raise UserError(f"{name}={value} is out of range: intensities are 0 to 5")
            target[AU_NAMES.index(name)] = min(max(value, 0.0), MAX_INTENSITY)
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        as_batch = [torch.from_numpy(a / MAX_INTENSITY)[None].float() for a in (source, target)]
        result = self.edit_batch(tensor, *as_batch)
        stages = result.stages or (result,)
        return EditedFace(
            image=_to_array(result.image), stages=tuple(_to_array(stage.image) for stage in stages),
            attention={name: a[0, 0].numpy() for name, a in stages[-1].attentions.items()},
            target_aus=dict(zip(AU_NAMES, target.tolist(), strict=True)),
        )  # fmt: skip

    @torch.no_grad()
    def continuous(self, image: Tensor, source_aus: Tensor, target_aus: Tensor, alphas: list[float]) -> Tensor:
        """Edits one face to several fractions of the way, along the Interpolator's path (paper 4.5, Figure 7).

        Args:
            image: 3×S×S, uint8 or float in [-1, 1].
            source_aus, target_aus: 17 in [0, 1].
            alphas: fractions in [0, 1]; single-stage methods interpolate linearly.

        Returns:
            len(alphas)×3×S×S in [-1, 1].
        """
        n = len(alphas)
        alpha = torch.tensor(alphas, dtype=torch.float32)[:, None]
        source, target = source_aus.expand(n, -1), target_aus.expand(n, -1)
        if self.interpolator is None:
            between = torch.lerp(source, target, alpha)
        else:
            between = self.interpolator.between(*(t.to(self.device) for t in (source, target, alpha))).cpu()
        return self.edit_batch(image.expand(n, -1, -1, -1), source, between).image


def load_editor(run: Path | str, device: torch.device | None = None) -> Editor:
    """Opens a trained run for editing.

    Args:
        run: a run folder, results/<family>/<preset>/<dataset>/<experiment>/seed<k>.
        device: default: the GPU if there is one.

    Raises:
        UserError: the folder holds no finished run, or one of another version.
    """
    device = device or pick_device()
    return Editor(load_run(run, device), Path(run), device)


def _to_array(images: Tensor) -> np.ndarray:
    return to_uint8(images[0]).permute(1, 2, 0).numpy()


def _to_cpu(edit: Edit) -> Edit:
    return _map(lambda tensors: tensors[0].cpu(), [edit])


def _concatenate(edits: list[Edit]) -> Edit:
    return _map(torch.cat, edits)


def _map(combine, edits: list[Edit]) -> Edit:
    """Applies `combine` (a list of tensors → a tensor) to every tensor of alike edits."""

    def walk(values: list):
        first = values[0]
        if isinstance(first, Tensor):
            return combine(values)
        if isinstance(first, Edit):
            return Edit(**{f.name: walk([getattr(v, f.name) for v in values]) for f in fields(Edit)})
        if isinstance(first, BranchOutput):
            return BranchOutput(*(walk(list(group)) for group in zip(*values, strict=True)))
        if isinstance(first, dict):
            return {key: walk([v[key] for v in values]) for key in first}
        if isinstance(first, tuple):
            return tuple(walk(list(group)) for group in zip(*values, strict=True))
        return first

    return walk(edits)
