"""From an experiment's name to a run folder, and back to a generator."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_faces

from efgan.config import PRESETS
from efgan.editing.editor import load_editor
from efgan.errors import UserError
from efgan.training import run as run_module
from efgan.training.run import load_run, read_config, train_run


@pytest.fixture
def train(tmp_path, monkeypatch, tiny_model, tiny_train):
    """`train_run` on random faces with tiny networks."""
    monkeypatch.setattr(run_module, "load_faces", lambda config: make_faces(people=8))
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], model=tiny_model, train=tiny_train))

    def call(experiment: str):
        return train_run(root=tmp_path, preset="smoke", dataset="synthetic_rafd", experiment=experiment, seed=0)

    return call


def test_a_run_folder_is_complete(train):
    """Config, manifest with hashes, split, history and weights; no checkpoint is left."""
    folder = train("local_focus")
    assert folder.parts[-6:] == ("results", "synthetic", "smoke", "synthetic_rafd", "local_focus", "seed0")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["notes"]["iterations"] == 6
    assert manifest["notes"]["images_seen"] == 6 * 2 * 2
    assert set(manifest["outputs"]) == {"weights.safetensors", "history.jsonl"}
    assert manifest["data_hash"] and manifest["split_hash"] == json.loads((folder / "split.json").read_text())["hash"]
    assert not (folder / "checkpoint.safetensors").exists()


def test_a_finished_run_is_not_repeated(train, monkeypatch):
    """The same call again touches nothing."""
    folder = train("baseline")
    monkeypatch.setattr(run_module, "load_faces", lambda config: pytest.fail("trained again"))
    assert train("baseline") == folder


def test_another_config_starts_anew(train, tiny_train, monkeypatch):
    """Weights of other settings are not taken for this run's."""
    train("baseline")
    longer = replace(PRESETS["smoke"], train=replace(tiny_train, iterations=8))
    monkeypatch.setitem(PRESETS, "smoke", longer)
    folder = train("baseline")
    last = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
    assert last["iteration"] == 8


def test_a_failed_run_says_so(train, monkeypatch, tmp_path):
    """The manifest keeps the error; the exception goes on."""

    def fail(trainer):
        raise OSError("disk full")

    monkeypatch.setattr(run_module.Trainer, "run", fail)
    with pytest.raises(OSError, match="disk full"):
        train("baseline")
    (path,) = tmp_path.rglob("manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["status"] == "failed" and "disk full" in manifest["error"]


def test_a_cascade_starts_from_the_single_run(train):
    """Without it the error names the command; with it every stage starts from its weights."""
    with pytest.raises(UserError, match="efgan train local_focus --preset smoke --dataset synthetic_rafd --seed 0"):
        train("cascade_ef_gan")
    train("local_focus")
    folder = train("cascade_ef_gan")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["inputs"]) == 2
    assert len(load_run(folder).generator.stages) == 2


def test_controls_train_no_generator(train):
    """The table's row without a network is refused with a reason."""
    with pytest.raises(UserError, match="trains no generator"):
        train("controls")


def test_weights_read_back_equal(train):
    """A loaded run gives the moving average's pictures and the stored focus boxes."""
    folder = train("local_focus")
    first, second = load_run(folder), load_run(folder)
    images, aus = torch.rand(2, 3, 64, 64), torch.rand(2, 17)
    assert torch.equal(first.generator(images, aus, aus).image, second.generator(images, aus, aus).image)
    assert first.generator.transformer.focus.boxes == {r: tuple(b) for r, b in first.state["boxes"].items()}


def test_no_run_folder_is_one_clear_line(tmp_path):
    """A wrong path says what a run folder is."""
    with pytest.raises(UserError, match="is no run folder"):
        read_config(tmp_path)


@pytest.fixture
def editor(train):
    train("local_focus")
    return load_editor(train("cascade_ef_gan"))


def test_editor_edits_by_name(editor):
    """`edit(image, AU12=3)` sets one AU, keeps the others and returns stages and attention."""
    image = np.full((64, 64, 3), 128, np.uint8)
    own = np.linspace(0, 5, 17, dtype=np.float32)
    edited = editor.edit(image, source_aus=own, AU12=3)
    assert edited.image.shape == (64, 64, 3) and edited.image.dtype == np.uint8
    assert len(edited.stages) == 2 and np.array_equal(edited.stages[-1], edited.image)
    assert set(edited.attention) == {"global", "eyes", "nose", "mouth"}
    assert edited.target_aus["AU12"] == 3 and edited.target_aus["AU45"] == 5


def test_editor_adds_relative_values(editor):
    """Relative values add to the face's own and stop at the scale's ends."""
    image, own = np.zeros((64, 64, 3), np.uint8), np.full(17, 4.0, np.float32)
    edited = editor.edit(image, source_aus=own, relative=True, AU12=3, AU01=-5)
    assert edited.target_aus["AU12"] == 5 and edited.target_aus["AU01"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"AU99": 1}, "unknown Action Unit 'AU99'"), ({"AU12": 7}, "AU12=7 is out of range: intensities are 0 to 5")],
)
def test_editor_explains_bad_requests(editor, arguments, message):
    """Unknown names and values out of range."""
    with pytest.raises(UserError, match=message):
        editor.edit(np.zeros((64, 64, 3), np.uint8), **arguments)


def test_editor_refuses_other_sizes(editor):
    """The model's size is named."""
    with pytest.raises(UserError, match="N×3×64×64"):
        editor.edit_batch(torch.zeros(1, 3, 128, 128), torch.zeros(1, 17), torch.zeros(1, 17))


def test_batches_do_not_change_the_edit(editor):
    """Five faces in batches of two equal five at once."""
    images, source, target = torch.rand(5, 3, 64, 64) * 2 - 1, torch.rand(5, 17), torch.rand(5, 17)
    whole = editor.edit_batch(images, source, target)
    parts = editor.edit_batch(images, source, target, batch_size=2)
    torch.testing.assert_close(parts.image, whole.image, atol=1e-5, rtol=1e-4)
    assert parts.stage_aus.shape == (5, 2, 17) and parts.local_edits["eyes"].attention.shape[0] == 5


def test_continuous_ends_at_the_target(editor):
    """The last picture of the sequence is the plain edit (paper 4.5)."""
    image, source, target = torch.rand(3, 64, 64) * 2 - 1, torch.rand(17), torch.rand(17)
    sequence = editor.continuous(image, source, target, [0.25, 0.5, 1.0])
    edit = editor.edit_batch(image[None], source[None], target[None]).image[0]
    torch.testing.assert_close(sequence[-1], edit, atol=1e-5, rtol=1e-4)
