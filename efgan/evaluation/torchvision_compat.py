"""Lets torchvision import beside a CPU-only torch.

The registry's torchvision is linked to CUDA. Beside a CPU build of torch its compiled part cannot load, and
`import torchvision` (which torch-fidelity does) stops at two operators that only that part declares.
Declaring
their schemas is enough: torchvision then works without its compiled operators, a state it supports.
"""

import importlib.util
from pathlib import Path

import torch

_keep_alive: list[torch.library.Library] = []  # the declaration lives as long as its Library object


def ensure_torchvision_importable() -> None:
    """Declares `torchvision::nms` and `qnms` where nothing else can; a no-op with a matching torchvision."""
    spec = importlib.util.find_spec("torchvision")
    has_gpu_build = torch.version.cuda is not None or torch.version.hip is not None
    if _keep_alive or has_gpu_build or spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(str(Path(spec.origin).parent / "_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _keep_alive.append(library)
