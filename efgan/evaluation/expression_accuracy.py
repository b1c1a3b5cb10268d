"""R, G and R+G: how well the expression classifier reads real faces, edits, and learns from edits.

- R: trained on real training faces, tested on real test faces.
- G: the same classifiers on the edits of test faces; right when they see the expression that was asked for.
- R+G: trained on real training faces and edits of them, tested on real test faces.

Source: paper 4.3 and table 1. Several classifiers that differ in their seed give a mean and a spread (spec
4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm, t
from sklearn.metrics import confusion_matrix
from torch import Tensor

from efgan.config import EvalConfig
from efgan.models.classifiers import FaceClassifier, build_classifier
from efgan.training.supervised import fit, predict, smoothed_cross_entropy

BATCH_SIZE = 32
LEAST_EPOCH = 640  # images; a smaller set is passed over more often, so that few faces do not mean few updates


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy of several classifiers on the same images.

    Attributes:
        per_seed: one fraction per classifier.
        predicted: int64 N, what the first classifier says.
        right: N, the share of the classifiers that are right about each image.
        confusion: K×K counts over all classifiers; rows are the true or requested expression.
    """

    per_seed: tuple[float, ...]
    predicted: Tensor
    right: Tensor
    confusion: list[list[int]]

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_seed))

    @property
    def std(self) -> float:
        """Sample standard deviation; 0 with a single classifier."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else 0.0


def compute_accuracy(classifiers: Sequence[torch.nn.Module], images: Tensor, labels: Tensor, classes: int) -> Accuracy:
    """Accuracy of every classifier on uint8 images N×3×S×S with labels 0…classes-1."""
    labels = labels.cpu()
    predictions = [predict(classifier, images).argmax(1) for classifier in classifiers]
    confusion = sum(confusion_matrix(labels, p, labels=range(classes)) for p in predictions)
    return Accuracy(
        per_seed=tuple(float((p == labels).double().mean()) for p in predictions),
        predicted=predictions[0],
        right=torch.stack([p == labels for p in predictions]).double().mean(0),
        confusion=np.asarray(confusion).tolist(),
    )


def train_classifiers(
    images: Tensor, labels: Tensor, config: EvalConfig, *, classes: int, seed: int,
    real_count: int | None = None, device: torch.device | None = None,
    description: str = "expression classifier",
) -> list[FaceClassifier]:  # fmt: skip
    """Trains `config.classifier_seeds` classifiers with different seeds.

    Args:
        images: uint8, N×3×S×S.
        labels: int64 N, 0…classes-1.
        config: backbone, epochs, number of seeds.
        classes: K.
        seed: of the run; classifier k takes seed 1000·seed + k.
        real_count: number of real images among them (default N). The number of updates follows from it alone,
            so that R+G differs from R in the data, not in the length of the training (our decision).
    """
    real_count = real_count or len(images)
    passes = config.classifier_epochs * max(1, LEAST_EPOCH / real_count)
    epochs = passes * math.ceil(real_count / BATCH_SIZE) / math.ceil(len(images) / BATCH_SIZE)
    trained = []
    for k in range(config.classifier_seeds):
        own_seed = 1000 * seed + k
        model = build_classifier(config, classes, seed=own_seed)
        fit(model, images, labels, smoothed_cross_entropy, epochs=epochs, seed=own_seed,
            batch_size=BATCH_SIZE, device=device,
            description=f"{description} {k + 1} of {config.classifier_seeds}")  # fmt: skip
        trained.append(model)
    return trained


def bootstrap_interval(values: Tensor, groups: Tensor, *, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean of `values` when people, not single edits, are drawn with replacement.

    A plain percentile interval of few people is too narrow: resampled means spread by √((n − 1) / n) of what new
    people would, and its percentiles are the normal distribution's, not Student's. Wider percentiles mend both.

    Args:
        values: N numbers, e.g. 1 for a right edit.
        groups: int64 N, the identity of each.

    Returns:
        The two percentiles of the resampled means.

    Source: Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), expanded percentile interval.
    """
    _, group = groups.cpu().unique(return_inverse=True)
    count = int(group.max()) + 1
    sums = np.bincount(group.numpy(), values.double().cpu().numpy(), count)
    sizes = np.bincount(group.numpy(), minlength=count)
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    tail = norm.cdf(-t.ppf(0.975, count - 1) * np.sqrt(count / (count - 1))) if count > 1 else 0.0
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
