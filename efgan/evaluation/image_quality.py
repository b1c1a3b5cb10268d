"""PSNR and SSIM between edits and real faces, image by image."""

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

MAX_VALUE = 255.0


def compute_psnr(a: Tensor, b: Tensor, *, box: tuple[int, int, int, int] | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image pair.

    Args:
        a: uint8, N×3×H×W.
        b: the same shape.
        box: (top, left, height, width) in pixels: compare inside this box only.

    Returns:
        float64 N, dB; infinite where the images are equal.

    Raises:
        ValueError: the images are not uint8 or differ in shape.

    Source: paper 4.3 (PSNR between the edit and the real face of the same identity and expression); 8-bit
        RGB, MAX 255, no alignment: our decision.

    >>> black = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    >>> round(float(compute_psnr(black, black + 255)), 3)
    0.0
    """
    if a.dtype != torch.uint8 or b.dtype != torch.uint8 or a.shape != b.shape:
        raise ValueError(f"compute_psnr: two uint8 tensors of one shape, not {a.dtype} {tuple(a.shape)} and "
                         f"{b.dtype} {tuple(b.shape)}")  # fmt: skip
    if box is not None:
        top, left, height, width = box
        a, b = (x[..., top : top + height, left : left + width] for x in (a, b))
    error = (a.double() - b.double()).square().mean((1, 2, 3))
    return 10 * torch.log10(MAX_VALUE**2 / error)


def compute_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each image pair (scikit-image, 7×7 windows, mean of the colour channels).

    Args:
        a: uint8, N×3×H×W.
        b: the same shape.

    Returns:
        float64 N, at most 1.
    """
    pairs = zip(a.cpu().permute(0, 2, 3, 1).numpy(), b.cpu().permute(0, 2, 3, 1).numpy(), strict=True)
    values = [structural_similarity(x, y, channel_axis=2, data_range=MAX_VALUE) for x, y in pairs]
    return torch.from_numpy(np.asarray(values, dtype=np.float64))
