"""Opens finished runs for the exhibits: their records, their editors, and the test faces that figures show."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efgan.config import RunConfig, find_preset, from_json
from efgan.data import load_faces
from efgan.data.faces import FaceSet
from efgan.data.splits import Split, split_faces
from efgan.editing.editor import Editor, load_editor
from efgan.errors import UserError
from efgan.evaluation.protocol import Pairs, evaluation_pairs, target_aus
from efgan.experiments import (
    Experiment,
    datasets_of,
    family_of,
    find_experiment,
    reproduce_command,
    run_config,
    run_folder,
    train_command,
)
from efgan.models.branch import Edit


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run: an experiment on a dataset with a seed."""

    folder: Path
    experiment: Experiment
    dataset: str
    preset: str
    seed: int

    def _text(self, name: str, command: str) -> str:
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing: make it with `{command}`, or everything with "
                            f"`{reproduce_command(family_of(self.dataset), self.preset)}`")  # fmt: skip
        return path.read_text(encoding="utf-8")

    def _json(self, name: str, command: str) -> dict[str, Any]:
        try:
            return dict(json.loads(self._text(name, command)))
        except json.JSONDecodeError as error:
            raise UserError(f"{self.folder / name} is damaged ({error}): delete it and run `{command}`") from error

    @property
    def _train(self) -> str:
        if not self.experiment.trains:
            return self._evaluate
        data_root = "DIR" if family_of(self.dataset) == "real" else None
        name = self.experiment.name
        return train_command(run_config(self.preset, self.dataset, name, self.seed, data_root=data_root))

    @property
    def _evaluate(self) -> str:
        return f"efgan evaluate {self.folder}"

    @cached_property
    def config(self) -> RunConfig:
        """The full configuration it ran with."""
        return from_json(RunConfig, self._text("config.json", self._train), str(self.folder / "config.json"))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Commit, environment, hashes, times."""
        return self._json("manifest.json", self._train)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What the evaluation measured."""
        return self._json("metrics.json", self._evaluate)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The training log, one record per logged iteration."""
        return [json.loads(line) for line in self._text("history.jsonl", self._train).splitlines() if line.strip()]

    @cached_property
    def editor(self) -> Editor:
        """The trained generator, ready to edit."""
        self._text("config.json", self._train)
        return load_editor(self.folder)

    def metric(self, name: str) -> float | None:
        """One number of `metrics`, `None` if it was not measured; `a/b` looks inside `a`."""
        value: Any = self.metrics
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        return None if value is None else float(value)

    @property
    def own_iterations(self) -> int:
        """Generator updates of this run alone, without those it starts from."""
        if not self.experiment.trains:
            return 0
        train = self.config.train
        return train.cascade_iterations if self.experiment.initialised_from else train.iterations

    @property
    def budget(self) -> str:
        """Generator updates, those of the run it starts from first: "700 + 150"."""
        if self.experiment.initialised_from:
            earlier = f"{self.config.train.iterations}" + f" + {self.own_iterations}" * self.experiment.fine_tunes
            return f"{earlier} + {self.own_iterations}"
        return str(self.own_iterations)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """K test edits that a figure shows, chosen by `Runs.examples`.

    Attributes:
        images: the inputs, uint8 K×3×S×S.
        targets: real faces of the same people with the wanted expression, uint8 K×3×S×S.
        source_aus, target_aus: K×17 in [0, 1].
        target_expression: int64 K.
        tasks: (source, target) expression names.
        names: (source, target) image names.
    """

    images: Tensor
    targets: Tensor
    source_aus: Tensor
    target_aus: Tensor
    target_expression: Tensor
    tasks: list[tuple[str, str]]
    names: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> list[str]:
        """One label of two lines per edit: "angry\\n→ happy"."""
        return [f"{plain(source)}\n→ {plain(target)}" for source, target in self.tasks]


@dataclass
class Runs:
    """Every run of a family and preset, opened when asked for and kept.

    Args:
        root: the repository or any folder that holds `results/`.
        family: "synthetic" or "real".
        preset: a preset's name.
        seed: the seed of the runs that figures show.

    Raises:
        UserError: unknown family or preset; later, a missing run, with the command that makes it.
    """

    root: Path | str = "."
    family: str = "synthetic"
    preset: str = "mini"
    seed: int = 0
    _runs: dict[tuple[str, str, int], Run] = field(default_factory=dict, repr=False)
    _faces: dict[str, tuple[FaceSet, Split]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        find_preset(self.preset)
        datasets_of(self.family)

    def dataset(self, role: str) -> str:
        """The dataset in the role of the paper's "rafd" or "cfeed"; any other name is a dataset's own."""
        return dict(zip(("rafd", "cfeed"), datasets_of(self.family), strict=True)).get(role, role)

    def run(self, role: str, experiment: str, seed: int | None = None) -> Run:
        """One run, by a role or a dataset's name; its files are read when used."""
        key = (role, experiment, self.seed if seed is None else seed)
        if key not in self._runs:
            dataset = self.dataset(role)
            self._runs[key] = Run(folder=run_folder(self.root, self.preset, dataset, experiment, key[2]),
                                  experiment=find_experiment(experiment), dataset=dataset, preset=self.preset,
                                  seed=key[2])  # fmt: skip
        return self._runs[key]

    @property
    def results_folder(self) -> Path:
        """results/<family>/<preset>."""
        return Path(self.root) / "results" / self.family / self.preset

    @property
    def figures_folder(self) -> Path:
        """figures/<family>/<preset>."""
        return Path(self.root) / "figures" / self.family / self.preset

    def test_faces(self, role: str) -> tuple[FaceSet, Split]:
        """The faces that runs were tested on, split as they were trained."""
        if role not in self._faces:
            config = self.run(role, "cascade_ef_gan").config.data
            faces = load_faces(config)
            self._faces[role] = faces, split_faces(faces, config)
        return self._faces[role]

    def examples(self, role: str, tasks: Sequence[tuple[str, str]]) -> Examples:
        """Test pairs for the given (source, target) expressions, the same for every method.

        The rule: all test pairs are put in an order drawn with the runs' seed; each task takes the first pair
        with its expressions whose person was shown least so far. Where no test pair has the expressions (a small
        image split), the pair with the widest change of AUs among the least shown people stands in.

        Source: our decision; the paper does not say how its examples were chosen.
        """
        faces, split = self.test_faces(role)
        config = self.run(role, "cascade_ef_gan").config.evaluation
        pairs = evaluation_pairs(faces, split, replace(config, max_pairs=None))
        wanted = target_aus(faces, pairs, config.targets, train=split.train)
        chosen = choose_pairs(faces, pairs, wanted, tasks, self.seed)
        source, target = pairs.source[chosen], pairs.target[chosen]
        names, both = faces.expression_names, list(zip(source.tolist(), target.tolist(), strict=True))
        return Examples(
            images=faces.images[source], targets=faces.images[target], source_aus=faces.aus[source],
            target_aus=wanted[chosen], target_expression=faces.expression[target],
            tasks=[(names[faces.expression[s]], names[faces.expression[t]]) for s, t in both],
            names=[(faces.names[s], faces.names[t]) for s, t in both],
        )  # fmt: skip

    def edit(self, role: str, experiment: str, examples: Examples) -> Edit:
        """What a method makes of the examples, on the CPU."""
        return self.run(role, experiment).editor.edit_batch(
            examples.images, examples.source_aus, examples.target_aus, examples.target_expression
        )

    def describe(
        self, *runs: tuple[str, str], shown: str = "Test faces of", seeds: Sequence[int] | None = None
    ) -> str:  # fmt: skip
        """The closing words of a caption: data, split, preset, seeds and iterations of the (role, experiment) runs.

        Args:
            runs: (role, experiment).
            shown: what stands before the datasets' names.
            seeds: of the runs; None for the one that figures show.
        """
        seeds = [self.seed] if seeds is None else seeds
        parts = []
        for role in dict.fromkeys(role for role, _ in runs):
            run = self.run(role, next(e for r, e in runs if r == role))
            kind = "embedded synthetic faces" if self.family == "synthetic" else "photographs"
            parts.append(f"{run.dataset} ({kind}, {run.config.data.split} split, {run.config.data.image_size} px)")
        budgets = {self.run(*run).experiment.method: self.run(*run).budget for run in runs}
        updates = "; ".join(f"{method} {budget}" for method, budget in budgets.items())
        numbers = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        return (f"{shown} {' and '.join(parts)}; preset {self.preset}, {numbers}. "
                f"Generator updates: {updates}.")  # fmt: skip


def choose_pairs(
    faces: FaceSet, pairs: Pairs, wanted: Tensor, tasks: Sequence[tuple[str, str]], seed: int
) -> list[int]:
    """Positions in `pairs`, one per task, by the rule of `Runs.examples`.

    Raises:
        UserError: there is no test pair at all.
    """
    if not len(pairs.source):
        raise UserError(f"dataset {faces.name!r} has no test pairs: take more identities, or another split")
    order = torch.randperm(len(pairs.source), generator=torch.Generator().manual_seed(seed)).tolist()
    gap = (wanted - faces.aus[pairs.source]).norm(dim=1)
    shown: Counter[int] = Counter()
    chosen: list[int] = []
    for source, target in tasks:
        expressions = [(faces.expression_names[faces.expression[pairs.source[k]]],
                        faces.expression_names[faces.expression[pairs.target[k]]]) for k in order]  # fmt: skip
        fitting = [k for k, pair in zip(order, expressions, strict=True) if pair == (source, target)]
        rest = sorted((k for k in order if k not in chosen), key=lambda k: -float(gap[k])) or order
        best = min(fitting or rest, key=lambda k: shown[int(faces.identity[pairs.source[k]])])
        shown[int(faces.identity[pairs.source[best]])] += 1
        chosen.append(best)
    return chosen


def plain(name: str) -> str:
    """An expression's name for people: "happily_surprised" → "happily surprised"."""
    return name.replace("_", " ")
