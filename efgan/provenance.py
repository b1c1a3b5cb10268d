"""Where results come from: whole files, hashes, seeds, and the manifest of every run."""

import hashlib
import importlib.metadata
import json
import os
import platform
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

COMMAND = "EFGAN_COMMAND"  # environment variable: the command line a notebook's kernel was started for
PACKAGES = ("efgan", "torch", "torchvision", "torch-fidelity", "numpy", "scipy", "numba", "scikit-learn",
            "scikit-image", "pandas", "matplotlib", "safetensors", "papermill", "snakemake")  # fmt: skip
# What rendered faces and what judges depend on: they are made again when it changes.
RENDERER = ("data/action_units.py", "data/synthetic/*.py", "data/synthetic/head.npz")
JUDGES = ("data/photometry.py", "evaluation/expression_accuracy.py", "evaluation/features.py", "evaluation/judges.py",
          "evaluation/protocol.py", "models/classifiers.py", "training/supervised.py")  # fmt: skip


@contextmanager
def write_atomic(path: Path | str, mode: str = "w", *, sync: bool = True) -> Iterator[IO[Any]]:
    """A file that appears under its name whole or not at all.

    Args:
        path: where the file shall be; its folder is made if needed.
        mode: "w" (UTF-8 text) or "wb".
        sync: force it to the disk first, so that it is whole even if the machine dies.

    Yields:
        A file object under a temporary name in the same folder; renamed at the end, removed on an error.

    Raises:
        ValueError: another mode.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"write_atomic writes whole files, mode 'w' or 'wb', not {mode!r}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_files(patterns: Iterable[str]) -> list[Path]:
    """Files of this package, sorted, each once.

    Args:
        patterns: as of `Path.glob`, relative to the package, e.g. `RENDERER`.
    """
    package = Path(__file__).resolve().parent
    return sorted({path for pattern in patterns for path in package.glob(pattern)})


def code_hash(patterns: Iterable[str]) -> str:
    """SHA-256 of the contents of `package_files`."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in package_files(patterns))).hexdigest()


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's global random numbers (all devices)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # libraries below us draw from the global state
    torch.manual_seed(seed)


def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout this package lies in; None outside a checkout or without git."""
    checkout = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str | None:
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=20)
            return done.stdout.strip() if done.returncode == 0 else None
        return None

    top = git("rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != checkout:  # an installed copy inside somebody else's repository
        return None
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "--verify", "HEAD"), "dirty": bool(status)}


def environment() -> dict[str, Any]:
    """Python, platform, cores, threads, GPU and the versions of the packages that matter."""
    record: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
    }
    if "torch" in sys.modules:  # not imported for its own sake: it takes seconds
        import torch

        record["torch_threads"] = torch.get_num_threads()
        record["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return record


def package_version(name: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


class Manifest:
    """The record of one run, `manifest.json` in its folder: written before it starts and again when it ends.

    `status` says "running", "finished" or "failed"; a run that was killed stays "running".
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self._start = time.monotonic()

    @classmethod
    def start(
        cls, folder: Path | str, *, config: Any = None, data_hash: str | None = None, split_hash: str | None = None,
        device: str | None = None, inputs: Iterable[Path | str] = (), notes: Mapping[str, Any] | None = None,
        name: str = "manifest.json",
    ) -> "Manifest":  # fmt: skip
        """Writes the manifest of a run that is about to start.

        Args:
            folder: the run folder.
            config: the full configuration, a dataclass or a mapping.
            data_hash, split_hash: SHA-256 of the faces and of the split.
            device: "cpu", "cuda:0", …
            inputs: files the run starts from; recorded with their SHA-256.
            notes: anything else worth keeping, as JSON values.
            name: the file's name.
        """
        folder = Path(folder)
        record = {
            "status": "running",
            "command": os.environ.get(COMMAND) or _command_line(),
            "started": _now(),
            "git": git_state(),
            "config": asdict(config) if is_dataclass(config) and not isinstance(config, type) else config,
            "data_hash": data_hash,
            "split_hash": split_hash,
            "device": device,
            "environment": environment(),
            "inputs": _hashes(inputs, folder),
            "notes": dict(notes or {}),
        }
        manifest = cls(folder / name, record)
        manifest._write()
        return manifest

    def __enter__(self) -> "Manifest":
        """Around the work it records: an exception that leaves the block is recorded and goes on."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.fail(error)

    def finish(self, *, outputs: Iterable[Path | str] = (), notes: Mapping[str, Any] | None = None) -> None:
        """Records the end of a good run, with the SHA-256 of its outputs and further notes."""
        self.record["notes"].update(notes or {})
        self.record["outputs"] = _hashes(outputs, self.path.parent)
        self._end("finished")

    def fail(self, error: BaseException) -> None:
        """Records that the run ended with `error`."""
        self.record["error"] = f"{type(error).__name__}: {error}"
        with suppress(OSError):  # a full disk is why it failed, perhaps
            self._end("failed")

    def _end(self, status: str) -> None:
        self.record |= {"status": status, "ended": _now(), "seconds": round(time.monotonic() - self._start, 1)}
        self._write()

    def _write(self) -> None:
        with write_atomic(self.path) as file:
            json.dump(self.record, file, indent=2)
            file.write("\n")


def _hashes(paths: Iterable[Path | str], folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by its path relative to `folder`."""
    return {Path(os.path.relpath(path, folder)).as_posix(): sha256_of(path) for path in paths}


def _command_line() -> str:
    program = Path(sys.argv[0]).name
    return shlex.join(["efgan" if program == "cli.py" else program, *sys.argv[1:]])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
