"""What the branches of a model did to one face, stage by stage, as pictures and maps."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efgan.editing.pictures import to_array
from efgan.editing.session import Edited
from efgan.errors import UserError
from efgan.models.branch import Edit
from efgan.models.local_focus import Box, FocusBoxes


@dataclass(frozen=True, kw_only=True)
class StageMaps:
    """One stage: pictures are uint8 S×S×3, maps float32 S×S.

    Attributes:
        before: the stage's input.
        global_image, global_colour: initial output of eq. (1) and colour map of the global branch.
        global_attention: in [0, 1], 1 = edited.
        local_image, local_colour, local_attention: the same of the local branches, stitched; None without them.
        refiner_change: how far the Refiner corrected what it starts from, in [0, 1]; None without one.
        after: the stage's output.
    """

    before: np.ndarray
    global_image: np.ndarray
    global_colour: np.ndarray
    global_attention: np.ndarray
    local_image: np.ndarray | None = None
    local_colour: np.ndarray | None = None
    local_attention: np.ndarray | None = None
    refiner_change: np.ndarray | None = None
    after: np.ndarray

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Pictures and maps by heading, from input to output; what the method lacks is left out."""
        found = {
            "input": self.before, "global: initial output": self.global_image, "global: colour": self.global_colour,
            "global: attention": self.global_attention, "local: initial outputs": self.local_image,
            "local: colours": self.local_colour, "local: attentions": self.local_attention,
            "Refiner's change": self.refiner_change, "output": self.after,
        }  # fmt: skip
        return {heading: picture for heading, picture in found.items() if picture is not None}


def stage_maps(edited: Edited, boxes: Mapping[str, Box]) -> list[StageMaps]:
    """Every stage of an edit; one for single-stage methods.

    Args:
        edited: see `EditSession.edited`.
        boxes: the editor's `focus_boxes`.

    Raises:
        UserError: StarGAN, which has no attention.
    """
    focus = FocusBoxes(boxes, edited.face.image.shape[0])
    found = []
    before = edited.face.image
    for step in edited.steps:
        found.append(_maps(step, before, focus))
        before = found[-1].after
    return found


def _maps(step: Edit, before: np.ndarray, focus: FocusBoxes) -> StageMaps:
    if step.global_edit is None:
        raise UserError("StarGAN has no attention to look at: choose another method")
    after = to_array(step.image[0])
    whole = step.global_edit
    parts: dict[str, np.ndarray] = {}
    if step.stitched is not None and step.stitched_attention is not None and step.refiner_start is not None:
        colours = {region: branch.colour for region, branch in step.local_edits.items()}
        stitched_colour = focus.stitch(colours, torch.zeros_like(step.image))
        parts = {
            "local_image": to_array(step.stitched[0]), "local_colour": to_array(stitched_colour[0]),
            "local_attention": _map(step.stitched_attention),
            "refiner_change": _map((step.image - step.refiner_start).abs().mean(1, keepdim=True) / 2),
        }  # fmt: skip
    return StageMaps(before=before, global_image=to_array(whole.image[0]), global_colour=to_array(whole.colour[0]),
                     global_attention=_map(whole.attention), after=after, **parts)  # fmt: skip


def attention_mass(attention: Tensor, boxes: Mapping[str, Box]) -> dict[str, float]:
    """Which share of the attention falls into each focus box.

    Args:
        attention: S×S or N×S×S, not negative.
        boxes: by region. They overlap a little, and what lies in two boxes counts in both.

    Returns:
        Shares in [0, 1] by region, and "elsewhere": outside all boxes.

    >>> attention_mass(torch.ones(4, 4), {"eyes": Box(0, 0, 2, 4)})
    {'eyes': 0.5, 'elsewhere': 0.5}
    """
    total = float(attention.sum()) or 1.0
    outside = torch.ones(attention.shape[-2:], dtype=torch.bool)
    shares = {}
    for region, box in boxes.items():
        shares[region] = float(attention[..., *box.slices].sum()) / total
        outside[box.slices] = False
    return {**shares, "elsewhere": float(attention[..., outside].sum()) / total}


def colour_limit(maps: list[np.ndarray]) -> float:
    """The value drawn brightest, so that several maps share one scale: the next fifth above nearly all values."""
    highest = max((float(np.quantile(values, 0.999)) for values in maps), default=1.0)
    return min(1.0, max(0.2, float(np.ceil(highest * 5) / 5)))


def _map(values: Tensor) -> np.ndarray:
    return values[0, 0].numpy()
