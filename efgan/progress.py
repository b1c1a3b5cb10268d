"""Progress bars that a person can read, and progress files that a batch can."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from efgan.provenance import write_atomic

T = TypeVar("T")

PROGRESS_FILE = "EFGAN_PROGRESS_FILE"  # environment variable, set by the notebook runner


def track(iterable: Iterable[T], *, total: int | None = None, initial: int = 0, description: str) -> Iterator[T]:
    """Passes the items of `iterable` on and shows how far it is.

    A bar is drawn on the terminal or in the notebook. Under a batch, where `EFGAN_PROGRESS_FILE` names a file, no
    bar is drawn; instead that file says at most once a second how far it is, and `efgan reproduce` shows all
    running jobs together.

    Args:
        iterable: what to go through.
        total: number of items, those done before included; by default the iterable's length, if it has one.
        initial: items done before, by a run that this one resumes.
        description: what is going on, e.g. "training local_focus".

    Returns:
        The same items.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if path := os.environ.get(PROGRESS_FILE):
        return _file(iterable, total, initial, description, Path(path))
    return _bar(iterable, total, initial, description)


def _bar(iterable: Iterable[T], total: int | None, initial: int, description: str) -> Iterator[T]:
    from tqdm.auto import tqdm

    # A log file gets a line now and then, not ten a second.
    interval = 0.2 if sys.stderr.isatty() or "ipykernel" in sys.modules else 30.0
    yield from tqdm(iterable, total=total, initial=initial, desc=description, mininterval=interval, dynamic_ncols=True)


def _file(iterable: Iterable[T], total: int | None, initial: int, description: str, path: Path) -> Iterator[T]:
    start = written = time.monotonic()
    done = initial

    def write() -> None:
        record = {"description": description, "done": done, "total": total, "initial": initial,
                  "elapsed_s": round(time.monotonic() - start, 2)}  # fmt: skip
        with suppress(OSError), write_atomic(path, sync=False) as file:  # telling must never stop the work itself
            json.dump(record, file)

    write()
    for item in iterable:
        yield item
        done += 1
        if (now := time.monotonic()) - written >= 1.0:
            write()
            written = now
    write()


def read_progress(path: Path) -> dict[str, Any] | None:
    """What a progress file says: description, done, total, initial, elapsed_s; None if it is gone or unreadable."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"description", "done", "elapsed_s"} <= record.keys() else None
