"""The Refiner: fuses the stitched local outputs with the global output (paper 3.1)."""

import torch
from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.layers import Backbone


class Refiner(nn.Module):
    """Concatenates both images and produces the final edit.

    With `refiner_residual` the output is mean(inputs) + √attention · correction. The correction's last layer starts
    at zero, so training starts from a sane face and every branch gets a gradient from the first step. Without the
    attention it also shades backgrounds that no branch edits; the root leaves it most of its reach where branches
    attend by half. The plain form ignores the attention and must relearn the picture first. All are our decision:
    the paper defers the layer table.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.residual = config.refiner_residual
        self.backbone = Backbone(6, 0, 3, config.refiner_width, config.refiner_blocks)
        if self.residual:
            nn.init.zeros_(self.backbone.head.weight)

    def forward(self, stitched: Tensor, global_image: Tensor, attention: Tensor) -> Tensor:
        """Args: stitched and global_image, B×3×S×S in [-1, 1]; attention, the strongest of any branch, B×1×S×S in
        [0, 1], no gradient reaches it. Returns the edit, B×3×S×S in [-1, 1]."""
        features = self.backbone(torch.cat([stitched, global_image], 1))
        if self.residual:
            return ((stitched + global_image) / 2 + attention.detach().sqrt() * features).clamp(-1, 1)
        return torch.tanh(features)
