"""How far a batch is, how long it still takes: read from its log and its jobs' progress files."""

import re
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click

from efgan.config import find_preset
from efgan.progress import read_progress

_MINI_SECONDS = {"data": 80, "train_start": 390, "train_cascade": 220, "train_single": 330, "controls": 90,
                 "evaluate": 60}  # of one core, as measured once; only for the time left  # fmt: skip
_OVERHEAD_SECONDS = 8.0  # of every notebook


@dataclass(kw_only=True)
class Monitor:
    """What Snakemake's log and the jobs' progress files say, as a few lines.

    On a terminal they are redrawn at every call, elsewhere a line is printed every half minute.

    Attributes:
        log: Snakemake's output.
        jobs: folder of the progress files, one per running job, and of the errors of failed ones.
        preset: its length scales the time left.
        total, done: jobs; total is 0 until Snakemake has said it, and stays 0 when there is nothing to do.
    """

    log: Path
    jobs: Path
    preset: str
    total: int = 0
    done: int = 0
    _start: float = field(default_factory=time.monotonic)
    _planned: Counter[str] = field(default_factory=Counter)
    _finished: Counter[str] = field(default_factory=Counter)
    _drawn: int = 0
    _said: float = float("-inf")

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def show(self, *, last: bool = False) -> None:
        """Draws the state; on the last call only what was said before is cleared."""
        self._read_log()
        lines = self._lines()
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            clear = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            text = "" if last else "".join(f"{line[: width - 1]}\n" for line in lines)
            sys.stdout.write(clear + text)
            sys.stdout.flush()
            self._drawn = 0 if last else len(lines)
        elif self.total and not last and self.elapsed - self._said >= 30.0:
            self._said = self.elapsed
            click.echo(" | ".join(" ".join(line.split()) for line in lines))

    def _read_log(self) -> None:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if not self.total and (
            table := re.search(r"^Job stats:\n(.*?)^total +(\d+)\n", text, re.DOTALL | re.MULTILINE)
        ):
            self._planned.update({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE)})
            self.total = int(table[2]) - self._planned.pop("all", 0)
        finished = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", text, re.MULTILINE)
        self._finished = Counter(rule for rule in finished if rule != "all")
        self.done = self._finished.total()

    def _lines(self) -> list[str]:
        if not self.total:
            return [f"looking what is to be done ... {duration(self.elapsed)}"]
        running = {path.stem: read_progress(path) for path in sorted(self.jobs.glob("*.json"))}
        left = self._seconds_left([p for p in running.values() if p])
        failed = len(list(self.jobs.glob("*.error")))
        head = f"{self.done}/{self.total} jobs  {bar(self.done / self.total)}  {duration(self.elapsed)}"
        head += f", about {duration(left)} left" if left is not None else ""
        return [head + (f", {failed} FAILED" if failed else ""), *(job_line(*job) for job in running.items())]

    def _seconds_left(self, running: list[dict]) -> float | None:
        """From the share of the work that is done; None while that says little."""
        scale = find_preset(self.preset).train.iterations / find_preset("mini").train.iterations

        def work(counts: Counter[str]) -> float:
            return sum(n * (_OVERHEAD_SECONDS + scale * _MINI_SECONDS.get(rule, 0)) for rule, n in counts.items())

        # A bar that runs is part of a job: training is most of it.
        partly = sum(
            fraction(p) * scale * _MINI_SECONDS["train_single"] for p in running if "training " in p["description"]
        )
        share = (work(self._finished) + partly) / work(self._planned)
        return self.elapsed * (1 - share) / share if share > 0.02 and self.elapsed > 20 else None


def job_line(name: str, progress: dict | None) -> str:
    """One running job: its name, what it is doing, how far, how long still."""
    if not progress:
        return f"  {name:<48} starting"
    done, elapsed = progress["done"] - progress.get("initial", 0), progress["elapsed_s"]
    text = f"  {name:<48} {progress['description']:<32}"
    if not progress.get("total"):
        return f"{text} {progress['done']}"
    text += f" {bar(fraction(progress), 12)} {100 * fraction(progress):3.0f} %"
    rest = progress["total"] - progress["done"]
    return text + (f", {duration(elapsed / done * rest)} left" if done and rest else "")


def fraction(progress: dict) -> float:
    """How much of a bar is done, 0 to 1."""
    return progress["done"] / progress["total"] if progress.get("total") else 0.0


def bar(share: float, width: int = 24) -> str:
    """A bar of text."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return f"[{'#' * full}{'-' * (width - full)}]"


def duration(seconds: float) -> str:
    """Seconds for people: "42 s", "3 min 05 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
