"""What the faces of a photo show before they are edited: estimated, read from OpenFace's CSV, or taken as neutral."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError

from efgan.data.action_units import MAX_INTENSITY, NUM_AUS
from efgan.data.openface import UnusableError, measure_all
from efgan.editing.editor import Editor
from efgan.editing.reference import ESTIMATOR
from efgan.errors import UserError
from efgan.experiments import read_config, run_folder
from efgan.models.classifiers import build_au_estimator, estimator_name
from efgan.training.run import starting_dataset
from efgan.training.supervised import load_net, predict


def estimate_aus(editor: Editor, images: Sequence[np.ndarray]) -> tuple[np.ndarray, str]:
    """The AUs of faces that nobody measured, by efgan's own estimator: a judge of the run's dataset.

    It learnt from that dataset's training faces alone; what it says about real skin and light is a guess (for real
    people see docs/experiments.md).

    Args:
        editor: whose run has a `controls` run beside it: of its dataset, else of another one of its preset, else of
            the dataset that it started from.
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
    labelled = starting_dataset(folder) or config.data.dataset  # a run on wild photos began with labelled faces
    if len(dataset.parents) > 3:  # else a run that was moved out of its results/
        others.append(run_folder(dataset.parents[3], config.preset, labelled, "controls", config.seed))
    places = [own, *others]
    found = [place for place in places if (place / ESTIMATOR).exists()]
    if not found:
        raise UserError(f"no AU estimator beside this run ({own} is missing): train it with `efgan evaluate "
                        f"{places[-1]}`, or say what the face shows (--neutral, --openface)")  # fmt: skip
    controls = read_config(found[0])
    try:
        net = load_net(build_au_estimator(controls.evaluation), found[0] / ESTIMATOR, editor.device)
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{found[0] / ESTIMATOR} is damaged or of another version: run `efgan evaluate {found[0]}` "
                        "again") from error  # fmt: skip
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
    try:
        faces = measure_all(openface)
    except (OSError, UnusableError) as error:
        reason = error.strerror if isinstance(error, OSError) else ": ".join(map(str, error.args))
        raise UserError(f"{openface}: {reason}; make it with FaceLandmarkImg -f PHOTO -2Dfp -aus") from error
    return np.stack([face.aus for face in faces]), [face.landmarks.astype(np.float64) for face in faces]
