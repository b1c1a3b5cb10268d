"""Tables 1-3: tidy CSV with our numbers only, the paper's in columns of their own wherever people read."""

import csv
import json
import math
from pathlib import Path

import pytest
from fake_results import write_results, write_run

from efgan.errors import UserError
from efgan.exhibits.runs import Runs
from efgan.exhibits.tables import build_table, table_1, table_2, table_3
from efgan.experiments import run_folder


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    write_results(tmp_path)
    return Runs(tmp_path, "synthetic", "smoke")


def read(runs: Runs, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((runs.results_folder / "tables" / f"{name}.csv").open()))


def test_table_1_is_tidy(runs: Runs) -> None:
    """The columns others rely on; one row per dataset and method, controls among them; per cent."""
    table_1(runs)
    rows = read(runs, "table_1")
    assert list(rows[0]) == ["dataset", "split", "method", "R", "G", "R+G"]
    methods = ["Copy control", "Target control", "StarGAN", "GANimation", "Cascade EF-GAN"]
    assert [(r["dataset"], r["method"]) for r in rows] == [
        (d, m) for d in ("synthetic_rafd", "synthetic_cfeed") for m in methods
    ]
    ours = rows[4]
    assert (ours["split"], ours["R"], ours["G"], ours["R+G"]) == ("identity", "95.00", "70.00", "90.00")
    assert (rows[0]["G"], rows[0]["R+G"]) == ("1.00", "")


def test_table_2_names_its_extractor(runs: Runs) -> None:
    """FD stands beside the features it was computed in; the target control's PSNR has no bound."""
    table_2(runs)
    rows = read(runs, "table_2")
    assert list(rows[0]) == ["dataset", "split", "method", "PSNR", "FD", "extractor", "KID"]
    assert {r["extractor"] for r in rows} == {"efficientnet-lite0"}
    assert math.isinf(float(rows[1]["PSNR"])) and rows[4]["PSNR"] == "20.70"


def test_table_3_holds_the_ablations_of_rafd_only(runs: Runs) -> None:
    """As the paper's: four methods on one dataset."""
    table_3(runs)
    rows = read(runs, "table_3")
    assert list(rows[0]) == ["dataset", "split", "method", "G", "R+G"]
    assert [r["method"] for r in rows[2:]] == ["Baseline", "Baseline + Local Focuses", "Baseline + Cascade",
                                               "Cascade EF-GAN"]  # fmt: skip
    assert {r["dataset"] for r in rows} == {"synthetic_rafd"}


def test_no_published_number_is_in_the_csv(runs: Runs) -> None:
    """The paper's numbers are joined for display only."""
    table = table_1(runs)
    assert "89.38" not in table.csv()
    assert all("89.38" in text for text in (table.markdown(), table.latex(), table.html()))


def test_published_numbers_stand_under_their_own_heading(runs: Runs) -> None:
    """Ours come first, then the paper's, never mixed."""
    table = build_table("table_1", runs)
    line = next(line for line in table.markdown().splitlines() if line.startswith("| Cascade EF-GAN"))
    assert [c.strip() for c in line.strip("|").split("|")] == [
        "Cascade EF-GAN", "95.00", "70.00", "90.00", "92.21", "89.38", "93.67", "6 + 4",
    ]  # fmt: skip
    assert "Here (synthetic_rafd, identity split) · Paper (RaFD)" in table.markdown()
    assert '<th class="paper" colspan="3">Paper (RaFD)</th>' in table.html()
    assert "\\multicolumn{3}{c}{Here (synthetic\\_rafd, identity split)}" in table.latex()


@pytest.mark.parametrize(("extractor", "heading"), [("efficientnet-lite0", "FD-EffNetLite0"), ("inception-v3", "FID")])
def test_only_official_inception_features_give_a_fid(tmp_path: Path, extractor: str, heading: str) -> None:
    """Any other Fréchet distance carries the features' name."""
    write_results(tmp_path, extractor=extractor)
    markdown = build_table("table_2", Runs(tmp_path, "synthetic", "smoke")).markdown()
    assert f"Here: {heading} ↓" in markdown
    assert ("Here: FID" in markdown) == (extractor == "inception-v3")


def test_several_seeds_are_averaged_with_their_deviation(tmp_path: Path) -> None:
    """G of 70 % and 72 %: mean 71, sample standard deviation √2."""
    write_results(tmp_path, seeds=2)
    runs = Runs(tmp_path, "synthetic", "smoke")
    table = table_1(runs, seeds=2)
    row = read(runs, "table_1")[4]
    assert list(row) == ["dataset", "split", "method", "R", "R_std", "G", "G_std", "R+G", "R+G_std"]
    assert (row["G"], row["G_std"]) == ("71.00", "1.41")
    assert "71.00 ± 1.41" in table.markdown() and "seeds 0, 1" in table.caption


def test_a_part_of_a_licensed_set_is_called_so(tmp_path: Path) -> None:
    """The preset smoke takes eight people; the embedded sets have as many as are asked for."""
    for family, part in (("real", ", the first 8 people only"), ("synthetic", "")):
        write_results(tmp_path, family=family)
        text = build_table("table_1", Runs(tmp_path, family, "smoke")).markdown()
        assert f"split{part})" in text


def test_targets_that_were_trained_on_are_counted(tmp_path: Path) -> None:
    """Under a random split of photos most people have one test face: PSNR compares edits with training faces then."""
    write_results(tmp_path)
    metrics = run_folder(tmp_path, "smoke", "synthetic_rafd", "controls", 0) / "metrics.json"
    record = json.loads(metrics.read_text())
    assert "are training faces" not in build_table("table_2", Runs(tmp_path, "synthetic", "smoke")).markdown()
    metrics.write_text(json.dumps(record | {"targets_in_training": 50}))
    runs = Runs(tmp_path, "synthetic", "smoke")
    assert "synthetic_rafd: 89% of the real faces" in build_table("table_2", runs).markdown()
    assert "are training faces" not in build_table("table_1", runs).markdown()


def test_a_missing_run_names_the_command_that_makes_it(tmp_path: Path) -> None:
    """What is missing, and what to do."""
    write_run(tmp_path, "synthetic_rafd", "controls")
    with pytest.raises(UserError, match=r"stargan.*metrics\.json is missing: make it with `efgan evaluate"):
        build_table("table_1", Runs(tmp_path, "synthetic", "smoke"))


def test_a_damaged_record_is_named(runs: Runs) -> None:
    """A cut file is not taken for a number."""
    path = runs.run("rafd", "stargan").folder / "metrics.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match="damaged"):
        build_table("table_1", runs)


def test_a_number_that_was_not_measured_stays_empty(runs: Runs) -> None:
    """null in the record: an empty CSV cell and a dash for people, not a zero."""
    path = runs.run("rafd", "stargan").folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kid": None}))
    table = table_2(runs)
    assert read(runs, "table_2")[2]["KID"] == ""
    assert "| StarGAN | 20.40 | 49.60 | – |" in table.markdown()


def test_seeds_must_be_positive(runs: Runs) -> None:
    """0 seeds have no mean."""
    with pytest.raises(UserError, match="seeds = 0"):
        table_1(runs, seeds=0)
