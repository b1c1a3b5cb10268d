"""Cascade EF-GAN: N generators along the Interpolator's path (paper 3.2). It also cascades the Baseline."""

import torch
from torch import Tensor, nn

from efgan.models.branch import Edit
from efgan.models.interpolator import Interpolator


class CascadeEFGAN(nn.Module):
    """Each stage edits the image of the stage before towards the next intermediate AUs.

    Stages have their own weights, one Interpolator serves all (paper 3.2, 3.3). The fractions are k/N and no
    gradient flows from images into the Interpolator (our decisions).

    Args:
        stages: N single-stage generators, e.g. `EFGAN`.
        interpolator: the shared AUs Interpolator.
    """

    def __init__(self, stages: list[nn.Module], interpolator: Interpolator) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.interpolator = interpolator

    @torch.no_grad()
    def path(self, source_aus: Tensor, target_aus: Tensor) -> Tensor:
        """The AUs each stage aims at, B×N×17; the last are `target_aus`."""
        n = len(self.stages)
        return torch.stack([self.interpolator.between(source_aus, target_aus, k / n) for k in range(1, n + 1)], 1)

    def forward(self, images: Tensor, source_aus: Tensor, target_aus: Tensor) -> Edit:
        """Edits B faces in N steps.

        Args:
            images: B×3×S×S in [-1, 1].
            source_aus, target_aus: B×17 in [0, 1].
        """
        path = self.path(source_aus, target_aus)
        edits: list[Edit] = []
        for k, stage in enumerate(self.stages):
            before = path[:, k - 1] if k else source_aus
            edits.append(stage(edits[-1].image if k else images, before, path[:, k]))
        return Edit(image=edits[-1].image, stages=tuple(edits), stage_aus=path)
