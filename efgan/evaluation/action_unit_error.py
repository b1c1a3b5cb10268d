"""Do the edits show the Action Units that were asked for, and leave the others alone?

The judge is an AU estimator trained on real training faces only, apart from every GAN's critic. On the
embedded faces its labels are the renderer's controls, on real ones OpenFace's output.
"""

import math

import torch
from torch import Tensor

from efgan.data.action_units import AU_NAMES

UNCHANGED = 0.05  # a request that moves an AU by less than this (of 1) leaves it as it is; our decision


def compute_icc(a: Tensor, b: Tensor) -> Tensor:
    """ICC(3,1), the consistency of two raters, column by column.

    Args:
        a: N×K ratings.
        b: N×K ratings of the same N subjects.

    Returns:
        float64 K, at most 1; NaN where nothing varies.

    Source: Shrout & Fleiss 1979, the usual figure for AU intensities.
    """
    a, b = a.double(), b.double()
    n = len(a)
    total = torch.stack((a, b))
    grand, subjects, raters = total.mean((0, 1)), total.mean(0), total.mean(1)
    between = 2 * (subjects - grand).square().sum(0) / (n - 1)
    residual = (total - subjects - raters[:, None] + grand).square().sum((0, 1)) / (n - 1)
    return (between - residual) / (between + residual)


def compute_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of the columns of two N×K tensors: float64 K, NaN where a column is constant."""
    a, b = a.double() - a.double().mean(0), b.double() - b.double().mean(0)
    return (a * b).sum(0) / (a.square().sum(0) * b.square().sum(0)).sqrt()


def estimator_quality(estimated: Tensor, true: Tensor) -> dict[str, dict[str, float | None]]:
    """Mean absolute error (of 1), correlation and ICC(3,1) per AU; None where an AU never varies.

    Args:
        estimated: N×17 in [0, 1].
        true: N×17 in [0, 1].
    """
    columns = {
        "mae": (estimated - true).abs().double().mean(0),
        "correlation": compute_correlation(estimated, true),
        "icc": compute_icc(estimated, true),
    }
    varies = true.amax(0) - true.amin(0) > 1e-6
    return {
        au: {
            name: float(column[k]) if (name == "mae" or bool(varies[k])) and math.isfinite(column[k]) else None
            for name, column in columns.items()
        }
        for k, au in enumerate(AU_NAMES)
    }


def requested_error(achieved: Tensor, requested: Tensor) -> Tensor:
    """Mean absolute difference over the 17 AUs of each edit: N, 0-1 (times 5 on OpenFace's scale)."""
    return (achieved - requested).abs().mean(1)


def off_target_change(achieved: Tensor, before: Tensor, source_aus: Tensor, requested: Tensor) -> float:
    """How far an edit moved AUs that its request left alone.

    Args:
        achieved: N×17, estimated on the edits.
        before: N×17, estimated on the sources.
        source_aus: N×17, labels of the sources.
        requested: N×17.

    Returns:
        mean |achieved - before| over the AUs with |requested - source_aus| < 0.05; NaN if there are none.
    """
    left_alone = (requested - source_aus).abs() < UNCHANGED
    return float((achieved - before).abs()[left_alone].double().mean())
