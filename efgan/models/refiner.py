"""The Refiner: fuses the stitched local outputs with the global output (paper 3.1)."""

import torch
from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.layers import Backbone

_EQUAL_BELOW = 1e-4  # attention beyond which it decides between the inputs; below, they count alike


class Refiner(nn.Module):
    """Concatenates both images and produces the final edit.

    The output is start + √attention · correction, where by `refiner_start` the start is, of its inputs:

    - "mean": their mean, weighted by their attentions, so that what one branch alone edits counts whole;
    - "layers": the local edits lie over the global one as they do over the input, so that what one branch covers and
      the other leaves is covered, and two half open branches leave a quarter of the input, not a half.

    The correction is scaled by the stronger attention, as it would else shade backgrounds that no branch edits, and
    the root leaves it most of its reach where branches attend by half. Its last layer starts at zero, so training
    starts from a sane face and every branch gets a gradient from the first step. All are our decision: the paper
    defers the layer table.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.start_from = config.refiner_start
        self.backbone = Backbone(6, 0, 3, config.refiner_width, config.refiner_blocks)
        nn.init.zeros_(self.backbone.head.weight)

    def forward(
        self, images: Tensor, stitched: Tensor, global_image: Tensor, stitched_attention: Tensor,
        global_attention: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Fuses the two.

        Args:
            images: the input, B×3×S×S in [-1, 1].
            stitched, global_image: B×3×S×S in [-1, 1].
            stitched_attention, global_attention: B×1×S×S in [0, 1]; they get no gradient from the correction.

        Returns:
            The edit and what it was corrected from, B×3×S×S in [-1, 1] each.
        """
        if self.start_from == "layers":
            start = stitched + (1 - stitched_attention) * (global_image - images)
        else:
            local, whole = stitched_attention.detach() + _EQUAL_BELOW, global_attention.detach() + _EQUAL_BELOW
            start = torch.lerp(global_image, stitched, local / (local + whole))
        strongest = torch.maximum(stitched_attention, global_attention).detach()
        correction = self.backbone(torch.cat([stitched, global_image], 1))
        return (start + strongest.sqrt() * correction).clamp(-1, 1), start
