"""From an experiment's name to a run folder, and back to a generator."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_faces

from efgan.config import PRESETS, to_json
from efgan.data.action_units import AU_NAMES
from efgan.editing.editor import load_editor
from efgan.errors import UserError
from efgan.experiments import read_config
from efgan.training import run as run_module
from efgan.training.checkpoint import load_tensors, save_tensors
from efgan.training.run import load_run, starting_dataset, train_run


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


def test_a_cascade_learns_from_photos_without_labels(train, monkeypatch):
    """Where no face has a class, the Interpolator learns the AUs of all of them."""
    taught = []
    faces = make_faces(people=5)
    faces = replace(faces, expression=torch.full_like(faces.expression, -1))
    monkeypatch.setattr(run_module, "load_faces", lambda config: faces)
    monkeypatch.setattr(run_module, "train_interpolator", lambda net, aus, *_: taught.append(len(aus)) or {})
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: (self.folder / "history.jsonl").touch())
    train("local_focus")
    train("cascade_ef_gan")
    assert taught == [32]


def test_a_finished_run_is_not_repeated(train, monkeypatch):
    """The same call again touches nothing, whatever the machine."""
    folder = train("baseline")
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: pytest.fail("trained again"))
    monkeypatch.setattr(run_module, "require_usable_gpu", lambda: pytest.fail("it needs no GPU"))
    assert train("baseline") == folder


def test_nothing_is_trained_where_torch_cannot_use_the_gpu(train, monkeypatch):
    """The user is told before the first iteration."""
    monkeypatch.setattr("efgan.training.precision.visible_gpus", lambda: ["0"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: pytest.fail("trained"))
    with pytest.raises(UserError, match="efgan doctor"):
        train("baseline")


def test_another_config_starts_anew(train, tiny_train, monkeypatch):
    """Work of other settings is set aside whole, not deleted and not taken for this run's."""
    (train("baseline") / "metrics.json").write_text("{}")
    longer = replace(PRESETS["smoke"], train=replace(tiny_train, iterations=8))
    monkeypatch.setitem(PRESETS, "smoke", longer)
    with pytest.warns(UserWarning, match="previous1"):
        folder = train("baseline")
    last = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
    assert last["iteration"] == 8 and not (folder / "metrics.json").exists()
    assert {"weights.safetensors", "metrics.json"} <= {p.name for p in folder.with_name("seed0.previous1").iterdir()}


def test_photos_may_be_moved(train, tmp_path, monkeypatch):
    """The same faces under another DATA_ROOT: nothing is trained again."""
    folder = train("baseline")
    config = read_config(folder)
    (folder / "config.json").write_text(to_json(replace(config, data=replace(config.data, data_root="/old/place"))))
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: pytest.fail("trained again"))
    assert train("baseline") == folder and read_config(folder) == config


def test_other_faces_start_anew(train, monkeypatch):
    """Weights learnt from other pictures are set aside."""
    train("baseline")
    monkeypatch.setattr(run_module, "load_faces", lambda config: make_faces(people=9))
    with pytest.warns(UserWarning, match="previous1"):
        train("baseline")


def test_evaluation_settings_keep_the_training(train, monkeypatch):
    """Only how a run is evaluated changed: config.json follows, the weights stay."""
    folder = train("baseline")
    before = (folder / "weights.safetensors").stat().st_mtime_ns
    changed = replace(PRESETS["smoke"], evaluation=replace(PRESETS["smoke"].evaluation, classifier_epochs=3))
    monkeypatch.setitem(PRESETS, "smoke", changed)
    train("baseline")
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before
    assert read_config(folder).evaluation.classifier_epochs == 3


def test_a_cascades_settings_keep_the_single_stages(train, tiny_train, monkeypatch):
    """Only how cascades are fine-tuned changed: they are trained again, the single stage they start from is not."""
    before = (train("baseline") / "weights.safetensors").stat().st_mtime_ns
    train("cascade")
    loss = replace(tiny_train.cascade_loss, lambda_cont=3.0)
    changed = replace(tiny_train, cascade_iterations=3, interpolator_iterations=4, cascade_loss=loss)
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], train=changed))
    folder = train("baseline")
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before
    assert read_config(folder).train == changed
    with pytest.warns(UserWarning, match="previous1"):
        cascade = train("cascade")
    assert json.loads((cascade / "history.jsonl").read_text().splitlines()[-1])["iteration"] == 3


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
    with pytest.raises(UserError, match="efgan train local_focus --preset smoke --dataset synthetic_rafd"):
        train("cascade_ef_gan")
    train("local_focus")
    folder = train("cascade_ef_gan")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["inputs"]) == 2 and "wasserstein_gap" in manifest["notes"]["interpolator"]
    assert len(load_run(folder).generator.stages) == 2


def test_a_missing_start_is_told_before_faces_are_rendered(train, monkeypatch):
    """That takes minutes."""
    monkeypatch.setattr(run_module, "load_faces", lambda config: pytest.fail("rendered"))
    with pytest.raises(UserError, match="starts from a trained local_focus"):
        train("cascade_ef_gan")


def test_every_stage_starts_from_the_single_weights(train, monkeypatch):
    """Before any update all stages and the critic equal the trained single stage (paper 3.3)."""
    start = train("local_focus")
    single = load_run(start).generator.state_dict()
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: self._history.write_text(""))
    folder = train("cascade_ef_gan")
    for stage in load_run(folder).generator.stages:
        assert all(torch.equal(value, single[name]) for name, value in stage.state_dict().items())
    before, after = (load_tensors(place / "critic.safetensors")[0] for place in (start, folder))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_single_stages_and_cascades_have_schedules_of_their_own(train, tiny_train, monkeypatch):
    """Length, batch size, learning rate and the critic's warm-up, which a cascade's critic has had."""
    schedule = replace(tiny_train, batch_size=3, cascade_batch_size=2, cascade_lr_factor=0.25, critic_warmup=5)
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], train=schedule))
    trainers = []
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: trainers.append(self) or self._history.write_text(""))
    train("local_focus")
    train("cascade_ef_gan")
    found = [(t.iterations, t.sampler.batch_size, t.learning_rate, t.critic_warmup) for t in trainers]
    assert found == [(6, 3, 1e-4, 5), (4, 2, 0.25e-4, 0)]
    assert trainers[0].seconds == 0 < trainers[1].seconds, "the Interpolator's training counts"


def test_focus_boxes_know_no_test_face(train, tmp_path, monkeypatch):
    """They are the average positions of training faces: moving the landmarks of test faces moves nothing."""
    faces = make_faces(people=8)
    folder = train("local_focus")
    tested = [faces.names.index(name) for name in json.loads((folder / "split.json").read_text())["test"]]
    moved = faces.landmarks.clone()
    moved[tested] = 0
    monkeypatch.setattr(run_module, "load_faces", lambda config: replace(faces, landmarks=moved))
    with pytest.warns(UserWarning, match="previous1"):
        again = train("local_focus")
    assert load_run(again).state["boxes"] == load_run(again.with_name("seed0.previous1")).state["boxes"]


def test_a_cascade_follows_its_single_run(train):
    """When the single run was trained anew, the cascade is too."""
    shutil.rmtree(train("local_focus"))
    train("local_focus")
    folder = train("cascade_ef_gan")
    single = folder.parents[1] / "local_focus" / "seed0" / "weights.safetensors"
    tensors, state = load_tensors(single)
    save_tensors(single, {name: value + 0.01 for name, value in tensors.items()}, state)
    with pytest.warns(UserWarning, match="initial weights"):
        train("cascade_ef_gan")


def test_a_cascade_refuses_a_start_from_another_split(train, tmp_path):
    """A single stage that has seen the test people is no start."""
    train_run(root=tmp_path, preset="smoke", dataset="synthetic_rafd", experiment="local_focus", seed=0, split="image")
    with pytest.raises(UserError, match="another split"):
        train("cascade_ef_gan")


def test_a_cascade_refuses_a_start_on_other_faces(train, monkeypatch):
    """One photo more changes who is tested: the single stage may have learnt from them."""
    train("local_focus")
    monkeypatch.setattr(run_module, "load_faces", lambda config: make_faces(people=9))
    with pytest.raises(UserError, match=r"trained on other faces.*efgan train .*local_focus"):
        train("cascade_ef_gan")


def test_a_cascade_refuses_a_start_without_a_record(train):
    """Nobody knows which faces it has seen."""
    (train("local_focus") / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no manifest.json.*efgan train .*local_focus"):
        train("cascade_ef_gan")


def test_a_run_that_died_after_its_weights_ends_properly(train, monkeypatch):
    """Killed before its manifest said so, it goes on from its last checkpoint, to the same weights."""
    with monkeypatch.context() as patched:
        patched.setattr(run_module.Manifest, "finish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train("local_focus")
    folder = train("local_focus")
    assert json.loads((folder / "manifest.json").read_text())["status"] == "finished"
    assert not (folder / "checkpoint.safetensors").exists()


def test_an_interrupted_cascade_keeps_the_record_of_its_interpolator(train, monkeypatch):
    """It was trained before the checkpoint. What a killed process had half written is gone."""
    left_over = train("local_focus").parents[1] / "cascade_ef_gan/seed0/.checkpoint.safetensors.1.tmp"
    step = run_module.Trainer.step
    with monkeypatch.context() as patched:
        patched.setattr(run_module.Trainer, "step", lambda self: step(self) if self.iteration < 3 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train("cascade_ef_gan")
    left_over.touch()
    begun = json.loads((left_over.parent / "manifest.json").read_text())
    folder = train("cascade_ef_gan")
    assert not left_over.exists()
    notes = json.loads((folder / "manifest.json").read_text())["notes"]
    assert "wasserstein_gap" in notes["interpolator"]
    assert notes["resumed_from"] == [{name: begun[name] for name in ("started", "git", "device", "environment")}]


def test_a_cascade_refuses_a_start_of_other_settings(train, tiny_train, monkeypatch):
    """A single stage that was trained for longer or shorter than the preset says is no start."""
    train("baseline")
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], train=replace(tiny_train, iterations=8)))
    with pytest.raises(UserError, match="other settings"):
        train("cascade")


def test_controls_train_no_generator(train):
    """The table's row without a network is refused with a reason."""
    with pytest.raises(UserError, match="trains no generator"):
        train("controls")


def test_weights_read_back_equal(train, monkeypatch):
    """A loaded run is the moving average that was trained, with its focus boxes."""
    averages = []
    run = run_module.Trainer.run
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: (run(self), averages.append(self.ema)))
    first = load_run(train("local_focus"))
    for name, value in averages[0].state_dict().items():
        assert torch.equal(value, first.generator.state_dict()[name])
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
    tensor, source = torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(own)[None] / 5
    target = source.clone()
    target[0, AU_NAMES.index("AU12")] = 0.6
    stages = editor.edit_batch(tensor, source, target).stages
    assert list(edited.attention) == ["global", "eyes", "nose", "mouth"]
    for branch, attention in edited.attention.items():  # the larger of both stages
        both = torch.stack([stage.branches[branch].attention[0, 0] for stage in stages])
        torch.testing.assert_close(torch.from_numpy(attention), both.amax(0))
    assert edited.target_aus["AU12"] == 3 and edited.target_aus["AU45"] == 5


def test_editor_adds_relative_values(editor):
    """Relative values add to the face's own and stop at the scale's ends."""
    image, own = np.zeros((64, 64, 3), np.uint8), np.full(17, 4.0, np.float32)
    edited = editor.edit(image, source_aus=own, relative=True, AU12=3, AU01=-5)
    assert edited.target_aus["AU12"] == 5 and edited.target_aus["AU01"] == 0


def test_measured_intensities_beyond_the_scale_stop_at_its_end(editor):
    """OpenFace now and then writes more than 5."""
    image, own = np.full((64, 64, 3), 90, np.uint8), np.full(17, 5.0, np.float32)
    beyond, at_the_end = (editor.edit(image, source_aus=aus, AU12=1) for aus in (own + 2, own))
    assert (beyond.image == at_the_end.image).all() and beyond.target_aus["AU45"] == 5


@pytest.mark.parametrize("relative", [False, True])
def test_the_global_branch_alone_is_given_what_it_learnt_from(train, tiny_model, monkeypatch, relative):
    """The target, or the change between the AUs: as in the whole model."""
    model = replace(tiny_model, relative_aus=relative)
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], model=model))
    editor = load_editor(train("local_focus"))
    image, source, target = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 17), torch.rand(2, 17)
    found = editor.edit_batch(image, source, target, local_branches=False).image
    torch.testing.assert_close(found, editor.edit_batch(image, source, target).global_edit.image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"AU99": 1}, "unknown Action Unit 'AU99'"),
        ({"AU12": 7}, "AU12=7 is out of range: 0 to 5"),
        ({"AU12": 6, "relative": True}, "AU12=6 is out of range: -5 to 5"),
    ],
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
    assert parts.stage_aus.shape == (5, 2, 17) and parts.stages[1].local_edits["eyes"].attention.shape[0] == 5


def test_continuous_ends_at_the_target(editor):
    """The last picture of the sequence is the plain edit (paper 4.5)."""
    image, source, target = torch.rand(3, 64, 64) * 2 - 1, torch.rand(17), torch.rand(17)
    sequence = editor.continuous(image, source, target, [0.25, 0.5, 1.0])
    edit = editor.edit_batch(image[None], source[None], target[None]).image[0]
    torch.testing.assert_close(sequence[-1], edit, atol=1e-5, rtol=1e-4)


@pytest.fixture
def train_wild(tmp_path, monkeypatch, tiny_model, tiny_train):
    """`train_run` on the joined and wild sets, random faces and tiny networks."""
    monkeypatch.setattr(run_module, "load_faces", lambda config: make_faces(people=8))
    monkeypatch.setitem(PRESETS, "smoke", replace(PRESETS["smoke"], model=tiny_model, train=tiny_train))

    def call(experiment: str, dataset: str, split: str | None = None):
        return train_run(root=tmp_path, preset="smoke", dataset=dataset, experiment=experiment, seed=0, split=split)

    return call


@pytest.fixture
def joint(train_wild, monkeypatch):
    """A cascade on both sets, with the weights it was made with."""
    with monkeypatch.context() as patch:
        patch.setattr(run_module.Trainer, "run", lambda self: (self.folder / "history.jsonl").touch())
        train_wild("local_focus", "synthetic_joint")
        return train_wild("cascade_ef_gan", "synthetic_joint")


def test_wild_fine_tuning_needs_the_cascade_on_both_sets(train_wild):
    """The command that makes it is named."""
    with pytest.raises(
        UserError, match="efgan train cascade_ef_gan --preset smoke --dataset synthetic_joint --split identity --seed 0"
    ):
        train_wild("cascade_ef_gan_wild", "synthetic_wild")


def test_wild_fine_tuning_goes_on_from_the_cascade_on_both_sets(train_wild, joint, monkeypatch):
    """Paper 4.5: the whole network comes from the joint run, its Interpolator is kept, and the result is a cascade."""
    monkeypatch.setattr(run_module, "train_interpolator", lambda *_: pytest.fail("the Interpolator was taught again"))
    monkeypatch.setattr(run_module.Trainer, "run", lambda self: (self.folder / "history.jsonl").touch())
    wild = train_wild("cascade_ef_gan_wild", "synthetic_wild")
    assert wild.parts[-3:] == ("synthetic_wild", "cascade_ef_gan_wild", "seed0")
    for name in ("weights.safetensors", "critic.safetensors"):
        before, after = (load_tensors(folder / name)[0] for folder in (joint, wild))
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert load_editor(wild).num_stages == 2


def test_wild_fine_tuning_refuses_a_start_that_knows_its_test_people(train_wild, joint):
    """The embedded wild faces show the people of the joined sets: both are split alike."""
    with pytest.raises(UserError, match=r"another split.*--dataset synthetic_joint --split image"):
        train_wild("cascade_ef_gan_wild", "synthetic_wild", split="image")


def test_wild_fine_tuning_trains_the_stages(train_wild, joint):
    """A few iterations move their weights, not the Interpolator's; photos of one's own may start from our faces."""
    wild = train_wild("cascade_ef_gan_wild", "folder")
    before, after = (load_tensors(folder / "weights.safetensors")[0] for folder in (joint, wild))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any("interpolator" in name for name in moved)
    assert (starting_dataset(wild), starting_dataset(joint)) == ("synthetic_joint", "synthetic_joint")


def test_the_wild_experiment_is_for_wild_images_only(train_wild):
    """The laboratory sets are refused, with the names that are accepted."""
    with pytest.raises(UserError, match="wild data: synthetic_wild, affectnet, folder"):
        train_wild("cascade_ef_gan_wild", "synthetic_rafd")
