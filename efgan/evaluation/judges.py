"""What judges the edits of a dataset: expression classifiers, an AU estimator, an identity classifier, and features of
the real test faces.

All are made once per dataset and seed from real faces only, kept in the run folder of `controls`, and shared
by every method.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from efgan.config import EvalConfig
from efgan.data.faces import FaceSet
from efgan.data.splits import Split
from efgan.errors import UserError
from efgan.evaluation.expression_accuracy import LEAST_EPOCH, train_classifiers
from efgan.evaluation.features import compute_features
from efgan.evaluation.protocol import class_labels, evaluated_rows
from efgan.models.classifiers import (
    AUEstimator,
    FaceClassifier,
    build_au_estimator,
    build_classifier,
)
from efgan.provenance import JUDGES, code_hash, write_atomic
from efgan.training.precision import pick_device
from efgan.training.supervised import fit, load_net, smoothed_cross_entropy


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Trained on the real training faces of one split.

    Attributes:
        classes: the evaluated expressions; the classifiers' outputs.
        classifiers: one per classifier seed.
        au_estimator: images to 17 AUs.
        identity_classifier: images to logits over the training people.
        reference: int64 R, positions of the evaluated real test faces.
        reference_features: R×D, of those faces by the Fréchet distance's extractor.
        seed: of the training.
    """

    classes: tuple[str, ...]
    classifiers: tuple[FaceClassifier, ...]
    au_estimator: AUEstimator
    identity_classifier: FaceClassifier
    reference: Tensor
    reference_features: Tensor
    seed: int


def train_judges(
    faces: FaceSet,
    split: Split,
    config: EvalConfig,
    folder: Path,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> Judges:
    """Trains the judges and saves them in `folder`.

    Args:
        faces: the whole set.
        split: its training and test faces; only training faces are learnt from.
        config: backbones, lengths, extractor.
        folder: the run folder of `controls`.
        seed: of all of them.
        device: a GPU where there is one, by default.

    Raises:
        UserError: the extractor's weights are missing, or the split leaves no evaluated face on one side.
    """
    device = device or pick_device()
    rows, reference = evaluated_rows(faces, split.train), evaluated_rows(faces, split.test)
    if len(rows) == 0 or len(reference) == 0:
        raise UserError(
            f"{faces.name}: {len(rows)} training and {len(reference)} test faces show an evaluated "
            "expression; both need some: use more identities or another test_fraction"
        )
    reference_features = compute_features(
        faces.images[reference],
        config.extractor,
        device=device,
        description="features of the real test faces",
    )
    labels = class_labels(faces, rows)
    classifiers = train_classifiers(
        faces.images[rows], labels, config, classes=len(faces.evaluated), seed=seed, device=device
    )
    estimator = build_au_estimator(config, seed=seed)
    stretch = max(1, LEAST_EPOCH / len(split.train))  # small sets get as many updates
    epochs = config.estimator_epochs * stretch
    fit(estimator, faces.images[split.train], faces.aus[split.train], F.binary_cross_entropy, epochs=epochs,
        seed=seed, device=device, description="AU estimator", for_photos=True)  # fmt: skip
    people, person = faces.identity[split.train].unique(return_inverse=True)
    identity = build_classifier(config, len(people), seed=seed)
    epochs = config.classifier_epochs * stretch
    fit(identity, faces.images[split.train], person, smoothed_cross_entropy, epochs=epochs, seed=seed, device=device,
        description="identity classifier")  # fmt: skip
    judges = Judges(
        classes=faces.evaluated, classifiers=tuple(classifiers), au_estimator=estimator, identity_classifier=identity,
        reference=reference, reference_features=reference_features, seed=seed,
    )  # fmt: skip
    _save_judges(judges, _description(faces, split, config), folder)
    return judges


def load_judges(
    folder: Path, faces: FaceSet, split: Split, config: EvalConfig, *, command: str = "",
    device: torch.device | None = None,
) -> Judges:  # fmt: skip
    """Reads what `train_judges` saved; `command` is what makes it, for errors.

    Raises:
        UserError: the folder has none, they are damaged, or they were trained on other faces, another split
            or with other settings.
    """
    device = device or pick_device()
    remedy = f"run `{command or f'efgan evaluate {folder}'}`"
    try:
        saved = json.loads((folder / "judges.json").read_text())
        expected = _description(faces, split, config)
        if differing := [name for name in expected if saved.get(name) != expected[name]]:
            raise UserError(f"{folder}: the classifiers there were made with another {', '.join(differing)}; {remedy}")
        classifiers = tuple(
            load_net(build_classifier(config, len(faces.evaluated)), folder / f"classifier_{k}.safetensors", device)
            for k in range(config.classifier_seeds)
        )
        estimator = load_net(build_au_estimator(config), folder / "au_estimator.safetensors", device)
        identity = build_classifier(config, len(faces.identity[split.train].unique()))
        load_net(identity, folder / "identity_classifier.safetensors", device)
        features = load_file(folder / "reference_features.safetensors")["features"]
    except FileNotFoundError as error:
        raise UserError(f"{folder}: {Path(error.filename or '').name} is missing; {remedy}") from None
    except (json.JSONDecodeError, SafetensorError, RuntimeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder}: a damaged file ({str(error).splitlines()[0]}); {remedy}") from None
    return Judges(
        classes=faces.evaluated, classifiers=classifiers, au_estimator=estimator, identity_classifier=identity,
        reference=evaluated_rows(faces, split.test), reference_features=features, seed=saved["seed"],
    )  # fmt: skip


def _description(faces: FaceSet, split: Split, config: EvalConfig) -> dict[str, Any]:
    """What saved judges must agree on with those who use them."""
    names = ("classifier", "classifier_epochs", "classifier_seeds", "estimator_epochs", "extractor")
    return {
        "dataset": faces.name, "image size": faces.size, "classes": list(faces.evaluated),
        "data": faces.data_hash(), "split": split.hash, "code": code_hash(JUDGES),
        **{name: asdict(config)[name] for name in names},
    }  # fmt: skip


def _save_judges(judges: Judges, description: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"classifier_{k}": model.state_dict() for k, model in enumerate(judges.classifiers)}
    files["au_estimator"] = judges.au_estimator.state_dict()
    files["identity_classifier"] = judges.identity_classifier.state_dict()
    files["reference_features"] = {"features": judges.reference_features}
    for name, tensors in files.items():
        with write_atomic(folder / f"{name}.safetensors", "wb") as file:
            file.write(save({key: value.cpu().contiguous() for key, value in tensors.items()}))
    with write_atomic(folder / "judges.json") as file:  # last: its presence says that the others are whole
        json.dump({**description, "seed": judges.seed}, file, indent=2)
