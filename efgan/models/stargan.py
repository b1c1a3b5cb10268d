"""StarGAN (Choi et al. 2018): discrete expressions, no attention."""

import torch
from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.branch import Edit
from efgan.models.layers import Backbone


class StarGAN(nn.Module):
    """The generator with a single tanh head, conditioned on a one-hot class."""

    def __init__(self, config: ModelConfig, *, condition_size: int) -> None:
        super().__init__()
        self.backbone = Backbone(3, condition_size, 3, config.width, config.blocks)

    def forward(self, images: Tensor, source_classes: Tensor, target_classes: Tensor) -> Edit:
        """Args: images B×3×S×S in [-1, 1]; source_classes unused; target_classes one-hot B×K."""
        return Edit(image=torch.tanh(self.backbone(images, target_classes)))
