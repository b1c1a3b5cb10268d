"""Which number format the convolutions train in on this device."""

import functools
import time

import torch
from torch import nn

from efgan.errors import UserError
from efgan.gpus import CHOSEN, visible_gpus


def pick_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def require_usable_gpu() -> None:
    """Nothing, or an error where a training would spend days on the CPU of a machine with a GPU.

    Raises:
        UserError: the driver lists a GPU, and torch cannot use it.
    """
    if not torch.cuda.is_available() and (gpus := visible_gpus()):
        raise UserError(f"torch {torch.__version__} cannot use the {len(gpus)} GPU(s) that nvidia-smi lists: `efgan "
                        f"doctor` says what to install; to train on the CPU all the same, set {CHOSEN}=")  # fmt: skip


def choose_precision(requested: str, device: torch.device) -> str:
    """Resolves "auto" to "bf16" where the device trains faster in it, else "fp32".

    On a CPU a measurement of under a second decides. On a GPU it is "fp32", whose convolutions torch computes as
    TF32 where the GPU can: on an H200 bf16 made EF-GAN slower and needed more memory (README, How long on a GPU).

    Args:
        requested: "auto", "fp32" or "bf16".
        device: where training runs.
    """
    if requested != "auto":
        return requested
    return "bf16" if device.type == "cpu" and measure_bf16_speedup() > 1.2 else "fp32"


@functools.cache
def measure_bf16_speedup() -> float:
    """How many times faster a convolution's forward and backward pass is in bf16 than in fp32, on this CPU."""
    conv = nn.Conv2d(64, 64, 3, padding=1)
    x = torch.randn(16, 64, 16, 16)

    def seconds(enabled: bool) -> float:
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(3):
                with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                    conv(x).sum().backward()
            best = min(best, time.perf_counter() - start)
        return best

    return seconds(False) / seconds(True)
