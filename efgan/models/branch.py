"""One generator branch: colour, attention and their blend, eq. (1). Attention 1 = edit."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from efgan.models.layers import Backbone


class BranchOutput(NamedTuple):
    """What a branch gives for a batch of B images or patches of H×W pixels.

    Attributes:
        image: I_init of eq. (1), B×3×H×W in [-1, 1].
        colour: M_C, B×3×H×W in [-1, 1].
        attention: M_A, B×1×H×W in [0, 1]; 1 = take the colour.
    """

    image: Tensor
    colour: Tensor
    attention: Tensor


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The result of one edit of B faces, with everything worth looking at.

    Of a cascade, branches and what is made of them are those of its stages, in `stages`.

    Attributes:
        image: the edited faces, B×3×S×S in [-1, 1].
        global_edit: the global branch; None for StarGAN.
        local_edits: the local branches by region name; empty without local focuses.
        stitched: the local outputs in their places over the input, B×3×S×S.
        stitched_attention: the local attentions in their places over 0, B×1×S×S.
        refiner_start: what the Refiner's correction is added to, B×3×S×S.
        stages: one `Edit` per stage of a cascade, empty otherwise; the last one's image is `image`.
        stage_aus: B×N×17, the AUs each stage aims at.
    """

    image: Tensor
    global_edit: BranchOutput | None = None
    local_edits: dict[str, BranchOutput] = field(default_factory=dict)
    stitched: Tensor | None = None
    stitched_attention: Tensor | None = None
    refiner_start: Tensor | None = None
    stages: tuple["Edit", ...] = ()
    stage_aus: Tensor | None = None

    @property
    def branches(self) -> dict[str, BranchOutput]:
        """What the branches of one stage gave, by name: "global" and the regions; none for StarGAN."""
        return {} if self.global_edit is None else {"global": self.global_edit, **self.local_edits}

    @property
    def attentions(self) -> dict[str, Tensor]:
        """Attention maps by branch: "global" and the regions; in a cascade "stage_1.global" and so on."""
        if self.stages:
            return {
                f"stage_{k}.{name}": attention
                for k, stage in enumerate(self.stages, start=1)
                for name, attention in stage.attentions.items()
            }
        return {name: branch.attention for name, branch in self.branches.items()}

    @property
    def strongest_attention(self) -> dict[str, Tensor]:
        """Attention of the branches "global" and "local" (stitched), B×S×S: at each pixel the largest of all stages.

        Of a cascade this is where the whole of it edits (our decision, as in Figure 3).
        """
        steps = self.stages or (self,)
        found = {
            "global": [step.global_edit.attention for step in steps if step.global_edit is not None],
            "local": [step.stitched_attention for step in steps if step.stitched_attention is not None],
        }
        return {name: torch.stack(maps).amax(0)[:, 0] for name, maps in found.items() if maps}


def blend(images: Tensor, colour: Tensor, attention: Tensor) -> Tensor:
    """Eq. (1): I_init = M_A ⊗ M_C + (1 − M_A) ⊗ I_in.

    >>> x, c = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    >>> blend(x, c, torch.ones(1, 1, 2, 2)).mean().item()
    1.0
    """
    return attention * colour + (1 - attention) * images


def branch_condition(source_aus: Tensor, target_aus: Tensor, *, relative: bool) -> Tensor:
    """What branches are given beside the image, B×17: the change (`relative_aus`), or the target as published."""
    return target_aus - source_aus if relative else target_aus


class Branch(nn.Module):
    """A backbone with a colour head (tanh) and an attention head (sigmoid); one convolution serves both.

    Args:
        condition_size: length of the condition vector (17 AUs).
        width, blocks: see `Backbone`.

    Source: paper 3.1, eq. (1); layers after GANimation (our decision).
    """

    def __init__(self, condition_size: int, width: int, blocks: int) -> None:
        super().__init__()
        self.backbone = Backbone(3, condition_size, 4, width, blocks)

    def forward(self, images: Tensor, condition: Tensor) -> BranchOutput:
        """Args: images B×3×H×W in [-1, 1]; condition B×K."""
        features = self.backbone(images, condition)
        colour, attention = torch.tanh(features[:, :3]), torch.sigmoid(features[:, 3:])
        return BranchOutput(blend(images, colour, attention), colour, attention)
