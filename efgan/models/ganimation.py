"""GANimation (Pumarola et al. 2018), which is also the paper's Baseline without local focuses."""

from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.branch import Branch, Edit, branch_condition


class GANimation(nn.Module):
    """One global branch with colour and attention.

    GANimation's code keeps the source where its mask is 1; here attention is 1 where the colour is taken, as in
    the paper's eq. (1). The two differ in name only: mask = 1 − attention.
    """

    def __init__(self, config: ModelConfig, *, condition_size: int) -> None:
        super().__init__()
        self.branch = Branch(condition_size, config.width, config.blocks)
        self.relative_aus = config.relative_aus

    def forward(self, images: Tensor, source_aus: Tensor, target_aus: Tensor) -> Edit:
        """Edits B faces.

        Args:
            images: B×3×S×S in [-1, 1].
            source_aus: B×17 in [0, 1], used with `relative_aus` only.
            target_aus: B×17 in [0, 1].
        """
        edit = self.branch(images, branch_condition(source_aus, target_aus, relative=self.relative_aus))
        return Edit(image=edit.image, global_edit=edit)
