"""Faces on disk: small files that are made once per machine, in parallel, and mended when damaged.

Rendered and decoded faces use it alike. An interrupted work goes on where it stopped.
"""

import errno
import os
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from efgan.errors import UserError
from efgan.progress import track
from efgan.provenance import write_atomic

IN_PROCESS = 48  # so few missing faces are made without starting worker processes
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Shard(Protocol):
    """One cache file."""

    def path(self) -> Path:
        """Where the file lies."""

    def __len__(self) -> int:
        """Number of faces."""

    def make(self) -> dict[str, Any]:
        """Makes the arrays, one row per face, in this or another process."""

    def check(self, arrays: dict[str, Any]) -> None:
        """Raises ValueError or KeyError where arrays that were read back are not what `make` makes."""


def cache_folder() -> Path:
    """`EFGAN_CACHE`, or efgan's folder in the user's cache directory."""
    if folder := os.environ.get("EFGAN_CACHE"):
        return Path(folder)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "efgan"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "efgan"


def load_shards(shards: Sequence[Shard], *, description: str, jobs: int | None = None) -> list[dict[str, Any]]:
    """The arrays of every shard; those that are missing or damaged are made first.

    Args:
        shards: what is wanted.
        description: what the progress bar says, e.g. "rendering synthetic_rafd".
        jobs: worker processes; None = one per core.

    Raises:
        UserError: the cache cannot be written or read back.
    """
    read = [_read(shard) for shard in shards]
    if missing := [shard for shard, arrays in zip(shards, read, strict=True) if arrays is None]:
        _make_missing(missing, jobs or _cores(), description)
    arrays = [found if found is not None else _read(shard) for shard, found in zip(shards, read, strict=True)]
    for shard, found in zip(shards, arrays, strict=True):
        if found is None:
            raise UserError(f"faces cannot be read back from {shard.path()}; check the disk or set EFGAN_CACHE")
    return [found for found in arrays if found is not None]


def _read(shard: Shard) -> dict[str, Any] | None:
    """The shard's arrays; None when it is missing, or broken (which is said and mended)."""
    path = shard.path()
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        shard.check(arrays)
    except FileNotFoundError:
        return None
    except _BROKEN:
        warnings.warn(f"cached faces {path} are damaged and are made again", stacklevel=3)
        return None
    return arrays


def _write(shard: Shard) -> int:
    """Makes a shard's file; returns its number of faces."""
    arrays = shard.make()
    path = shard.path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomic(path, "wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise UserError(
                f"cannot write faces to {path.parent}: {error.strerror}; "
                "make room there or point EFGAN_CACHE to another folder"
            ) from error
        raise
    return len(shard)


def _make_missing(missing: Sequence[Shard], jobs: int, description: str) -> None:
    total = sum(len(shard) for shard in missing)
    # The first is made here: for rendered faces it fills numba's on-disk cache before the workers start.
    first, *rest = missing
    with_pool = jobs > 1 and total > IN_PROCESS and rest

    def counts() -> Iterator[int]:
        yield _write(first)
        if not with_pool:
            yield from map(_write, rest)
            return
        with ProcessPoolExecutor(min(jobs, len(rest)), mp_context=get_context("spawn")) as pool:
            try:
                with _no_main_module():
                    futures = [pool.submit(_write, shard) for shard in rest]
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def faces() -> Iterator[None]:
        for count in counts():
            yield from (None for _ in range(count))

    for _ in track(faces(), total=total, description=description):
        pass


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keeps worker processes from importing the caller's script: they need nothing of it, and it may have no guard."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
