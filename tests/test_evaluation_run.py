"""From an experiment's name to its metrics: what must be there first, and what a run of `controls` leaves."""

import json
from dataclasses import asdict, replace

import pytest
from conftest import make_faces

from efgan.config import PRESETS
from efgan.errors import UserError
from efgan.evaluation import run as run_module
from efgan.evaluation.run import evaluate_experiment, find_run
from efgan.experiments import run_folder
from efgan.training import run as training
from efgan.training.run import train_run

NAMES = {"preset": "smoke", "dataset": "synthetic_rafd", "seed": 0}


@pytest.fixture
def root(tmp_path, monkeypatch, tiny_model, tiny_train):
    """A folder for results, random faces and tiny networks."""
    for module in (training, run_module):
        monkeypatch.setattr(module, "load_faces", lambda config: make_faces(people=8))
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], model=tiny_model, train=tiny_train))
    return tmp_path


@pytest.fixture
def quick_controls(monkeypatch):
    """`controls` without its classifiers: they have tests of their own."""
    monkeypatch.setattr(run_module, "train_judges", lambda *_, **__: "judges")

    def evaluate(faces, split, judges, config, folder):
        (folder / "metrics.json").write_text(json.dumps({"judges": judges}))

    monkeypatch.setattr(run_module, "evaluate_controls", evaluate)


def test_an_untrained_run_is_refused(root):
    """One clear error names the folder."""
    with pytest.raises(UserError, match="is no run folder"):
        evaluate_experiment(root=root, experiment="baseline", **NAMES)


def test_controls_come_first(root):
    """Without judges a trained run cannot be measured; the message says what to run."""
    train_run(root=root, experiment="baseline", **NAMES)
    with pytest.raises(UserError, match=r"run `efgan evaluate .*/controls/seed0 --split identity`"):
        evaluate_experiment(root=root, experiment="baseline", **NAMES)


def test_a_run_is_not_measured_on_another_split_than_its_own(root):
    """Its test faces would be training faces."""
    train_run(root=root, experiment="baseline", **NAMES)
    with pytest.raises(UserError, match="was trained on the identity split, not on image"):
        evaluate_experiment(root=root, experiment="baseline", split="image", **NAMES)


def test_controls_are_asked_for_on_the_runs_own_split(root):
    """Others would be refused, and asked for again."""
    train_run(root=root, experiment="baseline", split="image", **NAMES)
    with pytest.raises(UserError, match=r"run `efgan evaluate .*/controls/seed0 --split image`"):
        evaluate_experiment(root=root, experiment="baseline", **NAMES)


def test_a_run_is_measured_on_the_faces_it_was_trained_on(root, monkeypatch):
    """Other pictures, or another split of the same: its test faces may be training faces."""
    folder = train_run(root=root, experiment="baseline", **NAMES)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"split_hash": "another"}))
    with pytest.raises(UserError, match="another split of them: train it again with `efgan train baseline"):
        evaluate_experiment(root=root, experiment="baseline", **NAMES)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(run_module, "load_faces", lambda config: make_faces(people=9))
    with pytest.raises(UserError, match="trained on other faces"):
        evaluate_experiment(root=root, experiment="baseline", **NAMES)


def test_photos_may_have_been_moved_since_the_training(root, monkeypatch):
    """They are looked for where the caller says; the record is of what was evaluated, on the run's own split."""
    folder = train_run(root=root, experiment="baseline", split="image", **NAMES)
    asked = []
    monkeypatch.setattr(run_module, "load_faces", lambda config: asked.append(config) or make_faces(people=8))
    monkeypatch.setattr(run_module, "load_judges", lambda *_, **__: None)

    def evaluate(*given):
        for name in ("metrics.json", "pairs.csv"):
            (folder / name).touch()

    monkeypatch.setattr(run_module, "evaluate_run", evaluate)
    evaluate_experiment(root=root, experiment="baseline", data_root="/new", **NAMES)
    recorded = json.loads((folder / "evaluation.manifest.json").read_text())["config"]["data"]
    for found in (asdict(asked[0]), recorded):
        assert (found["data_root"], found["split"]) == ("/new", "image")


def test_controls_leave_config_and_manifest(root, quick_controls):
    """Like a training: the record is there before and after."""
    folder = evaluate_experiment(root=root, experiment="controls", **NAMES)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["outputs"].keys() == {"metrics.json"}
    assert json.loads((folder / "config.json").read_text())["experiment"] == "controls"


def test_failed_controls_say_so(root, quick_controls, monkeypatch):
    """The manifest keeps the error; the exception goes on."""
    monkeypatch.setattr(run_module, "evaluate_controls", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate_experiment(root=root, experiment="controls", **NAMES)
    folder = run_folder(root, experiment="controls", **NAMES)
    assert json.loads((folder / "manifest.json").read_text())["status"] == "failed"


def test_a_run_folder_tells_its_root_and_configuration(root):
    """That is all `efgan evaluate RUN` is given."""
    folder = train_run(root=root, experiment="baseline", **NAMES)
    found, config = find_run(folder)
    assert found == root and config.experiment == "baseline"


def test_controls_need_not_be_there_to_be_made(tmp_path):
    """Their folder's name says all, so every message that asks for them is a command that makes them."""
    found, config = find_run(run_folder(tmp_path, "slim", "synthetic_cfeed", "controls", 2))
    assert (found, config.preset, config.data.dataset, config.experiment, config.seed) == (
        tmp_path, "slim", "synthetic_cfeed", "controls", 2)  # fmt: skip


def test_a_moved_run_is_refused(root, tmp_path):
    """Its judges would be looked for in the wrong place."""
    train_run(root=root, experiment="baseline", **NAMES).rename(tmp_path / "mine")
    with pytest.raises(UserError, match="a run that was moved"):
        find_run(tmp_path / "mine")
