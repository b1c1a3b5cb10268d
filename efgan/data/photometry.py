"""What light, camera and skin do to a face: random changes that leave its expression as it is.

Networks that learn from rendered faces alone take their smooth skin and even light for granted. These changes, together
wider than those of real photos, make them look at shapes. All of it is our decision.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from efgan.data.faces import FaceSet, to_float, to_uint8

_TURN = 0.10  # radians; crops by detected landmarks are turned, shifted and scaled by less
_SCALE = 0.08
_SHIFT = 0.04  # of the side


def photograph(images: Tensor, *, moved: bool = True) -> Tensor:
    """The same faces as other cameras would take them, another way for each face and call.

    Args:
        images: float, B×3×S×S in [-1, 1].
        moved: also turn, scale and shift them a little, as crops by detected landmarks are.

    Returns:
        float32, B×3×S×S in [-1, 1]. Draws from torch's global generator of the images' device.
    """
    placed = _moved(images.float()) if moved else images.float()
    return _camera(_light(_skin(placed.add(1).div(2).clamp(0, 1)))).clamp(0, 1).mul(2).sub(1)


def photographed(faces: FaceSet, *, seed: int) -> FaceSet:
    """A face set under other light and other cameras, in place: the same for the same seed.

    It stands in for photographs where there are none (paper 4.5 takes AffectNet's).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chunks = [to_uint8(photograph(to_float(chunk), moved=False)) for chunk in faces.images.split(512)]
    return replace(faces, images=torch.cat(chunks))


def _uniform(images: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """One draw per face: B×shape (default B×1×1×1)."""
    shape = shape or (1, 1, 1)
    return low + (high - low) * torch.rand(len(images), *shape, device=images.device)


def _smooth_field(images: Tensor, cells: int, channels: int) -> Tensor:
    """B×channels×S×S standard normal noise with features of about S/cells pixels."""
    coarse = torch.randn(len(images), channels, cells, cells, device=images.device)
    return F.interpolate(coarse, size=images.shape[-1], mode="bicubic", align_corners=False)


def _moved(images: Tensor) -> Tensor:
    """Slightly turned, scaled and shifted; the border is repeated."""
    turn, scale = (_uniform(images, -limit, limit, 1)[:, 0] for limit in (_TURN, _SCALE))
    shift = _uniform(images, -2 * _SHIFT, 2 * _SHIFT, 2)
    cosine, sine = turn.cos() * (1 + scale), turn.sin() * (1 + scale)
    matrix = torch.stack([torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _skin(images: Tensor) -> Tensor:
    """Spots and blotches of two sizes, grey and coloured."""
    size = images.shape[-1]
    fine = _smooth_field(images, size // 3, 1) * _uniform(images, 0, 0.05)
    coarse = _smooth_field(images, size // 10, 3) * _uniform(images, 0, 0.035)
    return images * (1 + fine + coarse)


def _light(images: Tensor) -> Tensor:
    """Light from a side and uneven light, tint, exposure, contrast and saturation."""
    axis = torch.linspace(-1, 1, images.shape[-1], device=images.device)
    across, down = _uniform(images, -0.45, 0.45), _uniform(images, -0.3, 0.3)
    shade = 1 + across * axis[None, None, None, :] + down * axis[None, None, :, None]
    shade = shade * (1 + 0.12 * _smooth_field(images, 4, 1))
    tint = 1 + _uniform(images, -0.14, 0.14, 3, 1, 1)
    lit = (images * shade * tint * _uniform(images, 0.7, 1.35)).clamp(1e-3, 1) ** _uniform(images, 0.65, 1.5)
    grey = lit.mean(1, keepdim=True)
    coloured = grey + (lit - grey) * _uniform(images, 0.2, 1.5)
    middle = coloured.mean((1, 2, 3), keepdim=True)
    return middle + (coloured - middle) * _uniform(images, 0.7, 1.4)


def _camera(images: Tensor) -> Tensor:
    """Blur of up to 1.5 % of the side for half of the faces, then noise."""
    size = images.shape[-1]
    sigma = (_uniform(images, -0.015, 0.015) * size).clamp(min=1e-2)
    axis = torch.arange(-3, 4, device=images.device)
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)  # B×1×1×7
    kernel = (kernel / kernel.sum(-1, keepdim=True)).repeat_interleave(3, 0)
    stacked = F.pad(images, (3, 3, 3, 3), mode="replicate").reshape(1, -1, size + 6, size + 6)
    blurred = F.conv2d(F.conv2d(stacked, kernel, groups=len(kernel)), kernel.transpose(2, 3), groups=len(kernel))
    noise = torch.randn_like(images) * _uniform(images, 0, 0.05)
    return blurred.reshape(images.shape) + noise
