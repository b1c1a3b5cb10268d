"""What the faces of a photo show before they are edited: estimated, read from OpenFace's CSV, or taken as neutral."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from efgan.data.action_units import MAX_INTENSITY, NUM_AUS
from efgan.data.openface import AU_COLUMNS, POINT_COLUMNS, UnusableError, read_openface
from efgan.editing.editor import Editor
from efgan.errors import UserError
from efgan.models.classifiers import build_au_estimator, estimator_name
from efgan.training.run import read_config
from efgan.training.supervised import load_net, predict


def estimate_aus(editor: Editor, images: Sequence[np.ndarray]) -> tuple[np.ndarray, str]:
    """The AUs of faces that nobody measured, by efgan's own estimator: a judge of the run's dataset.

    It learnt from that dataset's training faces alone; what it says about real skin and light is a guess (for real
    people see docs/experiments.md).

    Args:
        editor: whose run has a `controls` run beside it, of its dataset or else of another one of its preset.
        images: uint8, S×S×3 each, aligned as the dataset's faces.

    Returns:
        float32 N×17 in 0-5, and the estimator's name with its quality.

    Raises:
        UserError: there is no such run, or its files are damaged.
    """
    folder, config = editor.folder.resolve(), editor.config
    dataset = folder.parent.parent
    own = dataset / "controls" / folder.name
    others = sorted(dataset.parent.glob(f"*/controls/{folder.name}"))
    found = [place for place in (own, *others) if (place / "au_estimator.safetensors").exists()]
    if not found:
        raise UserError(f"no AU estimator beside this run ({own} is missing): train it with `efgan run-notebook "
                        f"03_evaluate -p preset {config.preset} -p dataset {config.data.dataset} -p seed "
                        f"{config.seed}` in the folder whose results/ holds the run, or say what the face shows "
                        "(--neutral, --openface)")  # fmt: skip
    controls = read_config(found[0])
    net = load_net(build_au_estimator(controls.evaluation), found[0] / "au_estimator.safetensors", editor.device)
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    aus = (predict(net, batch) + predict(net, batch.flip(3))) / 2  # a mirrored face shows the same AUs
    name = estimator_name(synthetic=controls.data.synthetic)
    known = _correlations(found[0] / "metrics.json")
    where = f"{controls.data.held_out} of {controls.data.dataset}"
    quality = f", mean r {sum(known) / len(known):.2f} on {where}" if known else ""
    return (MAX_INTENSITY * aus).numpy(), name + quality


def _correlations(metrics: Path) -> list[float]:
    """The estimator's correlation per AU, as measured; empty if it was not."""
    if not metrics.exists():
        return []
    try:
        rows = json.loads(metrics.read_text())["au_estimator"].values()
    except (ValueError, KeyError) as error:
        raise UserError(f"{metrics} is damaged ({error}): run `efgan evaluate {metrics.parent}`") from error
    return [row["correlation"] for row in rows if row["correlation"] is not None]


def own_aus(openface: Path | None, *, neutral: bool) -> tuple[np.ndarray | None, list[np.ndarray] | None]:
    """The AUs and landmarks that a person gives for a photo, as `edit_photo` takes them.

    Args:
        openface: OpenFace's CSV of that photo (FaceLandmarkImg, any vintage), one row per face.
        neutral: the faces show nothing.

    Returns:
        AUs 17 or N×17 in 0-5, and 68×2 landmarks of N faces from left to right; None for what is not given.

    Raises:
        UserError: both are given, or the file is no such CSV.
    """
    if openface is None:
        return (np.zeros(NUM_AUS, np.float32) if neutral else None), None
    if neutral:
        raise UserError("--neutral and --openface contradict each other: give one of them")
    remedy = "make it with FaceLandmarkImg -f PHOTO -2Dfp -aus"
    try:
        table = read_openface(openface, openface.stat().st_mtime_ns).dropna(subset=[*POINT_COLUMNS, *AU_COLUMNS])
    except (OSError, UnusableError) as error:
        raise UserError(f"{openface}: {': '.join(map(str, error.args))}; {remedy}") from error
    if table.empty:
        raise UserError(f"{openface}: OpenFace found no face; {remedy}, of a larger or better lit photo")
    landmarks = table[list(POINT_COLUMNS)].to_numpy(np.float64).reshape(-1, 2, 68).transpose(0, 2, 1)
    order = landmarks[:, :, 0].mean(1).argsort()
    return table[list(AU_COLUMNS)].to_numpy(np.float32)[order], list(landmarks[order])
