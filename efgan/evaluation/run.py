"""Evaluates one experiment from its name: faces, split, judges, editor, metrics."""

import re
from dataclasses import replace
from pathlib import Path

from efgan.config import RunConfig, to_json
from efgan.data import load_faces
from efgan.data.splits import save_split, split_faces
from efgan.editing.editor import load_editor
from efgan.errors import UserError
from efgan.evaluation.evaluate import evaluate_controls, evaluate_run
from efgan.evaluation.judges import load_judges, train_judges
from efgan.experiments import evaluate_command, find_experiment, read_config, run_config, run_folder, train_command
from efgan.provenance import Manifest, seed_everything, write_atomic
from efgan.training.precision import pick_device
from efgan.training.run import WEIGHTS


def evaluate_experiment(
    *, root: Path | str, preset: str, dataset: str, experiment: str, seed: int, split: str | None = None,
    data_root: str | None = None,
) -> Path:  # fmt: skip
    """Evaluates one trained experiment in its run folder; for `controls`, trains and measures the judges.

    Args:
        root: folder that holds results/.
        preset, dataset, experiment, seed: what to evaluate; see `run_config`.
        split: "identity" or "image", for `controls`; a trained run is evaluated on the split it was trained on.
        data_root: folder of the real sets; by default where the run found them.

    Returns:
        The run folder, with metrics.json and pairs.csv.

    Raises:
        UserError: an unknown name, the run is not trained, or `controls` has not been run yet.
    """
    config = run_config(preset, dataset, experiment, seed, split=split, data_root=data_root)
    folder = run_folder(root, preset, dataset, experiment, seed)
    seed_everything(seed)
    if not find_experiment(experiment).trains:
        _evaluate_controls(folder, config)
        return folder
    editor = load_editor(folder)
    data = replace(editor.config.data, data_root=data_root or editor.config.data.data_root)
    if data.split != config.data.split and split is not None:
        raise UserError(f"{folder} was trained on the {data.split} split, not on {split}: train it again with "
                        f"`{train_command(config)}`")  # fmt: skip
    faces = load_faces(data)
    parts = split_faces(faces, data)
    controls = run_folder(root, preset, dataset, "controls", seed)
    make_controls = evaluate_command(root, replace(editor.config, experiment="controls", data=data))
    data_hash = faces.data_hash()
    if (editor.manifest["data_hash"], editor.manifest["split_hash"]) != (data_hash, parts.hash):
        raise UserError(f"{folder} was trained on other faces than the present ones, or on another split of them: "
                        f"train it again with `{train_command(replace(editor.config, data=data))}`")  # fmt: skip
    judges = load_judges(controls, faces, parts, config.evaluation, command=make_controls)
    with Manifest.start(
        folder, name="evaluation.manifest.json", data_hash=data_hash, split_hash=parts.hash,
        config=replace(editor.config, data=data, evaluation=config.evaluation), device=str(editor.device),
        inputs=[folder / WEIGHTS, *sorted(controls.glob("*.safetensors"))],
    ) as manifest:  # fmt: skip
        evaluate_run(editor.edit_batch, faces, parts, judges, config.evaluation, folder)
    manifest.finish(outputs=[folder / "metrics.json", folder / "pairs.csv"])
    return folder


def _evaluate_controls(folder: Path, config: RunConfig) -> None:
    """The run "controls": judges, R, copy and target control, with its own config and manifest."""
    with write_atomic(folder / "config.json") as file:
        file.write(to_json(config))
    faces = load_faces(config.data)
    parts = split_faces(faces, config.data)
    save_split(parts, faces, folder / "split.json")
    with Manifest.start(
        folder, config=config, data_hash=faces.data_hash(), split_hash=parts.hash, device=str(pick_device())
    ) as manifest:
        try:
            judges = load_judges(folder, faces, parts, config.evaluation)
        except UserError:  # none yet, or of other faces or settings
            judges = train_judges(faces, parts, config.evaluation, folder, seed=config.seed)
        evaluate_controls(faces, parts, judges, config.evaluation, folder)
    manifest.finish(outputs=[folder / "metrics.json", *sorted(folder.glob("*.safetensors"))])


def find_run(folder: Path | str) -> tuple[Path, RunConfig]:
    """The root and the configuration of a run folder, results/<family>/<preset>/<dataset>/<experiment>/seed<k>.

    `controls`, which nothing trains, need not be there yet.

    Raises:
        UserError: it is none.
    """
    folder = Path(folder).resolve()
    unmade = re.search(r"/results/\w+/(\w+)/(\w+)/controls/seed(\d+)$", folder.as_posix())
    if unmade and not (folder / "config.json").exists():
        config = run_config(unmade[1], unmade[2], "controls", int(unmade[3]))
    else:
        config = read_config(folder)
    expected = run_folder(Path(), config.preset, config.data.dataset, config.experiment, config.seed)
    if folder.parts[-len(expected.parts) :] != expected.parts:
        raise UserError(f"{folder} is a run that was moved: it must lie under {expected} of some folder")
    return folder.parents[len(expected.parts) - 1], config
