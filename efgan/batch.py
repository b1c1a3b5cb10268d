"""Runs the whole batch through Snakemake and shows how far it is."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

from efgan.config import SPLITS, find_preset
from efgan.errors import UserError
from efgan.experiments import EXPERIMENTS, datasets_of, real_folder, role_of, run_folder
from efgan.gpus import visible_gpus
from efgan.monitor import Monitor, duration
from efgan.runner import GPUS, SUPERVISOR

SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"
CLUSTER_THREADS = 4  # of a job on a cluster; a profile's `set-threads` says otherwise
CANCEL_SECONDS = 120  # for a cluster to take back what waits or runs there
JOBS = ".jobs"  # folder of the progress files, one per running job


class BatchError(Exception):
    """A job of the batch failed; all others that could run have run."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What `efgan reproduce` is asked for.

    Attributes:
        root: folder that gets results/ and figures/.
        preset: a preset's name.
        family: "synthetic" or "real".
        seeds: number of seeds, from 0.
        jobs: notebooks at a time; None for what suits the machine.
        split, data_root: see `DataConfig`; None for the defaults.
        profile: a Snakemake profile folder, e.g. workflow/profiles/slurm; None to run here.

    Raises:
        UserError: an unknown name, a number out of range, or a licensed set that is not under `data_root`.
    """

    root: Path
    preset: str = "mini"
    family: str = "synthetic"
    seeds: int = 1
    jobs: int | None = None
    split: str | None = None
    data_root: str | None = None
    profile: Path | None = None

    def __post_init__(self) -> None:
        find_preset(self.preset)
        datasets_of(self.family)
        for name, value in (("seeds", self.seeds), ("jobs", self.jobs)):
            if value is not None and value < 1:
                raise UserError(f"{name} = {value} is not accepted: 1 or more")
        for dataset in datasets_of(self.family) if self.family == "real" else ():
            real_folder(self.data_root, dataset)
        if self.split is not None and self.split not in SPLITS:
            raise UserError(f"unknown split {self.split!r}: choose one of {', '.join(SPLITS)}")
        if not SNAKEFILE.is_file():
            raise UserError(f"{SNAKEFILE} is missing: run efgan from a checkout, installed with `make`")

    @property
    def folder(self) -> Path:
        """results/<family>/<preset>."""
        return self.root / "results" / self.family / self.preset

    @property
    def report(self) -> Path:
        """The page with everything."""
        return self.folder / "report.html"

    @property
    def parallel(self) -> tuple[int, int]:
        """Jobs at a time on this machine, and CPU threads of each."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        gpus = len(visible_gpus())
        jobs = self.jobs or (gpus if gpus and self.preset == "paper" else min(cores, 4 if gpus else 8))
        return jobs, max(1, cores // jobs)

    def command(self, *extra: str) -> list[str]:
        """The Snakemake call."""
        jobs, threads = self.parallel
        cores, where = jobs * threads, ["--cores", str(jobs * threads)]
        if self.profile:  # this machine's cores are not the nodes'
            cores = threads = CLUSTER_THREADS
            where = ["--profile", str(self.profile), *(["--jobs", str(self.jobs)] if self.jobs else [])]
        config = {"family": self.family, "preset": self.preset, "seeds": self.seeds, "threads": threads,
                  "cores": cores, "split": self.split, "data_root": self.data_root}  # fmt: skip
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(self.root), *where,
            # We hold our own lock; Snakemake's is left behind when the machine dies.
            "--nolock", "--rerun-incomplete", "--keep-going", "--scheduler", "greedy",
            "--rerun-triggers", "mtime", "params", "input", "--max-checksum-file-size", "100MB", *extra,
            "--config", *(f"{name}={value}" for name, value in config.items() if value is not None),
        ]  # fmt: skip


def reproduce(batch: Batch, *, redraw: bool = False) -> Path:
    """Runs everything that is not done yet: data, training, evaluation, exhibits, report.

    Args:
        batch: what to run.
        redraw: draw all exhibits again, even those that are up to date.

    Returns:
        The report.

    Raises:
        UserError: another batch runs in the same folder, it cannot be written, or the official Inception-v3 weights
            that the preset needs are not there and cannot be downloaded.
        BatchError: a job failed; the message names it, its error and the log.
        KeyboardInterrupt: stopped by the user; all children have ended.
    """
    if find_preset(batch.preset).evaluation.extractor == "inception-v3":  # hours before the first evaluation
        from efgan.evaluation.features import inception_weights

        inception_weights()
    with _only_one(batch.folder):
        _forget_lost_runs(batch)
        shutil.rmtree(batch.folder / JOBS, ignore_errors=True)
        log, previous = batch.folder / "reproduce.log", batch.folder / "reproduce.previous.log"
        if log.exists():
            log.replace(previous)
        extra = ["--forcerun", "figure", "table", "claims", "report"] if redraw else []
        with log.open("w", encoding="utf-8") as file, _snakemake(batch.command(*extra), batch, file) as process:
            monitor = Monitor(log=log, jobs=batch.folder / JOBS, preset=batch.preset)
            while process.poll() is None:
                monitor.show()
                time.sleep(0.5)
            monitor.show(last=True)
        failures = {path.stem: path.read_text() for path in sorted((batch.folder / JOBS).glob("*.error"))}
        if process.returncode or failures:
            raise BatchError(_explain(failures, log))
        shutil.rmtree(batch.folder / JOBS, ignore_errors=True)
        if not monitor.total and previous.exists():
            previous.replace(log)  # the log of a run that did something is worth more
        click.echo(f"done in {duration(monitor.elapsed)}" if monitor.total else "nothing to do")
    return batch.report


@contextlib.contextmanager
def _snakemake(command: list[str], batch: Batch, log) -> Iterator[subprocess.Popen]:
    """Snakemake as a child in a group of its own; it and all below it end with the block."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", SUPERVISOR: str(os.getpid())}
    if not batch.profile:
        environment[GPUS] = ",".join(visible_gpus())
        environment |= {f"{library}_NUM_THREADS": str(batch.parallel[1]) for library in ("OMP", "MKL", "OPENBLAS")}
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               env=environment, start_new_session=True,
                               preexec_fn=_cancel_with_parent if batch.profile else _die_with_parent)  # fmt: skip
    try:
        yield process
    finally:
        try:
            if batch.profile and process.poll() is None:  # interrupted, Snakemake cancels its jobs on the cluster
                click.echo(f"\ncancelling the jobs on the cluster (up to {CANCEL_SECONDS} s) ...", err=True)
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(CANCEL_SECONDS)
        finally:  # also where somebody is impatient
            _end_tree(process)
            signal.signal(signal.SIGTERM, before)


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _die_with_parent(how: int = signal.SIGKILL) -> None:
    """On Linux: the kernel ends this child when `efgan reproduce` dies, so that it starts no further job."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)


def _cancel_with_parent() -> None:
    """The same, as by Ctrl-C, which this child heeds even where its parent was told not to (nohup, &)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _die_with_parent(signal.SIGINT)


def _end_tree(process: subprocess.Popen) -> None:
    """Ends a process and all its descendants; every file of ours is written whole, so no grace is needed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(family, timeout=10)
    process.wait()


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Holds a lock on the results folder; freed by the system even when we are killed."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows itself
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --root or make room") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another `efgan reproduce` is at work in {folder}: wait for it or stop it first") from None
        yield


def _forget_lost_runs(batch: Batch) -> None:
    """Trains again where somebody deleted the weights but left the notebook that says they are there."""
    for dataset in datasets_of(batch.family):
        for experiment in EXPERIMENTS.values():
            for seed in range(batch.seeds) if role_of(dataset) in experiment.roles else ():
                folder = run_folder(batch.root, batch.preset, dataset, experiment.name, seed)
                if experiment.trains and not (folder / "weights.safetensors").exists():
                    (folder / "train.ipynb").unlink(missing_ok=True)


def _explain(failures: dict[str, str], log: Path) -> str:
    """Which jobs failed and why, one line each, and what to do."""
    lines = [f"{name} failed: {' '.join(text.split())}" for name, text in failures.items()]
    if not lines:  # Snakemake itself failed, or a job was killed before it could say why
        text = log.read_text(encoding="utf-8", errors="replace")
        rule = re.search(r"^Error in rule (\w+):", text, re.MULTILINE)
        end = re.search(r"^Command '.*' ((?:died|returned) .*)$", text, re.MULTILINE)
        errors = re.findall(r"^.*(?:Error|Exception|error:|No space left).*[^:\n]$", text, re.MULTILINE)
        where = f" in rule {rule[1]}" if rule else ""
        lines = [f"the batch failed{where}: {end[1] if end else errors[0].strip() if errors else 'no reason given'}"]
    return "\n".join([*lines, f"log: {log}; when mended, run the same command to go on"])
