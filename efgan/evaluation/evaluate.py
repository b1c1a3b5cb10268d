"""Evaluates one run: every metric into `metrics.json`, every edited pair into `pairs.csv`."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from efgan.config import EvalConfig
from efgan.data.action_units import AU_NAMES
from efgan.data.faces import FaceSet
from efgan.data.splits import Split
from efgan.evaluation.action_unit_error import estimator_quality, off_target_change, requested_error
from efgan.evaluation.expression_accuracy import bootstrap_interval, compute_accuracy, train_classifiers
from efgan.evaluation.features import compute_features, compute_frechet_distance, compute_kid, metric_name
from efgan.evaluation.identity import identity_retrieval
from efgan.evaluation.image_quality import compute_psnr, compute_ssim
from efgan.evaluation.judges import Judges
from efgan.evaluation.protocol import (
    EditFunction,
    Pairs,
    class_labels,
    edit_pairs,
    evaluated_rows,
    evaluation_pairs,
    target_aus,
    thin,
    training_pairs,
)
from efgan.models.classifiers import estimator_name
from efgan.provenance import write_atomic
from efgan.training.supervised import predict


def evaluate_run(
    edit: EditFunction, faces: FaceSet, split: Split, judges: Judges, config: EvalConfig, run_folder: Path
) -> dict[str, Any]:  # fmt: skip
    """Measures a trained method and writes `metrics.json` and `pairs.csv` into its run folder.

    Args:
        edit: the method; see `EditFunction`. An `Editor`'s `edit_batch` fits.
        faces: the whole set.
        split: its training and test faces.
        judges: of this dataset and seed, see `train_judges`; their seed is that of R+G's pairs and classifiers too.
        config: the protocol.
        run_folder: of the run.

    Returns:
        what `metrics.json` holds: accuracies and similarities as fractions, dB, AU errors of 1. A number that
        does not exist is None.
    """
    started = time.perf_counter()
    pairs = evaluation_pairs(faces, split, config)
    aus = target_aus(faces, pairs, config.targets, train=split.train)
    edited = edit_pairs(edit, faces, pairs, aus, batch_size=config.batch_size, description="editing test faces")
    edit_seconds = time.perf_counter() - started
    metrics, table = measure_edits(edited.images, faces, pairs, aus, judges, config)
    metrics["mean_attention"] = edited.mean_attention
    metrics |= _learn_from_edits(edit, faces, split, judges, config)
    metrics["seconds"] = {"editing": edit_seconds, "all": time.perf_counter() - started}
    metrics["edits_per_second"] = len(pairs) / edit_seconds
    with write_atomic(run_folder / "pairs.csv") as file:
        table.to_csv(file, index=False, float_format="%.6g")
    return save_metrics(metrics, run_folder / "metrics.json")


def evaluate_controls(
    faces: FaceSet, split: Split, judges: Judges, config: EvalConfig, run_folder: Path
) -> dict[str, Any]:
    """Measures the judges themselves and two trivial "methods", into the run folder of `controls`.

    R, the AU estimator per AU, and under "copy" and "target" the same metrics as a method's: of edits that
    return the source unchanged, and of edits that are the real target face. They say what the numbers can
    mean.
    """
    started = time.perf_counter()
    labels = class_labels(faces, judges.reference)
    accuracy = compute_accuracy(judges.classifiers, faces.images[judges.reference], labels, len(judges.classes))
    held_out = torch.ones(len(faces), dtype=torch.bool)
    held_out[split.train] = False
    metrics: dict[str, Any] = {
        "accuracy_R": accuracy.mean, "accuracy_R_std": accuracy.std, "accuracy_R_per_seed": accuracy.per_seed,
        "accuracy_R_interval": bootstrap_interval(accuracy.right, faces.identity[judges.reference]),
        "accuracy_R_per_face": accuracy.right,  # in the order of the evaluated test faces
        "confusion": accuracy.confusion, "classes": judges.classes,
        "au_estimator_name": estimator_name(synthetic=faces.synthetic),
        "au_estimator": estimator_quality(predict(judges.au_estimator, faces.images[held_out]),
                                          faces.aus[held_out].cpu()),
        "train_faces": len(split.train), "train_faces_evaluated": len(evaluated_rows(faces, split.train)),
        "test_faces_evaluated": len(judges.reference), "split_hash": split.hash,
    }  # fmt: skip
    pairs = evaluation_pairs(faces, split, config)
    aus = target_aus(faces, pairs, config.targets, train=split.train)
    for name, rows in (("copy", pairs.source), ("target", pairs.target)):
        metrics[name], table = measure_edits(faces.images[rows], faces, pairs, aus, judges, config)
        if name == "copy":
            with write_atomic(run_folder / "pairs.csv") as file:
                table.to_csv(file, index=False, float_format="%.6g")
    metrics["targets_in_training"] = int(torch.isin(pairs.target, split.train.cpu()).sum())
    metrics["seconds"] = {"all": time.perf_counter() - started}
    return save_metrics(metrics, run_folder / "metrics.json")


def measure_edits(
    images: Tensor, faces: FaceSet, pairs: Pairs, aus: Tensor, judges: Judges, config: EvalConfig
) -> tuple[dict[str, Any], pd.DataFrame]:
    """All metrics of some edited images that need no method: uint8 P×3×S×S, one per pair, asked for P×17.

    Returns:
        metrics, and a table with one row per pair.
    """
    images, sources, targets = (
        images.cpu(),
        faces.images[pairs.source].cpu(),
        faces.images[pairs.target].cpu(),
    )
    aus, source_aus = aus.cpu(), faces.aus[pairs.source].cpu()
    labels = class_labels(faces, pairs.target)
    accuracy = compute_accuracy(judges.classifiers, images, labels, len(judges.classes))
    achieved, before = (predict(judges.au_estimator, x) for x in (images, sources))
    psnr, ssim, error = (
        compute_psnr(images, targets),
        compute_ssim(images, targets),
        requested_error(achieved, aus),
    )
    psnr_copy, error_copy = compute_psnr(sources, targets), requested_error(before, aus)
    metrics = {
        "pairs": len(pairs), "targets": config.targets, "classes": judges.classes,
        "accuracy_G": accuracy.mean, "accuracy_G_std": accuracy.std, "accuracy_G_per_seed": accuracy.per_seed,
        "accuracy_G_interval": bootstrap_interval(accuracy.right, faces.identity[pairs.source]),
        "confusion": accuracy.confusion,
        "psnr": psnr.mean(), "psnr_std": psnr.std(), "psnr_over_copy": (psnr - psnr_copy).mean(),
        "ssim": ssim.mean(),
        "au_mae": error.mean(), "au_mae_relative_to_copy": error.mean() / error_copy.mean(),
        "au_mae_per_au": dict(zip(AU_NAMES, (achieved - aus).abs().mean(0).tolist(), strict=True)),
        "off_target": off_target_change(achieved, before, source_aus, aus),
        **_distribution_metrics(images, faces, pairs, judges, config),
        "identity": identity_retrieval(
            faces, pairs, predict(judges.identity_classifier, images), judges.reference,
            predict(judges.identity_classifier, faces.images[judges.reference]),
        ),
        "identity_measure": "the neutral real test face whose logits of the identity classifier are nearest is the "
                            "source's",
    }  # fmt: skip
    expression = [faces.expression_names[k] for k in faces.expression.tolist()]
    source, target = pairs.source.tolist(), pairs.target.tolist()
    table = pd.DataFrame({
        "source": [faces.names[i] for i in source], "target": [faces.names[i] for i in target],
        "identity": faces.identity.cpu()[pairs.source], "variant": faces.variant.cpu()[pairs.source],
        "source_expression": [expression[i] for i in source],
        "target_expression": [expression[i] for i in target],
        "au_distance": requested_error(source_aus, aus), "psnr": psnr, "psnr_copy": psnr_copy, "ssim": ssim,
        "predicted": [judges.classes[k] for k in accuracy.predicted.tolist()],
        "correct": accuracy.right,  # share of the classifiers; `predicted` is what the first one saw
        "au_mae": error, "au_mae_copy": error_copy,
    })  # fmt: skip
    return {name: _plain(value) for name, value in metrics.items()}, table


def _distribution_metrics(
    images: Tensor, faces: FaceSet, pairs: Pairs, judges: Judges, config: EvalConfig
) -> dict[str, Any]:
    """Fréchet distance and KID against the real test faces, from one pass of the extractor."""
    rows = thin(faces, pairs, config.frechet_pairs)
    device = next(judges.au_estimator.parameters()).device
    features = compute_features(images[rows], config.extractor, device=device, description="features of the edits")
    return {
        "fd": compute_frechet_distance(judges.reference_features, features),
        "fd_name": metric_name(config.extractor), "fd_extractor": config.extractor,
        "fd_edits": len(rows), "fd_real": len(judges.reference),
        "kid": compute_kid(judges.reference_features, features),
    }  # fmt: skip


def _learn_from_edits(
    edit: EditFunction, faces: FaceSet, split: Split, judges: Judges, config: EvalConfig
) -> dict[str, Any]:
    """R+G: classifiers trained on real training faces and as many edits, tested on real test faces."""
    pairs = training_pairs(faces, split.train, seed=judges.seed)
    edits = edit_pairs(
        edit,
        faces,
        pairs,
        target_aus(faces, pairs, config.targets, train=split.train),
        batch_size=config.batch_size,
        description="editing training faces",
    ).images
    real = faces.images[pairs.source].cpu()
    labels = torch.cat((class_labels(faces, pairs.source), class_labels(faces, pairs.target)))
    classifiers = train_classifiers(
        torch.cat((real, edits)), labels, config, classes=len(judges.classes), seed=judges.seed,
        real_count=len(real), device=next(judges.au_estimator.parameters()).device,
        description="R+G classifier",
    )  # fmt: skip
    accuracy = compute_accuracy(
        classifiers,
        faces.images[judges.reference],
        class_labels(faces, judges.reference),
        len(judges.classes),
    )
    return {
        "accuracy_RG": accuracy.mean, "accuracy_RG_std": accuracy.std,
        "accuracy_RG_per_seed": accuracy.per_seed,
        "accuracy_RG_per_face": accuracy.right,  # in the order of the evaluated test faces
        "confusion_RG": accuracy.confusion, "training_edits": len(edits),
    }  # fmt: skip


def save_metrics(metrics: dict[str, Any], path: Path) -> dict[str, Any]:
    """Writes metrics as JSON, NaN and infinity as null, and returns what was written."""
    plain = _plain(metrics)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomic(path) as file:
        json.dump(plain, file, indent=2, allow_nan=False)
    return plain


def _plain(value: Any) -> Any:
    """Tensors, tuples and non-finite numbers to what JSON knows."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
