"""Compares two sets of results, exhibit by exhibit: do they agree within stated tolerances?"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from efgan.errors import UserError
from efgan.experiments import EXPERIMENTS, role_of
from efgan.paper import EXHIBITS, Exhibit

# Number of metrics.json → (name, absolute tolerance, tolerance as a part of the larger value). Our decision: about
# twice what two seeds of `mini` differ by.
TOLERANCES: dict[str, tuple[str, float, float]] = {
    "accuracy_R": ("R", 0.05, 0.0), "accuracy_G": ("G", 0.10, 0.0), "accuracy_RG": ("R+G", 0.05, 0.0),
    "psnr": ("PSNR", 1.0, 0.0), "fd": ("FD", 0.0, 0.25),
}  # fmt: skip
_Numbers = dict[tuple[str, str], dict[str, float]]  # (dataset, experiment) → metric → mean over seeds


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number of one run on both sides; None where a side lacks the number."""

    what: str
    first: float | None
    second: float | None
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Both sides have it, no further apart than the tolerance."""
        if self.first is None or self.second is None:
            return False
        return abs(self.first - self.second) <= self.tolerance

    def __str__(self) -> str:
        first, second = ("missing" if value is None else f"{value:.4g}" for value in (self.first, self.second))
        return f"{self.what}: {first} against {second}, tolerance {self.tolerance:.3g}"


def same_preset(first: Path, second: Path) -> tuple[Path, Path]:
    """Both folders; of one that holds runs of several presets, the part with the preset that the other has.

    Args:
        first, second: as for `compare_results`, or results/reference with all that is shipped.
    """
    sides = [_batches(folder.resolve()) for folder in (first, second)]
    common = sides[0].keys() & sides[1].keys()
    if len(common) != 1:
        return first, second
    (batch,) = common
    ours, theirs = (side[batch] if len(side) > 1 else folder
                    for folder, side in zip((first, second), sides, strict=True))  # fmt: skip
    return ours, theirs


def _batches(folder: Path) -> dict[tuple[str, ...], Path]:
    """The folders <family>/<preset> that the evaluated runs of a folder lie in, by these two names."""
    runs = (path.parent for path in folder.glob("**/seed*/metrics.json") if len(path.parents) > 5)
    return {run.parts[-5:-3]: run.parents[2] for run in runs}


def compare_results(first: Path, second: Path) -> dict[str, list[Difference]]:
    """Compares the records behind every exhibit.

    Args:
        first, second: folders that hold the runs of one preset at any depth, e.g. results/<family>/<preset>; of
            several, `same_preset` finds it. Seeds are averaged.

    Returns:
        The differences by exhibit. Datasets that only one side has are left out, and exhibits without any other;
        distances by different extractors are different numbers, each missing on one side.

    Raises:
        UserError: a folder holds no run, runs of several presets or a damaged record; no dataset in common.
    """
    ours, theirs = read_numbers(first.resolve()), read_numbers(second.resolve())
    common = {dataset for dataset, _ in ours} & {dataset for dataset, _ in theirs}
    if not common:
        raise UserError(f"{first} and {second} have no dataset in common")
    ours, theirs = ({run: numbers for run, numbers in side.items() if run[0] in common} for side in (ours, theirs))
    compared = {name: _differences(exhibit, ours, theirs) for name, exhibit in EXHIBITS.items()}
    return {name: differences for name, differences in compared.items() if differences}


def differing_settings(first: Path, second: Path) -> list[str]:
    """Which settings the runs that both sides have do not share: numbers may then differ for that reason.

    Args:
        first, second: as for `compare_results`.

    Returns:
        One line per setting and pair of values, "train.iterations: 700 against 3000 (8 runs)"; runs without
        config.json and where photos lie do not count.

    Raises:
        UserError: a damaged config.json.
    """
    ours, theirs = ({path.parts[-4:]: _settings(path) for path in folder.resolve().glob("**/seed*/config.json")}
                    for folder in (first, second))  # fmt: skip
    found = Counter(
        f"{key}: {ours[run].get(key)} against {theirs[run].get(key)}"
        for run in ours.keys() & theirs.keys()
        for key in {**ours[run], **theirs[run]}
        if ours[run].get(key) != theirs[run].get(key)
    )
    return [f"{line} ({count} runs)" for line, count in sorted(found.items())]


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}") from error


def _settings(path: Path) -> dict[str, Any]:
    """A run's settings by dotted name, e.g. "train.loss.lambda_cont"."""
    record = _read(path, "delete it and train that run again")
    record["data"].pop("data_root", None)
    return dict(pd.json_normalize(record).to_dict("records")[0])


def read_numbers(folder: Path) -> _Numbers:
    """The compared numbers of all runs below a folder, averaged over seeds. Raises as `compare_results`."""
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    presets = set()
    for path in sorted(folder.glob("**/seed*/metrics.json")):
        preset, dataset, experiment = path.parts[-5:-2] if len(path.parts) >= 5 else ("", "", "")
        if path.parent.name.count(".") or experiment not in EXPERIMENTS:  # a run that was set aside
            continue
        presets.add(preset)
        metrics = _read(path, "evaluate that run again")
        numbers = {key: metrics[key] for key in TOLERANCES if metrics.get(key) is not None}
        if "fd" in numbers:  # distances in other features are other numbers
            numbers[f"fd {metrics.get('fd_extractor', '')}"] = numbers.pop("fd")
        found[dataset, experiment].append(numbers)
    if not found:
        raise UserError(f"{folder} holds no evaluated run: give a folder like results/synthetic/mini")
    if len(presets) > 1:
        raise UserError(f"{folder} holds runs of several presets ({', '.join(sorted(presets))}): give one of them")
    averaged: _Numbers = {}
    for run, seeds in found.items():
        keys = dict.fromkeys(key for numbers in seeds for key in numbers)
        averaged[run] = {key: mean(numbers[key] for numbers in seeds if key in numbers) for key in keys}
    return averaged


def _differences(exhibit: Exhibit, first: _Numbers, second: _Numbers) -> list[Difference]:
    wanted = [run for run in first | second if (role_of(run[0]), run[1]) in exhibit.runs]
    differences = []
    for run in wanted:
        a, b = first.get(run, {}), second.get(run, {})
        for key in dict.fromkeys([*a, *b]):
            name, absolute, part = TOLERANCES[key.split()[0]]
            known = [abs(side[key]) for side in (a, b) if key in side]
            what = f"{EXPERIMENTS[run[1]].method} on {run[0]}, {name}{key.removeprefix(key.split()[0])}"
            differences.append(Difference(what=what, first=a.get(key), second=b.get(key),
                                          tolerance=max(absolute, part * max(known))))  # fmt: skip
    return differences
