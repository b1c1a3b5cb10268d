"""The Expression Transformer: a global branch and three local branches (paper 3.1)."""

from collections.abc import Mapping

from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.branch import Branch, BranchOutput
from efgan.models.local_focus import REGIONS, Box, FocusBoxes


class ExpressionTransformer(nn.Module):
    """Edits the whole face and the patches around eyes, nose and mouth; branches share no weights.

    Args:
        config: widths and blocks.
        condition_size: 17 AUs.
        boxes: the focus boxes by region.
        image_size: S in pixels.
    """

    def __init__(self, config: ModelConfig, *, condition_size: int, boxes: Mapping[str, Box], image_size: int) -> None:
        super().__init__()
        self.focus = FocusBoxes(boxes, image_size)
        self.global_branch = Branch(condition_size, config.width, config.blocks)
        self.local_branches = nn.ModuleDict(
            {region: Branch(condition_size, config.local_width, config.blocks) for region in REGIONS}
        )

    def forward(self, images: Tensor, condition: Tensor) -> tuple[BranchOutput, dict[str, BranchOutput]]:
        """Args: images B×3×S×S in [-1, 1]; condition B×17. Returns the global and the local outputs."""
        patches = self.focus.crop(images)
        local = {region: self.local_branches[region](patches[region], condition) for region in REGIONS}
        return self.global_branch(images, condition), local
