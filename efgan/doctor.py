"""What this machine has, what is missing, and the remedy."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from efgan.errors import UserError
from efgan.gpus import CHOSEN, visible_gpus
from efgan.provenance import PACKAGES, package_version

NEEDED_GB = 5.0  # environment excluded: cache, checkpoints and results of `mini`, with room to spare


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do if something is missing.

    Attributes:
        topic: a word or two.
        text: what was found.
        remedy: what to do; empty if all is well.
        needed: True if `efgan reproduce` cannot run without it.
    """

    topic: str
    text: str
    remedy: str = ""
    needed: bool = False


def examine() -> Iterator[Finding]:
    """Looks at one thing after the other; nothing is downloaded or changed."""
    for look in (_system, _packages, _device, _precision, _inception, _faces, _disk, _tools):
        try:
            yield from look()
        except Exception as error:  # one failing look must not hide the others
            yield Finding(topic=look.__name__.strip("_"), text=f"could not be examined: {error}",
                          remedy="set the environment up again: make clean setup", needed=True)  # fmt: skip


def print_examination() -> bool:
    """Prints every finding; True if nothing needed is missing."""
    well = True
    for finding in examine():
        mark = "ok " if not finding.remedy else "NO " if finding.needed else "?  "
        click.echo(f"{mark} {finding.topic:<12} {finding.text}")
        if finding.remedy:
            click.echo(f"    {'':<12} -> {finding.remedy}")
        well = well and not (finding.needed and finding.remedy)
    click.echo("everything needed is there" if well else "something needed is missing: see NO above")
    return well


def _system() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(topic="system", text=f"{platform.platform()}, {cores} core(s)")
    version = platform.python_version()
    old = tuple(map(int, version.split(".")[:2])) < (3, 11)
    remedy = "install Python 3.11 or newer and run: make clean setup PYTHON=python3.11"
    yield Finding(topic="python", text=version, needed=True, remedy=remedy if old else "")


def _packages() -> Iterator[Finding]:
    found = {name: package_version(name) for name in PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    yield Finding(topic="packages", text=text, needed=True,
                  remedy=f"missing: {', '.join(missing)}; run: make setup" if missing else "")  # fmt: skip


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Finding(
            topic="device", text=f"{torch.cuda.device_count()} GPU(s), {torch.cuda.get_device_name()}, {memory:.0f} GiB"
        )
    elif visible_gpus():
        yield Finding(topic="device", text="a GPU that torch cannot use, so nothing is trained", needed=True,
                      remedy=f"torch {torch.__version__} was built for CUDA {torch.version.cuda}: install its CUDA "
                             f"build or a driver that is new enough, or set {CHOSEN}= to train on the CPU")  # fmt: skip
    else:
        yield Finding(topic="device", text=f"CPU ({torch.get_num_threads()} torch threads); "
                                           "fine for smoke and mini, too slow for paper")  # fmt: skip


def _precision() -> Iterator[Finding]:
    from efgan.training.precision import choose_precision, measure_bf16_speedup, pick_device

    device = pick_device()
    chosen = choose_precision("auto", device)
    measured = (
        f"a convolution is {measure_bf16_speedup():.1f}x as fast in bf16 as in fp32; " if device.type == "cpu" else ""
    )
    yield Finding(topic="precision", text=f"{measured}networks train in {chosen}")


def _inception() -> Iterator[Finding]:
    from efgan.evaluation.features import find_inception_weights

    try:
        path = find_inception_weights()
    except UserError as error:
        yield Finding(topic="Inception", text="the weights named by EFGAN_INCEPTION cannot be used", remedy=str(error))
        return
    if path:
        yield Finding(topic="Inception", text=f"weights of the official FID: {path}")
    else:
        yield Finding(topic="Inception", text="no weights of the official FID; the small presets do not use them",
                      remedy="for the paper preset they are downloaded on first use; without a network set "
                             "EFGAN_INCEPTION to the file weights-inception-2015-12-05-6726825d.pth")  # fmt: skip


def _faces() -> Iterator[Finding]:
    from efgan.data.cache import cache_folder

    folder = cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6 if folder.is_dir() else 0
    text = f"{folder}: {size:.0f} MB of rendered and decoded faces (EFGAN_CACHE moves it)"
    remedy = "" if _writable(folder) else "not writable: point EFGAN_CACHE to a folder that is"
    yield Finding(topic="cache", text=text, remedy=remedy, needed=True)


def _disk() -> Iterator[Finding]:
    from efgan.data.cache import cache_folder

    for name, folder in (("results", Path()), ("cache", cache_folder())):
        free = shutil.disk_usage(_existing(folder)).free / 1e9
        yield Finding(topic="disk", text=f"{free:.0f} GB free for {name}", needed=True,
                      remedy=f"make room: about {NEEDED_GB:.0f} GB are needed" if free < NEEDED_GB else "")  # fmt: skip


def _tools() -> Iterator[Finding]:
    for tool, use in (("git", "recording the commit of every run"), ("make", "the short commands")):
        found = shutil.which(tool)
        yield Finding(topic=tool, text=found or "not found", remedy="" if found else f"install it for {use}")


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return folder if folder.exists() else _existing(folder.parent)


def _writable(folder: Path) -> bool:
    return os.access(_existing(folder), os.W_OK)
