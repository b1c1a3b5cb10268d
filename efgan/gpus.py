"""The GPUs that the driver of this machine lists; asking torch would take seconds."""

import os
import subprocess
from contextlib import suppress

CHOSEN = "CUDA_VISIBLE_DEVICES"  # environment variable of CUDA: the GPUs that a process may use


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by their names or numbers as in `CUDA_VISIBLE_DEVICES`."""
    listed = ""
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    there = [str(k) for k in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
    chosen = os.environ.get(CHOSEN)
    if chosen is None or not there:
        return there
    return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
