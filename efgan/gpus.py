"""The GPUs that the driver of this machine lists; asking torch would take seconds."""

import os
import shutil
import subprocess
from contextlib import suppress

CHOSEN = "CUDA_VISIBLE_DEVICES"  # environment variable of CUDA: the GPUs that a process may use


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by their names or numbers as in `CUDA_VISIBLE_DEVICES`."""
    if not shutil.which("nvidia-smi"):
        return []
    if (chosen := os.environ.get(CHOSEN)) is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
        return [str(k) for k in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
    return []
