"""The Refiner: fuses the stitched local outputs with the global output (paper 3.1)."""

import torch
from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.layers import Backbone

_EQUAL_BELOW = 1e-4  # attention beyond which it decides between the inputs; below, they count alike


class Refiner(nn.Module):
    """Concatenates both images and produces the final edit.

    With `refiner_residual` the output is mean(inputs) + √attention · correction. The mean weights each input by its
    attention, so that what one branch alone edits counts whole; the correction is scaled by the stronger attention,
    as it would else shade backgrounds that no branch edits, and the root leaves it most of its reach where branches
    attend by half. The correction's last layer starts at zero, so training starts from a sane face and every branch
    gets a gradient from the first step. The plain form ignores the attentions and must relearn the picture first. All
    are our decision: the paper defers the layer table.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.residual = config.refiner_residual
        self.backbone = Backbone(6, 0, 3, config.refiner_width, config.refiner_blocks)
        if self.residual:
            nn.init.zeros_(self.backbone.head.weight)

    def forward(
        self, stitched: Tensor, global_image: Tensor, stitched_attention: Tensor, global_attention: Tensor
    ) -> Tensor:
        """Fuses the two.

        Args:
            stitched, global_image: B×3×S×S in [-1, 1].
            stitched_attention, global_attention: B×1×S×S in [0, 1]; no gradient reaches them from here.

        Returns:
            The edit, B×3×S×S in [-1, 1].
        """
        features = self.backbone(torch.cat([stitched, global_image], 1))
        if not self.residual:
            return torch.tanh(features)
        start = self.start(stitched, global_image, stitched_attention, global_attention)
        strongest = torch.maximum(stitched_attention, global_attention).detach()
        return (start + strongest.sqrt() * features).clamp(-1, 1)

    @staticmethod
    def start(stitched: Tensor, global_image: Tensor, stitched_attention: Tensor, global_attention: Tensor) -> Tensor:
        """What is corrected: the mean of both images, weighted by their attentions, B×3×S×S in [-1, 1].

        Args: those of `forward`.
        """
        local, whole = stitched_attention.detach() + _EQUAL_BELOW, global_attention.detach() + _EQUAL_BELOW
        return torch.lerp(global_image, stitched, local / (local + whole))
