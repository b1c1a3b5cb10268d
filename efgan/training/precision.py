"""Which number format the convolutions train in on this device."""

import functools
import time

import torch
from torch import nn


def pick_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(requested: str, device: torch.device) -> str:
    """Resolves "auto" to "bf16" where the device is fast at it, else "fp32".

    On a GPU the capability decides; on a CPU a measurement of under a second does.

    Args:
        requested: "auto", "fp32" or "bf16".
        device: where training runs.
    """
    if requested != "auto":
        return requested
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if measure_bf16_speedup() > 1.2 else "fp32"


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
