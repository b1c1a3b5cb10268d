"""Trains one experiment from its name: data, split, networks, loop, weights and manifest."""

import contextlib
import itertools
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efgan.config import RunConfig, to_json
from efgan.data import load_faces
from efgan.data.batches import BatchSampler, preview_batch
from efgan.data.faces import FaceSet
from efgan.data.splits import Split, save_split, split_faces
from efgan.errors import UserError
from efgan.experiments import (
    evaluate_command,
    find_experiment,
    pretraining_config,
    pretraining_datasets,
    read_config,
    run_config,
    run_folder,
    train_command,
    what_weights_depend_on,
)
from efgan.models import build_generator
from efgan.models.cascade import CascadeEFGAN
from efgan.models.discriminator import Critic
from efgan.models.local_focus import Box, compute_focus_boxes
from efgan.provenance import Manifest, seed_everything, sha256_of, write_atomic
from efgan.training.checkpoint import load_tensors, load_weights, pack, save_tensors, unpack
from efgan.training.interpolation import train_interpolator
from efgan.training.objectives import Objective, build_objective
from efgan.training.precision import choose_precision, pick_device, require_usable_gpu
from efgan.training.trainer import Trainer

WEIGHTS = "weights.safetensors"
CRITIC = "critic.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A generator read back from a run folder."""

    generator: nn.Module
    config: RunConfig
    state: dict


def train_run(
    *, root: Path | str, preset: str, dataset: str, experiment: str, seed: int, split: str | None = None,
    data_root: str | None = None,
) -> Path:  # fmt: skip
    """Trains one experiment into its run folder; goes on from a checkpoint, does nothing if it is finished.

    Args:
        root: folder that holds results/.
        preset, dataset, experiment, seed: what to train; see `run_config`.
        split: "identity" or "image"; None for the dataset's default.
        data_root: folder of the real sets.

    Returns:
        The run folder, with config.json, manifest.json, history.jsonl, samples/ and weights.safetensors.

    Raises:
        UserError: an unknown name, or the run it starts from is not trained yet.
        TrainingDivergedError: a loss is not finite.
    """
    config = run_config(preset, dataset, experiment, seed, split=split, data_root=data_root)
    folder = run_folder(root, preset, dataset, experiment, seed)
    if not find_experiment(experiment).trains:
        raise UserError(f"experiment {experiment!r} trains no generator: run `{evaluate_command(root, config)}`")
    start = _initial_weights(root, config)  # before minutes of rendering
    return train_faces(folder, config, load_faces(config.data), start=start)


def train_faces(folder: Path, config: RunConfig, faces: FaceSet, *, start: list[Path]) -> Path:
    """`train_run` for faces at hand.

    Args:
        folder: of the run.
        config: its configuration.
        faces: the whole set, of the configuration's image size.
        start: weights of the generator and the critic to start from; empty for none.

    Raises:
        UserError: a cascade's single stage was trained on other faces or another split, or torch cannot use this
            machine's GPU.
        TrainingDivergedError: a loss is not finite.
    """
    seed_everything(config.seed)
    device = pick_device()
    parts = split_faces(faces, config.data)
    origin: dict[str, Any] = {
        "data_hash": faces.data_hash(), "split_hash": parts.hash, "inputs": [sha256_of(path) for path in start],
    }  # fmt: skip
    if start and find_experiment(config.experiment).cascaded:
        _require_same_faces(start[0].parent, config, origin)
    _set_aside_other_work(folder, config, origin)
    with write_atomic(folder / "config.json") as file:
        file.write(to_json(config))
    if _is_finished(folder):
        return folder
    require_usable_gpu()
    for left_over in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
        left_over.unlink()
    save_split(parts, faces, folder / "split.json")
    boxes = compute_focus_boxes(
        faces.landmarks[parts.train], config.data.image_size, eyes_with_brows=config.model.eyes_with_brows
    )
    with Manifest.start(
        folder, config=config, data_hash=origin["data_hash"], split_hash=parts.hash, device=str(device), inputs=start,
        notes=_notes_of_interrupted(folder),
    ) as manifest:  # fmt: skip
        trainer = _build_trainer(config, faces, parts, boxes, start, folder, device, manifest)
        trainer.run()
        state = {"boxes": boxes, "expression_names": faces.expression_names, "evaluated": faces.evaluated}
        save_tensors(folder / CRITIC, pack("critic", trainer.critic.state_dict()), state)
        save_tensors(folder / WEIGHTS, pack("generator", trainer.ema.state_dict()), state)
    manifest.finish(outputs=[folder / WEIGHTS, folder / "history.jsonl"], notes={
        "iterations": trainer.iterations, "images_seen": _images_seen(trainer), "precision": trainer.precision,
        "training_seconds": round(trainer.seconds, 1), "attention_alarms": trainer.alarms,
        "parameters": sum(p.numel() for p in trainer.generator.parameters()),
    })  # fmt: skip
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return folder


def build_networks(
    config: RunConfig, faces: FaceSet, boxes: dict[str, Box], device: torch.device
) -> tuple[nn.Module, Critic, Objective]:
    """What a run trains, with random weights, and what it is trained for.

    Args:
        config: of the run.
        faces: for the number of AUs and of classes.
        boxes: focus boxes by region.
        device: of the networks.

    Returns:
        The generator, its critic and its objective.
    """
    size, model, num_classes = config.data.image_size, config.model, len(faces.expression_names)
    generator = build_generator(config.experiment, model, image_size=size, num_classes=num_classes, boxes=boxes)
    objective = build_objective(config.experiment, config.train, num_classes)
    outputs = objective.num_classes or faces.aus.shape[1]
    critic = Critic(size, model.critic_width, model.critic_max_width, outputs, model.critic_fine_layer)
    return generator.to(device), critic.to(device), objective


def load_run(folder: Path | str, device: torch.device | None = None) -> TrainedRun:
    """Reads a trained generator (its moving average) and its configuration.

    Raises:
        UserError: the folder holds no finished run, or files of another version.
    """
    folder = Path(folder)
    config = read_config(folder)
    tensors, state = load_tensors(folder / WEIGHTS)
    boxes = {region: Box(*box) for region, box in state["boxes"].items()}
    generator = build_generator(
        config.experiment, config.model, image_size=config.data.image_size,
        num_classes=len(state["expression_names"]), boxes=boxes,
    )  # fmt: skip
    load_weights(generator, unpack("generator", tensors), folder / WEIGHTS)
    generator.requires_grad_(False).eval().to(device or pick_device())
    return TrainedRun(generator=generator, config=config, state=state)


def starting_dataset(folder: Path) -> str | None:
    """The dataset of the run that a run started from, by its manifest; None if it started from random weights."""
    return next(((folder / name).resolve().parts[-4] for name in _record(folder).get("inputs", {})), None)


def _record(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder; empty if there is none."""
    path = folder / "manifest.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _is_finished(folder: Path) -> bool:
    """Whether all that a run leaves is there: one that died between its weights and its manifest's end goes on."""
    record = _record(folder)
    if not (record and all((folder / name).exists() for name in (WEIGHTS, CRITIC))):
        return False
    load_tensors(folder / WEIGHTS)  # a damaged file is an error, not a finished run
    return bool(record["status"] == "finished")


def _notes_of_interrupted(folder: Path) -> dict[str, Any]:
    """What the manifest of a run that goes on from a checkpoint says of its beginning, and who made that."""
    if not (record := _record(folder)) or not (folder / "checkpoint.safetensors").exists():
        return {}
    before = {name: record[name] for name in ("started", "git", "device", "environment")}
    return record["notes"] | {"resumed_from": [*record["notes"].get("resumed_from", []), before]}


def _set_aside_other_work(folder: Path, config: RunConfig, origin: dict[str, Any]) -> None:
    """Moves what a run of another config, other faces or another start left in the folder beside it.

    Args:
        folder: the run folder.
        config: of the run that is wanted.
        origin: hashes of its faces and split, and those of the weights it starts from.
    """
    if not (folder / "config.json").exists():
        return
    same = False
    with contextlib.suppress(UserError):  # a damaged config, or one of another version, is other work
        same = what_weights_depend_on(read_config(folder)) == what_weights_depend_on(config)
    if record := _record(folder):
        found = {**{name: record[name] for name in ("data_hash", "split_hash")}, "inputs": [*record["inputs"].values()]}
        same = same and found == origin
    if same:
        return
    number = next(n for n in itertools.count(1) if not folder.with_name(f"{folder.name}.previous{n}").exists())
    aside = folder.with_name(f"{folder.name}.previous{number}")
    aside.mkdir()
    for path in folder.iterdir():
        if not path.name.startswith((".", "train.")):  # the notebook that is at work writes these
            path.rename(aside / path.name)
    warnings.warn(f"{folder} held a run of other settings, faces or initial weights: it is now {aside}", stacklevel=3)


def _require_same_faces(start: Path, config: RunConfig, origin: dict[str, Any]) -> None:
    """Nothing for a single stage that was trained on a cascade's own faces and split: it knows no test face."""
    record = _record(start)
    if any(record.get(name) != origin[name] for name in ("data_hash", "split_hash")):
        single = replace(config, experiment=read_config(start).experiment)
        raise UserError(f"{config.experiment} starts from {start}, which was trained on other faces or another split "
                        f"or has no manifest.json: run `{train_command(single)}` first")  # fmt: skip


def _initial_weights(root: Path | str, config: RunConfig) -> list[Path]:
    """The files a run starts from: generator and critic of the experiment its row names.

    A cascade starts from the single stage on its own faces, the fine-tuning on wild images from the cascade on both
    sets together (paper 3.3, 4.5).

    Raises:
        UserError: that run is not trained, or was trained on other data or with other sizes.
    """
    entry = find_experiment(config.experiment)
    single = entry.initialised_from
    if single is None:
        return []
    datasets = pretraining_datasets(config.data.dataset) if entry.fine_tunes else (config.data.dataset,)
    folders = [run_folder(root, config.preset, dataset, single, config.seed) for dataset in datasets]
    found = [[folder / WEIGHTS, folder / CRITIC] for folder in folders]
    found = [paths for paths in found if all(path.exists() for path in paths)]
    wanted = pretraining_config(config) if entry.fine_tunes else replace(config, experiment=single)
    remedy = f"run `{train_command(wanted)}` first"
    if not found:
        raise UserError(f"{config.experiment} starts from a trained {single}, which is not there: {remedy}")
    folder = found[0][0].parent
    start = read_config(folder)
    fits = what_weights_depend_on(start) == what_weights_depend_on(wanted)
    if entry.fine_tunes:
        fits = start.data.image_size == config.data.image_size and start.model == config.model
        fits = fits and (start.data == wanted.data or not config.data.synthetic)
    if not fits:
        raise UserError(f"{config.experiment} starts from {folder}, which was trained on another split or with other "
                        f"settings: {remedy}")  # fmt: skip
    return found[0]


def _build_trainer(
    config: RunConfig, faces: FaceSet, parts: Split, boxes: dict[str, Box], start: list[Path], folder: Path,
    device: torch.device, manifest: Manifest,
) -> Trainer:  # fmt: skip
    """All parts of one training, on the device."""
    train = config.train
    training_faces = faces.subset(parts.train).to(device)
    rng = torch.Generator().manual_seed(config.seed)
    generator, critic, objective = build_networks(config, faces, boxes, device)
    batch_size, iterations, learning_rate = train.batch_size, train.iterations, train.optim.learning_rate
    critic_warmup = train.critic_warmup
    if isinstance(generator, CascadeEFGAN):
        entry = find_experiment(config.experiment)
        _start_cascade([generator] if entry.fine_tunes else list(generator.stages), critic, start)
        if entry.cascaded and not (folder / "checkpoint.safetensors").exists():  # else it comes from there
            natural = training_faces.aus[training_faces.classed].cpu()
            gained = train_interpolator(generator.interpolator.cpu(), natural, train, rng)
            manifest.record["notes"]["interpolator"] = gained
            generator.interpolator.to(device)
        generator.interpolator.requires_grad_(False)
        batch_size, iterations = train.cascade_batch_size, train.cascade_iterations
        learning_rate *= train.cascade_lr_factor
        critic_warmup = 0  # it has been trained with the single stage
    sampler = BatchSampler(training_faces, batch_size=batch_size, target_noise=train.target_noise, rng=rng,
                           classed_only=objective.num_classes is not None)  # fmt: skip
    return Trainer(
        generator=generator, critic=critic, objective=objective, sampler=sampler, rng=rng, config=train,
        iterations=iterations, learning_rate=learning_rate, critic_warmup=critic_warmup, folder=folder,
        precision=choose_precision(train.precision, device),
        preview=preview_batch(faces.subset(parts.test)).to(device),
        seconds=manifest.record["notes"].get("interpolator", {}).get("seconds", 0.0),
    )  # fmt: skip


def _start_cascade(parts: list[nn.Module], critic: Critic, paths: list[Path]) -> None:
    """Every stage starts from the trained single-stage generator, the critic from its critic (paper 3.3); the
    fine-tuning on wild images has one part, the whole cascade.
    """
    trained = unpack("generator", load_tensors(paths[0])[0])
    for part in parts:
        load_weights(part, trained, paths[0])
    load_weights(critic, unpack("critic", load_tensors(paths[1])[0]), paths[1])


def _images_seen(trainer: Trainer) -> int:
    """Real images drawn by this phase, for the critic's warm-up and for training."""
    return (trainer.critic_warmup + trainer.iterations * trainer.config.n_critic) * trainer.sampler.batch_size
