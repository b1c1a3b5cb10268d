"""Edits faces with a trained run: absolute or relative Action Units, whole test sets, continuous sequences."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efgan.config import RunConfig
from efgan.data.action_units import AU_NAMES, MAX_INTENSITY
from efgan.data.faces import to_float
from efgan.editing.edit_state import check_intensities
from efgan.editing.pictures import to_array
from efgan.editing.reference import reference_run
from efgan.errors import UserError
from efgan.models.branch import BranchOutput, Edit, branch_condition
from efgan.models.cascade import CascadeEFGAN
from efgan.models.ef_gan import EFGAN
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
        attention: attention by branch ("global", "eyes", "nose", "mouth"), float32, H×W in [0, 1], 1 = edited; of a
            cascade the largest of all stages at each pixel.
        target_aus: the AUs asked for, 0-5, by name.
        expression: the class asked for, of StarGAN.
    """

    image: np.ndarray
    stages: tuple[np.ndarray, ...]
    attention: dict[str, np.ndarray]
    target_aus: dict[str, float]
    expression: str | None = None


class Editor:
    """A trained generator, ready to edit. Made by `load_editor`."""

    def __init__(self, run: TrainedRun, folder: Path, device: torch.device) -> None:
        self._generator = run.generator
        self.expression_names: tuple[str, ...] = tuple(run.state["expression_names"])
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

    @property
    def num_stages(self) -> int:
        """Stages of a cascade; 1 for single-stage methods."""
        return len(self._generator.stages) if isinstance(self._generator, CascadeEFGAN) else 1

    @property
    def has_local_branches(self) -> bool:
        """True for EF-GAN and its cascade."""
        return any(isinstance(module, EFGAN) for module in self._generator.modules())

    @torch.no_grad()
    def edit_batch(
        self, images: Tensor, source_aus: Tensor, target_aus: Tensor, target_expression: Tensor | None = None,
        *, batch_size: int = 32, stages: int | None = None, local_branches: bool = True,
    ) -> Edit:  # fmt: skip
        """Edits N faces.

        Args:
            images: N×3×S×S, uint8 or float in [-1, 1].
            source_aus, target_aus: N×17 in [0, 1].
            target_expression: int64, N; only StarGAN needs it.
            batch_size: faces at a time.
            stages: go to the target in the first so many stages of a cascade; None = all.
            local_branches: False leaves the global branch alone, without local branches and Refiner.

        Returns:
            The edit with every intermediate result, on the CPU.

        Raises:
            UserError: images of another size than the model's, StarGAN without `target_expression`, or a number of
                stages that the model does not have.
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
            source = target = F.one_hot(target_expression, len(self.expression_names)).float()
        generator = self._reduced(stages, local_branches)
        chunks = zip(images.split(batch_size), source.split(batch_size), target.split(batch_size), strict=True)
        return _concatenate([
            _to_cpu(generator(*(tensor.to(self.device) for tensor in chunk))) for chunk in chunks
        ])  # fmt: skip

    def label_of(self, expression: str) -> Tensor:
        """The class of an expression as `edit_batch` takes it, int64 of length 1.

        Raises:
            UserError: the model was not trained on that class.
        """
        if expression not in self.expression_names:
            raise UserError(f"this model knows no expression {expression!r}: it knows "
                            f"{', '.join(self.expression_names)}")  # fmt: skip
        return torch.tensor([self.expression_names.index(expression)])

    def _reduced(self, stages: int | None, local_branches: bool) -> nn.Module:
        """The generator, or one of its first stages or global branches alone that shares its weights.

        A shorter cascade spreads the way over its stages, so that it too ends at the target (our decision).
        """
        if not 1 <= (stages or 1) <= self.num_stages:
            raise UserError(f"stages = {stages} is not accepted: this model has {self.num_stages}")
        if stages in (None, self.num_stages) and local_branches:
            return self._generator
        cascade = self._generator if isinstance(self._generator, CascadeEFGAN) else None
        parts = list(cascade.stages)[:stages] if cascade else [self._generator]
        if not local_branches:
            parts = [_Global(part) if isinstance(part, EFGAN) else part for part in parts]
        return CascadeEFGAN(parts, cascade.interpolator) if cascade else parts[0]

    def edit(
        self, image: np.ndarray, *, source_aus: np.ndarray | None = None, relative: bool = False,
        stages: int | None = None, local_branches: bool = True, expression: str | None = None, **aus: float,
    ) -> EditedFace:  # fmt: skip
        """Edits one face: `editor.edit(image, AU12=3, AU25=2)`.

        Args:
            image: uint8, S×S×3.
            source_aus: the face's own AUs, 17 values, kept within 0-5; None takes them as 0 (neutral). AUs that are
                not named keep these values.
            relative: add the given values to the face's own instead of setting them.
            stages, local_branches: see `edit_batch`.
            expression: the class that StarGAN edits towards; other methods take AUs.
            aus: intensities by code, 0-5 (relative: -5 to 5).

        Raises:
            UserError: an unknown AU, an intensity out of range, an image of another size, AUs for StarGAN.
        """
        own = np.zeros(len(AU_NAMES)) if source_aus is None else source_aus
        source = np.asarray(own, np.float32).clip(0, MAX_INTENSITY)
        target = source.copy()
        if aus and self.config.experiment == "stargan":
            raise UserError("StarGAN knows expressions, no AUs: name one with expression=")
        check_intensities(aus, relative=relative)
        for name, value in aus.items():
            k = AU_NAMES.index(name)
            target[k] = np.clip(value + source[k] if relative else value, 0, MAX_INTENSITY)
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        before, after = (torch.from_numpy(a / MAX_INTENSITY)[None].float() for a in (source, target))
        label = self.label_of(expression) if expression is not None else None
        result = self.edit_batch(tensor, before, after, label, stages=stages, local_branches=local_branches)
        steps = result.stages or (result,)
        return EditedFace(
            image=to_array(result.image[0]), stages=tuple(to_array(step.image[0]) for step in steps),
            attention={name: torch.stack([step.branches[name].attention[0, 0] for step in steps]).amax(0).numpy()
                       for name in steps[0].branches},
            target_aus=dict(zip(AU_NAMES, target.tolist(), strict=True)), expression=expression,
        )  # fmt: skip

    @torch.no_grad()
    def continuous(
        self, image: Tensor, source_aus: Tensor, target_aus: Tensor, alphas: list[float],
        *, stages: int | None = None, local_branches: bool = True,
    ) -> Tensor:  # fmt: skip
        """Edits one face to several fractions of the way, along the Interpolator's path (paper 4.5, Figure 7).

        Args:
            image: 3×S×S, uint8 or float in [-1, 1].
            source_aus, target_aus: 17 in [0, 1].
            alphas: fractions in [0, 1]; single-stage methods interpolate linearly.
            stages, local_branches: see `edit_batch`.

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
        faces = image.expand(n, -1, -1, -1)
        return self.edit_batch(faces, source, between, stages=stages, local_branches=local_branches).image


def load_editor(run: Path | str | None = None, device: torch.device | None = None) -> Editor:
    """Opens a trained run for editing.

    Args:
        run: a run folder, results/<family>/<preset>/<dataset>/<experiment>/seed<k>; None opens the shipped Cascade
            EF-GAN in results/reference.
        device: default: the GPU if there is one.

    Raises:
        UserError: the folder holds no finished run, or one of another version; no shipped model, or one whose
            weights are not those of its manifest.
    """
    device = device or pick_device()
    folder = reference_run() if run is None else Path(run)
    return Editor(load_run(folder, device), folder, device)


class _Global(nn.Module):
    """The global branch of an EF-GAN alone."""

    def __init__(self, whole: EFGAN) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, images: Tensor, source_aus: Tensor, target_aus: Tensor) -> Edit:
        condition = branch_condition(source_aus, target_aus, relative=self.whole.relative_aus)
        edit = self.whole.transformer.global_branch(images, condition)
        return Edit(image=edit.image, global_edit=edit)


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
