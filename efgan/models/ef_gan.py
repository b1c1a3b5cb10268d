"""EF-GAN = Expression Transformer + Refiner (paper 3.1)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from efgan.config import ModelConfig
from efgan.models.branch import Edit, branch_condition
from efgan.models.expression_transformer import ExpressionTransformer
from efgan.models.local_focus import Box
from efgan.models.refiner import Refiner


class EFGAN(nn.Module):
    """The single-stage generator with local focuses ("Baseline + Local Focuses")."""

    def __init__(self, config: ModelConfig, *, condition_size: int, boxes: Mapping[str, Box], image_size: int) -> None:
        super().__init__()
        self.transformer = ExpressionTransformer(
            config, condition_size=condition_size, boxes=boxes, image_size=image_size
        )
        self.refiner = Refiner(config)
        self.relative_aus = config.relative_aus

    def forward(self, images: Tensor, source_aus: Tensor, target_aus: Tensor) -> Edit:
        """Edits B faces.

        Args:
            images: B×3×S×S in [-1, 1].
            source_aus: B×17 in [0, 1], used with `relative_aus` only.
            target_aus: B×17 in [0, 1].
        """
        condition = branch_condition(source_aus, target_aus, relative=self.relative_aus)
        global_edit, local_edits = self.transformer(images, condition)
        focus = self.transformer.focus
        stitched = focus.stitch({region: edit.image for region, edit in local_edits.items()}, images)
        attention = focus.stitch(
            {region: edit.attention for region, edit in local_edits.items()}, torch.zeros_like(global_edit.attention)
        )
        image, start = self.refiner(images, stitched, global_edit.image, attention, global_edit.attention)
        return Edit(
            image=image, global_edit=global_edit, local_edits=local_edits, stitched=stitched,
            stitched_attention=attention, refiner_start=start,
        )  # fmt: skip
