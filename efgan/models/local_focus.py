"""The local focuses: where eyes, nose and mouth are cropped, and how the edited patches are stitched."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

REGIONS = ("eyes", "nose", "mouth")
# Height and width in pixels at 128 px; paper 4.1.
_SIZES_AT_128 = {"eyes": (40, 92), "nose": (40, 48), "mouth": (40, 60)}
# iBUG-68 points whose mean is the centre; the paper says "corresponding key points".
_LANDMARKS = {"eyes": range(36, 48), "nose": range(27, 36), "mouth": range(48, 68)}
_BROWS = range(17, 27)
# Weight of the input image beside the windows: patches fade out over their outermost pixels (our decision).
_BACKGROUND_WEIGHT = 0.01


class Box(NamedTuple):
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def compute_focus_boxes(landmarks: Tensor, image_size: int, *, eyes_with_brows: bool = False) -> dict[str, Box]:
    """One fixed box per region, centred on the mean position of its landmarks over all training faces.

    Args:
        landmarks: N×68×2 pixel positions (x, y) of the training faces.
        image_size: S, a multiple of 32; the paper's sizes at 128 px scale with it, rounded to multiples of 4.
        eyes_with_brows: centre the eyes' box on brows and eyes (option; the paper names only eyes).

    Returns:
        Boxes inside the image, by region.

    Source: paper 4.1 (sizes; centre = average position of the key points); rounding is our decision.
    """
    mean = landmarks.double().mean(0)
    boxes = {}
    for region in REGIONS:
        height, width = (4 * round(side * image_size / 128 / 4) for side in _SIZES_AT_128[region])
        points = [*_LANDMARKS[region], *(_BROWS if eyes_with_brows and region == "eyes" else ())]
        x, y = mean[points].mean(0).tolist()
        top = min(max(round(y - height / 2), 0), image_size - height)
        left = min(max(round(x - width / 2), 0), image_size - width)
        boxes[region] = Box(top, left, height, width)
    return boxes


class FocusBoxes(nn.Module):
    """Crops patches and stitches edited ones.

    Overlaps are averaged with raised-cosine windows, outside all boxes the background shows (our decision: the
    paper only says "stitched into a single image according to their respective locations").

    Args:
        boxes: by region; stored with the weights of a run, so that no landmarks are needed later.
        image_size: S in pixels.
    """

    total: Tensor

    def __init__(self, boxes: Mapping[str, Box], image_size: int) -> None:
        super().__init__()
        self.boxes = dict(boxes)
        total = torch.full((image_size, image_size), _BACKGROUND_WEIGHT)
        for region, box in self.boxes.items():
            window = _raised_cosine(box.height)[:, None] * _raised_cosine(box.width)[None, :]
            self.register_buffer(f"window_{region}", window, persistent=False)
            total[box.slices] += window
        self.register_buffer("total", total, persistent=False)

    def crop(self, images: Tensor) -> dict[str, Tensor]:
        """Patches by region, each B×C×h×w, of images B×C×S×S."""
        return {region: images[:, :, *box.slices] for region, box in self.boxes.items()}

    def stitch(self, patches: Mapping[str, Tensor], background: Tensor) -> Tensor:
        """Puts patches back in their places.

        Args:
            patches: by region, B×C×h×w.
            background: B×C×S×S, shown outside the boxes.

        Returns:
            B×C×S×S; stitching the unchanged crops of `background` returns it.
        """
        canvas = _BACKGROUND_WEIGHT * background
        for region, box in self.boxes.items():
            canvas[:, :, *box.slices] += self.get_buffer(f"window_{region}") * patches[region]
        return canvas / self.total


def _raised_cosine(n: int) -> Tensor:
    """n positive weights, highest in the middle."""
    return torch.sin(math.pi * (torch.arange(n) + 0.5) / n) ** 2
