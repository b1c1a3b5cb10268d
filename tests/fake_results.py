"""Run folders as training and evaluation leave them, with made-up numbers: for tests of the exhibits."""

import json
from pathlib import Path

import torch
from conftest import BOXES

from efgan.config import to_json
from efgan.data.action_units import AU_NAMES, RAFD_EXPRESSIONS
from efgan.editing.editor import Editor
from efgan.experiments import EXPERIMENTS, datasets_of, find_experiment, read_config, role_of, run_config, run_folder
from efgan.models import build_generator
from efgan.provenance import sha256_of
from efgan.training.checkpoint import pack, save_tensors
from efgan.training.run import WEIGHTS, TrainedRun

G = {"stargan": 0.4, "ganimation": 0.5, "baseline": 0.45, "local_focus": 0.6, "cascade": 0.55, "cascade_ef_gan": 0.7}


def edit_metrics(accuracy: float, extractor: str) -> dict:
    """What is measured on any edits."""
    classes = len(RAFD_EXPRESSIONS)
    return {
        "accuracy_G": accuracy, "psnr": 20 + accuracy, "ssim": 0.9, "fd": 50.0 - accuracy, "kid": 0.0123,
        "fd_extractor": extractor, "au_mae": 0.1, "au_mae_relative_to_copy": 0.5, "off_target": 0.02, "identity": None,
        "au_mae_per_au": dict.fromkeys(AU_NAMES, 0.1), "classes": list(RAFD_EXPRESSIONS), "pairs": 56,
        "confusion": torch.eye(classes).mul(7).int().tolist(),
    }  # fmt: skip


def write_run(root: Path, dataset: str, experiment: str, seed: int = 0, *, preset: str = "smoke",
              extractor: str = "efficientnet-lite0", shift: float = 0.0) -> Path:  # fmt: skip
    """One finished, evaluated run, without weights; `shift` is added to its accuracies."""
    folder = run_folder(root, preset, dataset, experiment, seed)
    folder.mkdir(parents=True)
    config = run_config(preset, dataset, experiment, seed)
    (folder / "config.json").write_text(to_json(config))
    (folder / "manifest.json").write_text(json.dumps({
        "status": "finished", "started": "2026-01-01T10:00:00+00:00", "ended": "2026-01-01T10:01:00+00:00",
        "seconds": 60.0, "git": {"commit": "c0ffee", "dirty": False}, "command": f"efgan train --root {root}/x",
        "environment": {"cores": 2, "packages": {}, "platform": "Linux-6.1-x86_64"},
        "notes": {"precision": "fp32", "parameters": 1234},
    }))  # fmt: skip
    if find_experiment(experiment).trains:
        stages = [f"stage_{k}." for k in (1, 2, 3)] if find_experiment(experiment).cascaded else [""]
        branches = {} if experiment == "stargan" else {f"{stage}global": 0.3 for stage in stages}
        metrics = edit_metrics(G[experiment] + shift, extractor) | {
            "accuracy_RG": 0.9 + shift, "mean_attention": branches, "edits_per_second": 10.0,
        }  # fmt: skip
        lines = [{"iteration": i, "critic/wasserstein": -1.0, "critic/cond": 2.0, "generator/adv": 0.5,
                  "generator/cond": 3.0, "generator/cont": 1.0, **{f"attention/{b}": v for b, v in branches.items()}}
                 for i in (2, 4, 6)]  # fmt: skip
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        metrics = {
            "accuracy_R": 0.95 + shift, "confusion": torch.eye(8).int().tolist(), "classes": list(RAFD_EXPRESSIONS),
            "au_estimator": {au: {"mae": 0.05, "correlation": None, "icc": None} for au in AU_NAMES},
            "copy": edit_metrics(0.01, extractor), "target": edit_metrics(0.94, extractor) | {"psnr": None},
        }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def write_results(
    root: Path, *, seeds: int = 1, extractor: str = "efficientnet-lite0", family: str = "synthetic"
) -> None:
    """All runs of the preset `smoke`; every further seed has accuracies 0.02 higher."""
    for dataset in datasets_of(family):
        for experiment in EXPERIMENTS.values():
            if role_of(dataset) in experiment.roles:
                for seed in range(seeds):
                    write_run(root, dataset, experiment.name, seed, extractor=extractor, shift=0.02 * seed)


def untrained_editor(folder: Path) -> Editor:
    """An editor with the run's own, untrained network."""
    config = read_config(folder)
    torch.manual_seed(0)
    generator = build_generator(config.experiment, config.model, image_size=config.data.image_size,
                                num_classes=len(RAFD_EXPRESSIONS), boxes=BOXES)  # fmt: skip
    state = {"expression_names": RAFD_EXPRESSIONS, "boxes": BOXES}
    run = TrainedRun(generator=generator.eval().requires_grad_(False), config=config, state=state)
    return Editor(run, folder, torch.device("cpu"))


def trained_run(root: Path, experiment: str, seed: int = 0) -> Path:
    """A finished run of the preset `smoke` with weights that were never trained but do edit."""
    folder = write_run(root, "synthetic_rafd", experiment, seed)
    config = read_config(folder)
    torch.manual_seed(0)
    generator = build_generator(experiment, config.model, image_size=config.data.image_size,
                                num_classes=len(RAFD_EXPRESSIONS), boxes=BOXES)  # fmt: skip
    for parameter in generator.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)  # the Interpolator and Refiners start at zero
    save_tensors(
        folder / WEIGHTS,
        pack("generator", generator.state_dict()),
        {"expression_names": RAFD_EXPRESSIONS, "boxes": BOXES},
    )
    record = json.loads((folder / "manifest.json").read_text())
    record |= {"outputs": {WEIGHTS: sha256_of(folder / WEIGHTS)}, "command": f"efgan train --root {root}/x"}
    (folder / "manifest.json").write_text(json.dumps(record))
    return folder
