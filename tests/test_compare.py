"""Two sets of results agree when every number behind an exhibit does, within stated tolerances."""

import json
import shutil

import pytest
from click.testing import CliRunner

from efgan.cli import main
from efgan.errors import UserError
from efgan.exhibits.compare import compare_results, differing_settings, same_preset
from efgan.paper import EXHIBITS


def write_results(folder, preset="mini", **changes):
    """Records of all runs of an embedded set, the same numbers everywhere but for `changes` of Cascade EF-GAN."""
    for dataset in ("synthetic_rafd", "synthetic_cfeed"):
        for experiment in ("controls", "stargan", "ganimation", "baseline", "local_focus", "cascade", "cascade_ef_gan"):
            numbers = {"accuracy_G": 0.7, "accuracy_RG": 0.9, "psnr": 29.0, "fd": 30.0, "fd_extractor": "net"}
            numbers |= changes if experiment == "cascade_ef_gan" else {}
            run = folder / preset / dataset / experiment / "seed0"
            run.mkdir(parents=True)
            (run / "metrics.json").write_text(json.dumps({"accuracy_R": 0.95} if experiment == "controls" else numbers))
    return folder


def test_equal_results_agree_in_every_exhibit(tmp_path):
    """All of Figures 1-8 and Tables 1-3 are compared."""
    first, second = write_results(tmp_path / "a"), write_results(tmp_path / "b")
    compared = compare_results(first, second)
    assert set(compared) == set(EXHIBITS)
    assert all(difference.agrees for differences in compared.values() for difference in differences)


@pytest.mark.parametrize(("changes", "agrees"), [
    ({"accuracy_G": 0.79}, True), ({"accuracy_G": 0.59}, False), ({"psnr": 29.9}, True), ({"psnr": 27.9}, False),
    ({"fd": 39.0}, True), ({"fd": 45.0}, False), ({"accuracy_G": None}, False), ({"fd_extractor": "other"}, False),
])  # fmt: skip
def test_a_number_beyond_its_tolerance_disagrees(tmp_path, changes, agrees):
    """G by 0.10, PSNR by 1 dB, distances by a quarter; a missing number or another extractor never agrees."""
    compared = compare_results(write_results(tmp_path / "a"), write_results(tmp_path / "b", **changes))
    for name, differences in compared.items():
        shown = any(experiment == "cascade_ef_gan" for _, experiment in EXHIBITS[name].runs)
        assert all(d.agrees for d in differences) is (agrees or not shown), name


def test_only_common_datasets_are_compared(tmp_path):
    """What is shipped holds one set; a whole batch agrees with it."""
    first, second = write_results(tmp_path / "a"), write_results(tmp_path / "b")
    shutil.rmtree(first / "mini" / "synthetic_cfeed")
    compared = compare_results(first, second)
    assert all(difference.agrees for differences in compared.values() for difference in differences)
    assert not any("cfeed" in d.what for differences in compared.values() for d in differences)
    (second / "mini" / "synthetic_rafd").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="no dataset in common"):
        compare_results(first, second)


def test_other_settings_are_named(tmp_path):
    """Numbers of a longer training are no repetition; where photos lie is no setting."""
    first, second = write_results(tmp_path / "a"), write_results(tmp_path / "b")
    for folder, iterations, root in ((first, 700, None), (second, 3000, "elsewhere")):
        config = {"seed": 0, "data": {"dataset": "synthetic_rafd", "data_root": root},
                  "train": {"loss": {"lambda_cont": 10.0}, "iterations": iterations}}  # fmt: skip
        for experiment in ("stargan", "baseline"):
            path = folder / "mini" / "synthetic_rafd" / experiment / "seed0" / "config.json"
            path.write_text(json.dumps(config))
    assert differing_settings(first, second) == ["train.iterations: 700 against 3000 (2 runs)"]
    result = CliRunner().invoke(main, ["compare", str(first), str(second)])
    assert "other settings: train.iterations: 700 against 3000 (2 runs)" in result.output and result.exit_code == 0
    assert differing_settings(first, first) == []


def test_seeds_are_averaged(tmp_path):
    """0.5 and 0.9 over two seeds agree with 0.7."""
    first, second = write_results(tmp_path / "a"), write_results(tmp_path / "b", accuracy_G=0.5)
    run = second / "mini/synthetic_rafd/cascade_ef_gan/seed1"
    run.mkdir()
    run.joinpath("metrics.json").write_text('{"accuracy_G": 0.9}')
    found = [d for d in compare_results(first, second)["table_3"] if d.what == "Cascade EF-GAN on synthetic_rafd, G"]
    assert found[0].agrees and found[0].second == pytest.approx(0.7)


def test_of_several_presets_the_common_one_is_compared(tmp_path):
    """What is shipped holds more than one; so `efgan compare results/reference MY_RUN` needs no more words."""
    shipped = tmp_path / "shipped"
    write_results(write_results(shipped / "synthetic"), preset="long", psnr=20.0)
    mine = write_results(tmp_path / "mine" / "synthetic", preset="long", psnr=20.0)
    assert same_preset(shipped, mine) == (shipped / "synthetic" / "long", mine)
    one_set = mine / "long" / "synthetic_rafd"
    assert same_preset(shipped, one_set) == (shipped / "synthetic" / "long", one_set)
    assert same_preset(mine, one_set) == (mine, one_set)
    result = CliRunner().invoke(main, ["compare", str(shipped), str(mine)])
    assert result.exit_code == 0 and result.output.count(": agrees") == len(EXHIBITS)


def test_bad_folders_are_refused_in_words(tmp_path):
    """No run, two presets, a damaged record."""
    good = write_results(tmp_path / "good")
    with pytest.raises(UserError, match="holds no evaluated run"):
        compare_results(good, tmp_path / "nothing")
    both = write_results(write_results(tmp_path / "both"), preset="long")
    with pytest.raises(UserError, match="several presets"):
        compare_results(good, both)
    bad = write_results(tmp_path / "bad")
    (bad / "mini/synthetic_rafd/baseline/seed0/metrics.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        compare_results(good, bad)
    for folder in (good, bad):
        (folder / "mini/synthetic_rafd/baseline/seed0/config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        differing_settings(good, bad)


def test_the_command_speaks_exhibit_by_exhibit_and_fails_on_a_difference(tmp_path):
    """One line per exhibit, the differences below it; exit code 1."""
    first, second = write_results(tmp_path / "a"), write_results(tmp_path / "b", psnr=20.0)
    same = CliRunner().invoke(main, ["compare", str(first), str(first)])
    assert same.exit_code == 0 and same.output.count(": agrees") == len(EXHIBITS)
    other = CliRunner().invoke(main, ["compare", str(first), str(second)])
    assert other.exit_code == 1
    assert "Cascade EF-GAN on synthetic_cfeed, PSNR: 29 against 20, tolerance 1" in other.output
