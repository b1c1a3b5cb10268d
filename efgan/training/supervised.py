"""The short loop that trains the judges (expression classifier, AU estimator) on real training images."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from efgan.data.faces import to_float
from efgan.data.photometry import photograph
from efgan.progress import track

Net = TypeVar("Net", bound=nn.Module)


def augment(images: Tensor, *, shift: int, brightness: float, contrast: float) -> Tensor:
    """Random horizontal flip, whole-pixel shift (edges repeated), brightness and contrast, one draw per
    image.

    Args:
        images: uint8, B×3×S×S.
        shift: largest shift in pixels in both directions.
        brightness: largest change of the mean, in units of the [-1, 1] range.
        contrast: largest relative change of contrast.

    Returns:
        float32 B×3×S×S, about [-1, 1]. Draws from torch's global generator of the images' device.
    """
    b, size, device = len(images), images.shape[-1], images.device
    axis = torch.arange(size, device=device)
    rows, columns = (axis + torch.randint(-shift, shift + 1, (b, 1), device=device) for _ in "yx")
    flip = torch.rand(b, 1, device=device) < 0.5
    columns = torch.where(flip, size - 1 - columns, columns)
    index = torch.arange(b, device=device)[:, None, None]
    rows, columns = rows.clamp(0, size - 1)[:, :, None], columns.clamp(0, size - 1)[:, None, :]
    moved = to_float(images.permute(0, 2, 3, 1)[index, rows, columns].permute(0, 3, 1, 2))
    gain = 1 + contrast * (2 * torch.rand(b, 1, 1, 1, device=device) - 1)
    return moved * gain + brightness * (2 * torch.rand(b, 1, 1, 1, device=device) - 1)


def fit(
    model: nn.Module, images: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], *,
    epochs: float, seed: int, learning_rate: float = 4e-3, batch_size: int = 32, weight_decay: float = 0.05,
    device: torch.device | None = None, description: str = "training", for_photos: bool = False,
) -> list[float]:  # fmt: skip
    """Trains `model` in place with AdamW and a one-cycle learning rate, and leaves it in eval mode.

    The same seed, data and device give the same weights; torch's global random state is left as it was.

    Args:
        model: maps float images in [-1, 1] to what `loss` compares with the targets.
        images: uint8, N×3×S×S.
        targets: N×…, on the same row order.
        loss: mean loss of (outputs, targets).
        epochs: passes over the data; may be a fraction, so that runs on sets of different size can have the
            same number of updates.
        seed: of shuffling, augmentation and dropout.
        device: where to train; the images' by default.
        for_photos: vary light, camera, skin and crop as photos do (`photograph`), instead of brightness, contrast
            and whole-pixel shifts alone.

    Returns:
        the mean loss of each pass.

    Raises:
        FloatingPointError: the loss became NaN or infinite; the message names the update.

    Source: our decision; the paper does not describe its classifier's training.
    """
    device = device or images.device
    images, targets = images.to(device), targets.to(device)
    model.to(device).train()
    per_epoch = math.ceil(len(images) / batch_size)
    updates = max(1, round(epochs * per_epoch))
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: one_cycle((update + 1) / updates))
    shift = max(1, images.shape[-1] // 32)
    history, total = [], torch.zeros((), device=device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        order = torch.empty(0, dtype=torch.int64)
        for update in track(range(updates), total=updates, description=description):
            if update % per_epoch == 0:
                order = torch.randperm(len(images)).to(device)
            rows = order[(update % per_epoch) * batch_size :][:batch_size]
            if len(rows) == 1 and len(images) > 1:  # batch norm needs two
                rows = order[-2:]
            if for_photos:
                batch = photograph(augment(images[rows], shift=0, brightness=0.0, contrast=0.0))
            else:
                batch = augment(images[rows], shift=shift, brightness=0.15, contrast=0.2)
            value = loss(model(batch), targets[rows])
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            schedule.step()
            total += value.detach()
            if (update + 1) % per_epoch == 0 or update + 1 == updates:
                history.append(_check_finite(total.item() / (update % per_epoch + 1), update, description))
                total.zero_()
    model.eval()
    return history


def one_cycle(done: float) -> float:
    """Relative learning rate when a fraction `done` of the updates is made: up over the first fifth, then cosine."""
    return done / 0.2 if done < 0.2 else 0.5 * (1 + math.cos(math.pi * min(1.0, (done - 0.2) / 0.8)))


def _check_finite(value: float, update: int, description: str) -> float:
    if not math.isfinite(value):
        raise FloatingPointError(f"{description}: the loss is {value} by update {update}; lower the learning rate")
    return value


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch_size: int = 128) -> Tensor:
    """The model's outputs for uint8 images N×3×S×S, in eval mode, on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    return torch.cat([model(to_float(batch.to(device))).float().cpu() for batch in images.split(batch_size)])


def load_net(net: Net, path: Path, device: torch.device) -> Net:
    """Reads weights into a network, frozen and in eval mode on the device.

    Raises:
        FileNotFoundError: there is no such file. SafetensorError, RuntimeError: it is damaged or of another network.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "missing", str(path))
    net.load_state_dict(load_file(path))
    return net.to(device).eval().requires_grad_(False)


def smoothed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with 5 % label smoothing: the classifier's loss (our decision)."""
    return F.cross_entropy(logits, labels, label_smoothing=0.05)
