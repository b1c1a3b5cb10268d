"""The published numbers agree with the sentences about them, and every exhibit can be made."""

import pytest

from efgan.errors import UserError
from efgan.experiments import EXPERIMENTS
from efgan.paper import EXHIBITS, EXPERIMENT_ORDER, TABLE_1, TABLE_2, TABLE_3, find_exhibit
from efgan.runner import find_notebook

OURS, GANIMATION = "Cascade EF-GAN", "GANimation"


@pytest.mark.parametrize(("dataset", "psnr", "fid"), [("RaFD", 1.01, 3.19), ("CFEED", 0.91, 1.92)])
def test_margins_of_table_2_are_those_in_the_text(dataset: str, psnr: float, fid: float) -> None:
    """Paper 4.3: better than the state of the art by 1.01 / 3.19 on RaFD and 0.91 / 1.92 on CFEED."""
    ours, other = TABLE_2[dataset, OURS], TABLE_2[dataset, GANIMATION]
    assert ours["PSNR"] - other["PSNR"] == pytest.approx(psnr)
    assert other["FID"] - ours["FID"] == pytest.approx(fid)


@pytest.mark.parametrize(("dataset", "gain"), [("RaFD", 1.46), ("CFEED", 1.02)])
def test_gain_of_table_1_is_that_in_the_text(dataset: str, gain: float) -> None:
    """Paper 4.3: with generated images, accuracy improves by 1.46 % and 1.02 %."""
    row = TABLE_1[dataset, OURS]
    assert row["R+G"] - row["R"] == pytest.approx(gain)


def test_r_is_one_number_per_dataset() -> None:
    """Table 1 prints R once per dataset: it does not depend on the editing method."""
    for dataset in ("RaFD", "CFEED"):
        assert len({row["R"] for (name, _), row in TABLE_1.items() if name == dataset}) == 1


def test_last_row_of_the_ablation_is_the_method_of_table_1() -> None:
    """Cascade EF-GAN has the same G and R+G in Tables 1 and 3."""
    assert TABLE_3["RaFD", OURS] == {key: TABLE_1["RaFD", OURS][key] for key in ("G", "R+G")}


def test_every_exhibit_has_its_notebook() -> None:
    """Figures 1-8 and Tables 1-3, each with a notebook of the repository."""
    assert list(EXHIBITS) == [f"figure_{k}" for k in range(1, 9)] + [f"table_{k}" for k in (1, 2, 3)]
    for exhibit in EXHIBITS.values():
        assert find_notebook(exhibit.notebook).is_file()


def test_every_needed_run_is_part_of_the_batch() -> None:
    """No exhibit asks for an experiment that its dataset's role does not train; the order names all of them."""
    for exhibit in EXHIBITS.values():
        assert all(role in EXPERIMENTS[experiment].roles for role, experiment in exhibit.runs)
    assert sorted(EXPERIMENT_ORDER) == sorted(EXPERIMENTS)


def test_published_methods_are_named_as_the_experiments_are() -> None:
    """Our rows and the paper's are joined by the method's name."""
    names = {e.method for e in EXPERIMENTS.values()}
    assert {method for table in (TABLE_1, TABLE_2, TABLE_3) for _, method in table} <= names


def test_unknown_exhibit_is_a_clear_error() -> None:
    """The message lists what there is."""
    with pytest.raises(UserError, match="figure_1"):
        find_exhibit("figure_9")
