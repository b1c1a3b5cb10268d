"""Configs check themselves and survive the way to disk."""

import json

import pytest

from efgan.config import PRESETS, DataConfig, EvalConfig, ModelConfig, RunConfig, TrainConfig, from_json, to_json
from efgan.errors import UserError
from efgan.experiments import EXPERIMENTS, pretraining_config, pretraining_datasets, run_config


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json(preset):
    """What is written before a run reads back equal."""
    config = run_config(preset, "synthetic_rafd", "cascade_ef_gan", 0)
    assert from_json(RunConfig, to_json(config)) == config


@pytest.mark.parametrize("change", [{"extra": 1}, {"seed": None, "preset": None}])
def test_other_versions_are_refused(change):
    """Unknown and missing fields are named with the remedy."""
    values = json.loads(to_json(run_config("smoke", "synthetic_rafd", "baseline", 0)))
    values.update(change)
    values = {k: v for k, v in values.items() if v is not None}
    with pytest.raises(UserError, match=r"another version.*delete"):
        from_json(RunConfig, json.dumps(values))


def test_damaged_json_is_refused():
    """A truncated config.json is one clear line."""
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        from_json(RunConfig, '{"preset": "mi', "config.json")


@pytest.mark.parametrize(
    ("kind", "values", "accepted"),
    [
        (DataConfig, {"image_size": 100}, "multiple of 32"),
        (DataConfig, {"dataset": "celeba"}, "synthetic_rafd"),
        (DataConfig, {"split": "random"}, "identity, image"),
        (DataConfig, {"test_fraction": 1.5}, "between 0 and 1"),
        (ModelConfig, {"width": 0}, "positive"),
        (ModelConfig, {"critic_fine_layer": 0}, "positive"),
        (ModelConfig, {"refiner_start": "sum"}, "layers"),
        (TrainConfig, {"precision": "fp16"}, "bf16"),
        (EvalConfig, {"extractor": "vgg"}, "efficientnet-lite0"),
    ],
)
def test_bad_values_say_what_is_accepted(kind, values, accepted):
    """The line names the field, the value and what would do."""
    with pytest.raises(UserError, match=f"{next(iter(values))} = .*{accepted}"):
        kind(**values)


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        (("huge", "synthetic_rafd", "baseline"), "smoke, mini, long, paper, slim"),
        (("mini", "celeba", "baseline"), "synthetic_rafd"),
        (("mini", "synthetic_rafd", "pix2pix"), "stargan"),
        (("mini", "synthetic_cfeed", "baseline"), "rafd"),
    ],
)
def test_unknown_names_list_the_known(arguments, accepted):
    """Preset, dataset and experiment names, and experiments without a place on a dataset."""
    with pytest.raises(UserError, match=accepted):
        run_config(*arguments, 0)


def test_small_presets_share_their_recipe():
    """What README says of them: `smoke` runs what `mini`, `long` and `slim` run."""
    for preset in (PRESETS[name] for name in ("smoke", "mini", "long", "slim")):
        assert preset.model.relative_aus and preset.train.loss.cond_on_change and preset.train.loss.lambda_sens_final


def test_cascades_keep_the_final_label_sensitivity():
    """A cascade's critic goes on from its single stage's, in every preset."""
    for train in (preset.train for preset in PRESETS.values()):
        cascade = train.cascade_loss
        assert cascade.lambda_sens == cascade.lambda_sens_final == train.loss.lambda_sens_final


def test_cascades_start_from_single_stage_runs():
    """Paper 3.3: first a single EF-GAN, then all stages from its weights."""
    assert EXPERIMENTS["cascade_ef_gan"].initialised_from == "local_focus"
    assert EXPERIMENTS["cascade"].initialised_from == "baseline"


def test_wild_fine_tuning_starts_from_both_sets():
    """Paper 4.5; who lacks RaFD and CFEED starts from the embedded faces."""
    assert EXPERIMENTS["cascade_ef_gan_wild"].initialised_from == "cascade_ef_gan"
    assert pretraining_datasets("synthetic_wild") == ("synthetic_joint",)
    assert pretraining_datasets("affectnet") == ("joint", "synthetic_joint")
    assert PRESETS["mini"].data("synthetic_joint").identities == 150


@pytest.mark.parametrize(("there", "dataset"), [(("rafd", "cfeed"), "joint"), (("rafd",), "synthetic_joint")])
def test_wild_fine_tuning_is_advised_to_start_from_the_papers_sets(tmp_path, there, dataset):
    """Where both are there; else from the embedded faces, which need no folder."""
    for name in ("affectnet", *there):
        (tmp_path / name).mkdir()
    wild = run_config("paper", "affectnet", "cascade_ef_gan_wild", 1, data_root=str(tmp_path))
    start = pretraining_config(wild)
    assert (start.data.dataset, start.experiment, start.seed) == (dataset, "cascade_ef_gan", 1)
    assert start.data.data_root == (str(tmp_path) if dataset == "joint" else None)


def test_split_defaults_by_family():
    """Unseen people on the embedded faces, the paper's image split on real ones."""
    assert PRESETS["mini"].data("synthetic_cfeed").split == "identity"
    assert PRESETS["paper"].data("rafd").split == "image"
    assert PRESETS["paper"].data("rafd", split="identity").split == "identity"
