"""Two diagnostic figures of the report, beside the paper's: training curves and confusion matrices."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from efgan.exhibits.runs import Run, plain
from efgan.grids import COLOURS, new_figure, styled

# Panels of the training curves: heading and the terms drawn, of those that a run has. Terms are weighted by their λ.
_PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Expression loss", ("critic/cond", "generator/cond")),
    ("Content loss (cycle)", ("generator/cont",)),
    ("Adversarial loss", ("critic/wasserstein", "generator/adv")),
    ("Mean attention", ("attention/global", "attention/eyes", "attention/nose", "attention/mouth")),
)


def draw_training_curves(runs: Sequence[Run]) -> Figure:
    """One row per run, one panel per loss term and one for the mean attention of its branches.

    Args:
        runs: trained runs.

    Returns:
        the figure; its label is its caption.
    """
    with styled():
        height = 0.5 + 1.55 * len(runs)
        figure = new_figure(11.0, height)
        grid = figure.add_gridspec(len(runs), len(_PANELS), left=0.12, right=0.99, top=1 - 0.4 / height,
                                   bottom=0.35 / height, hspace=0.45, wspace=0.25)  # fmt: skip
        for i, run in enumerate(runs):
            for j, (heading, terms) in enumerate(_PANELS):
                axes = figure.add_subplot(grid[i, j])
                _draw_terms(axes, run.history, terms)
                if i == 0:
                    axes.set_title(heading)
                if j == 0:
                    name = run.experiment.method.replace(" + ", " +\n").replace("Cascade EF", "Cascade\nEF")
                    axes.annotate(name, (-0.22, 0.5), xycoords="axes fraction", ha="right", va="center", fontsize=9)
                if i == len(runs) - 1:
                    axes.set_xlabel("iteration")
    figure.set_label("Losses and mean attention against generator updates; a cascade starts from its single-stage run.")
    return figure


def _draw_terms(axes: Axes, history: Sequence[dict], terms: Sequence[str]) -> None:
    iterations = [line["iteration"] for line in history]
    drawn = 0
    for term, colour in _colours(terms).items():
        values = [line.get(term) for line in history]
        if any(value is not None for value in values):
            axes.plot(iterations, [np.nan if v is None else v for v in values], color=colour,
                      label=term.split("/")[1 if "attention" in term else 0])  # fmt: skip
            drawn += 1
    if not drawn:
        axes.text(0.5, 0.5, "not part of this method", ha="center", va="center", color="#888888",
                  transform=axes.transAxes, fontsize=8)  # fmt: skip
        axes.set_axis_off()
    elif drawn > 1:
        axes.legend(fontsize=7, ncols=2, loc="best", handlelength=1.2, columnspacing=0.8)
    if drawn and terms[0].startswith("attention"):
        axes.set_ylim(0, 1)
    axes.tick_params(labelsize=7)


def _colours(terms: Sequence[str]) -> dict[str, str]:
    """The critic is blue and the generator orange in every panel; branches take the palette in turn."""
    fixed = {"critic": COLOURS[0], "generator": COLOURS[1]}
    return {term: fixed.get(term.split("/")[0], COLOURS[k]) for k, term in enumerate(terms)}


def draw_confusions(matrices: Sequence[tuple[str, np.ndarray, Sequence[str]]], *, columns: int = 4) -> Figure:
    """Confusion matrices as small multiples, rows = the wanted class, in per cent of the row.

    Args:
        matrices: (heading, counts K×K, class names).
        columns: panels per row.
    """
    rows = -(-len(matrices) // columns)
    with styled():
        height = 3.0 * rows + 0.2
        figure = new_figure(11.0, height)
        grid = figure.add_gridspec(rows, columns, left=0.09, right=0.99, top=1 - 0.3 / height, bottom=0.24 / rows,
                                   hspace=0.62, wspace=0.16)  # fmt: skip
        for k, (heading, counts, names) in enumerate(matrices):
            axes = figure.add_subplot(grid[k // columns, k % columns])
            share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
            for (i, j), value in np.ndenumerate(share):
                if value >= 0.5:
                    axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6.5,
                              color="white" if value > 55 else "#222222")  # fmt: skip
            axes.set_title(heading, fontsize=9)
            axes.grid(False)
            axes.set_xticks(range(len(names)), [plain(n) for n in names], rotation=60, ha="right", fontsize=6.5,
                            rotation_mode="anchor")  # fmt: skip
            labels = [plain(n) for n in names] if k % columns == 0 else []
            axes.set_yticks(range(len(names)), labels or [""] * len(names), fontsize=6.5)
    figure.set_label("Per cent of the edits towards an expression (row) that the classifier takes for each (column).")
    return figure
