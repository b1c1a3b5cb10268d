"""Training curves and confusion matrices show what a run has, and say what they show."""

import numpy as np
import pytest
from fake_results import write_results
from matplotlib.figure import Figure

from efgan.exhibits.diagnostics import draw_confusions, draw_training_curves
from efgan.exhibits.runs import Runs


@pytest.fixture
def curves(tmp_path) -> Figure:
    write_results(tmp_path)
    runs = Runs(tmp_path, "synthetic", "smoke")
    return draw_training_curves([runs.run("rafd", name) for name in ("stargan", "baseline", "cascade")])


def test_attention_is_drawn_for_every_stage(curves):
    """A single stage has one curve per branch, a cascade one per branch and stage, StarGAN none and says so."""
    *_, stargan, baseline, cascade = (axes for axes in curves.axes if axes.get_subplotspec().colspan.start == 3)
    assert [text.get_text() for text in stargan.texts] == ["not part of this method"] and not stargan.lines
    for axes, styles in ((baseline, ["-"]), (cascade, ["-", "--", ":"])):
        drawn = [line for line in axes.lines if len(line.get_xdata())]
        assert [line.get_linestyle() for line in drawn] == styles and not axes.texts
        assert all(line.get_ydata() == pytest.approx(0.3) for line in drawn)
    words = [text.get_text() for text in cascade.get_legend().get_texts()]
    assert words == ["global", "stage 1", "stage 2", "stage 3"]


def test_confusion_matrices_say_what_rows_and_columns_are():
    """Per cent of each row; a row without edits is empty, and two matrices take no room for a third."""
    counts = np.array([[3, 1], [0, 0]])
    figure = draw_confusions([("a", counts, ("happy", "sad"))] * 2, columns=3)
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["75", "25"]
    assert first.get_ylabel() == "wanted" and "%" in first.get_xlabel() and not second.get_ylabel()
    assert first.get_subplotspec().get_gridspec().ncols == 2
