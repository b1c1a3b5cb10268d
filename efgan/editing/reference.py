"""The shipped runs in results/reference: made from finished runs, opened by `load_editor()`, with a gallery of faces.

A shipped run has the names of an ordinary one inside and is read by `load_run`; only its weights are of half
precision, and its manifest says from which weights they were made.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from efgan.data import load_faces
from efgan.data.faces import FaceSet
from efgan.data.splits import Split, split_faces
from efgan.errors import UserError
from efgan.experiments import read_config, run_folder
from efgan.paper import EXPERIMENT_ORDER
from efgan.provenance import sha256_of, write_atomic
from efgan.training.checkpoint import load_tensors, save_tensors
from efgan.training.run import WEIGHTS

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
GALLERY = "gallery.safetensors"
ESTIMATOR = "au_estimator.safetensors"  # of the `controls` run
METHODS = tuple(name for name in EXPERIMENT_ORDER if name != "controls")  # in the tables' order


def reference_run(experiment: str = "cascade_ef_gan", *, folder: Path = REFERENCE) -> Path:
    """The shipped run of an experiment, of several the one with the largest faces; its weights are verified.

    Raises:
        UserError: there is none, or its weights were changed.
    """
    found = sorted(folder.glob(f"*/*/*/{experiment}/seed*/{WEIGHTS}"), key=_size_first)
    if not found:
        raise UserError(f"no shipped {experiment} in {folder.name}/: run from a checkout of the repository, or train "
                        "one with `make reproduce` and give its run folder")  # fmt: skip
    run = found[0].parent
    if json.loads((run / "manifest.json").read_text())["outputs"].get(WEIGHTS) != sha256_of(found[0]):
        raise UserError(f"{found[0]} is not the file its manifest.json tells of: restore it with `git checkout`")
    return run


def _size_first(weights: Path) -> tuple[int, Path]:
    return -read_config(weights.parent).data.image_size, weights


def sibling_runs(run: Path) -> dict[str, Path]:
    """Trained runs of all methods beside a run folder, with its dataset and seed, by experiment."""
    folders = {name: run.parent.parent / name / run.name for name in METHODS}
    return {name: folder for name, folder in folders.items() if (folder / WEIGHTS).exists()}


def load_gallery(folder: Path = REFERENCE) -> FaceSet:
    """The shipped test faces, with AUs, landmarks, identity and expression.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / GALLERY
    if not path.exists():
        raise UserError(f"no gallery of faces at {path}: run from a checkout of the repository, or make it with "
                        "`python scripts/ship_reference.py`")  # fmt: skip
    tensors, state = load_tensors(path)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items()}
    return FaceSet(**(values | tensors))


def choose_gallery(faces: FaceSet, split: Split, count: int = 24) -> FaceSet:
    """About `count` test faces: each person neutral first, then with expressions that differ from person to person.

    Args:
        faces: the whole set.
        split: which of them are tested.
        count: at most so many; fewer if there are fewer test faces. Eight people are shown at most.
    """
    test = faces.subset(split.test)
    test = test.subset(test.variant == test.variant.min())
    people = test.identity.unique()[:8]
    classes = [name for name in test.expression_names if name != "neutral"]
    chosen: list[int] = []
    for turn in range(1 + len(classes)):
        for place, person in enumerate(people.tolist()):
            name = "neutral" if turn == 0 else classes[(2 * place + turn - 1) % len(classes)]
            label = test.expression_names.index(name)
            chosen += ((test.identity == person) & (test.expression == label)).nonzero().flatten().tolist()[:1]
    return test.subset(torch.tensor(sorted(chosen[:count])))


def save_gallery(faces: FaceSet, path: Path) -> Path:
    """Writes a small face set as one safetensors file, for `load_gallery`."""
    values = {f.name: getattr(faces, f.name) for f in fields(faces)}
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    save_tensors(path, tensors, {name: value for name, value in values.items() if name not in tensors})
    return path


def ship_run(run: Path, destination: Path) -> Path:
    """Copies a finished run for shipping: half-precision weights, config, manifest, metrics.

    Args:
        run: a finished run folder.
        destination: the folder that gets it, e.g. results/reference.

    Returns:
        The shipped run folder.

    Raises:
        UserError: the run is not finished, or its weights are not those of its manifest.
    """
    config, record = read_config(run), json.loads((run / "manifest.json").read_text())
    tensors, state = load_tensors(run / WEIGHTS)
    origin = sha256_of(run / WEIGHTS)
    if record["status"] != "finished" or record["outputs"].get(WEIGHTS) != origin:
        raise UserError(f"{run} is no finished run, or its weights were changed since: train it again")
    placed = run_folder("", config.preset, config.data.dataset, config.experiment, config.seed)
    folder = destination / placed.relative_to("results")
    save_tensors(folder / WEIGHTS, {name: tensor.half() for name, tensor in tensors.items()}, state)
    record["notes"]["shipped"] = {"precision": "float16", "made_from": {WEIGHTS: origin}}
    record["outputs"] = {WEIGHTS: sha256_of(folder / WEIGHTS)}
    texts = {
        "manifest.json": json.dumps(cleaned(record), indent=2) + "\n",
        "config.json": (run / "config.json").read_text(),
    }
    if (run / "metrics.json").exists():
        texts["metrics.json"] = (run / "metrics.json").read_text()
    for name, text in texts.items():
        with write_atomic(folder / name) as file:
            file.write(text)
    return folder


def cleaned(record: dict[str, Any]) -> dict[str, Any]:
    """A manifest without the paths and the kernel of the machine that it was written on."""
    command = re.sub(r"(?<=[\s=])/\S*/(?=\S)", "", record["command"])
    environment = record["environment"] | {"platform": record["environment"]["platform"].split("-")[0]}
    return record | {"command": command, "environment": environment}


def ship_estimator(controls: Path, destination: Path) -> list[Path]:
    """Copies the AU estimator of a dataset, which tells what a photo's faces show; nothing if there is none.

    Returns:
        The shipped folder, if any.
    """
    if not (controls / ESTIMATOR).exists():
        return []
    config = read_config(controls)
    placed = run_folder("", config.preset, config.data.dataset, "controls", config.seed)
    folder = destination / placed.relative_to("results")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ESTIMATOR, "config.json", "metrics.json"):
        if (controls / name).exists():
            with write_atomic(folder / name, "wb") as file:
                file.write((controls / name).read_bytes())
    return [folder]


def ship_reference(
    root: Path, *, preset: str, dataset: str, seed: int, methods: Sequence[str] = METHODS, destination: Path = REFERENCE
) -> list[Path]:
    """Ships the trained methods of a dataset, its AU estimator beside any, and a gallery of its test faces.

    A gallery of larger faces that is already there stays: it belongs to the run that `reference_run` prefers.

    Args:
        root: folder that holds results/.
        preset, dataset, seed: of the runs.
        methods: experiments whose weights are shipped; those that were not trained are left out.
        destination: gets them.

    Returns:
        The files written.

    Raises:
        UserError: there is no finished Cascade EF-GAN, or its faces are photographs, which may not be passed on.
    """
    main = run_folder(root, preset, dataset, "cascade_ef_gan", seed)
    config = read_config(main)
    if not config.data.synthetic:
        raise UserError(f"{dataset} holds photographs under a licence: only runs on the embedded faces are shipped")
    folders = [ship_run(run, destination) for name, run in sibling_runs(main).items() if name in methods]
    if folders:
        folders += ship_estimator(main.parents[1] / "controls" / main.name, destination)
    faces, gallery = load_faces(config.data), destination / GALLERY
    if not gallery.exists() or load_gallery(destination).size <= faces.size:
        save_gallery(choose_gallery(faces, split_faces(faces, config.data)), gallery)
    return [gallery, *(path for folder in folders for path in sorted(folder.iterdir()))]
