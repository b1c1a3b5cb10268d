"""Two diagnostic figures of the report, beside the paper's: training curves and confusion matrices."""

from collections.abc import Sequence
from itertools import cycle

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
)
_TERM_COLOURS = {"critic": COLOURS[0], "generator": COLOURS[1]}  # the same in every panel
_BRANCH_COLOURS = dict(zip(("global", "eyes", "nose", "mouth"), COLOURS, strict=False))
_STAGE_LINES = ("-", "--", ":", "-.")
_LEAST_DRAWN = 1e-3  # mean attention; less is drawn here, at the edge of the panel


def draw_training_curves(runs: Sequence[Run]) -> Figure:
    """One row per run, one panel per loss term and one for the mean attention of its branches, stage by stage.

    Args:
        runs: trained runs.

    Returns:
        the figure; its label is its caption.
    """
    with styled():
        height = 0.5 + 1.55 * len(runs)
        figure = new_figure(11.0, height)
        grid = figure.add_gridspec(len(runs), len(_PANELS) + 1, left=0.13, right=0.99, top=1 - 0.4 / height,
                                   bottom=0.35 / height, hspace=0.45, wspace=0.25)  # fmt: skip
        for i, run in enumerate(runs):
            row = [figure.add_subplot(grid[i, j]) for j in range(len(_PANELS) + 1)]
            for axes, (heading, terms) in zip(row, _PANELS, strict=False):
                _draw_terms(axes, run.history, terms)
                axes.set_title(heading if i == 0 else "")
            _draw_attention(row[-1], run.history)
            row[-1].set_title("Mean attention" if i == 0 else "")
            name = run.experiment.method.replace(" + ", " +\n").replace("Cascade EF", "Cascade\nEF")
            row[0].annotate(name, (-0.22, 0.5), xycoords="axes fraction", ha="right", va="center", fontsize=9)
            for axes in row:
                axes.tick_params(labelsize=7)
                axes.set_xlabel("iteration" if i == len(runs) - 1 else "")
    figure.set_label("Losses, times their weights, and mean attention against generator updates; a cascade starts from "
                     "its single-stage run, and its losses are summed over its stages. "
                     f"Attention below {_LEAST_DRAWN:g} is drawn there.")  # fmt: skip
    return figure


def _draw_terms(axes: Axes, history: Sequence[dict], terms: Sequence[str]) -> None:
    """The curves of those terms that the history has; a legend where there are several."""
    drawn = [term for term in terms if any(line.get(term) is not None for line in history)]
    for term in drawn:
        who = term.split("/")[0]
        values = [np.nan if line.get(term) is None else line[term] for line in history]
        axes.plot([line["iteration"] for line in history], values, color=_TERM_COLOURS[who], label=who)
    if not drawn:
        _say_absent(axes)
    elif len(drawn) > 1:
        axes.legend(fontsize=7, ncols=2, loc="best", handlelength=1.2, columnspacing=0.8)


def _draw_attention(axes: Axes, history: Sequence[dict]) -> None:
    """One colour per branch, one line style per stage."""
    names = [term.removeprefix("attention/") for term in history[-1] if term.startswith("attention/")]
    if not names:
        _say_absent(axes)
        return
    stages = sorted({name.rpartition(".")[0] for name in names})  # [""] of a single stage
    styles = dict(zip(stages, cycle(_STAGE_LINES), strict=False))
    for name in names:
        stage, _, branch = name.rpartition(".")
        values = [max(line[f"attention/{name}"], _LEAST_DRAWN) for line in history]
        axes.plot([line["iteration"] for line in history], values, styles[stage], color=_BRANCH_COLOURS[branch],
                  label=branch if stage == stages[0] else None)  # fmt: skip
    for stage, style in styles.items():
        axes.plot([], [], style, color="#666666", label=plain(stage) or None)
    axes.set_yscale("log")
    axes.set_ylim(0.9 * _LEAST_DRAWN, 10)  # above 1 there is room for the legend
    axes.set_yticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
    axes.legend(fontsize=6, ncols=2, loc="upper center", handlelength=1.6, columnspacing=0.8, labelspacing=0.2)


def _say_absent(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not part of this method", ha="center", va="center", color="#888888",
              transform=axes.transAxes, fontsize=8)  # fmt: skip
    axes.set_axis_off()


def draw_confusions(matrices: Sequence[tuple[str, np.ndarray, Sequence[str]]], *, columns: int = 4) -> Figure:
    """Confusion matrices as small multiples, rows = the wanted class, in per cent of the row.

    Args:
        matrices: (heading, counts K×K, class names).
        columns: panels per row, at most.
    """
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    with styled():
        width, height = 1.0 + 2.5 * columns, 3.0 * rows + 0.2
        figure = new_figure(width, height)
        grid = figure.add_gridspec(rows, columns, left=1 / width, right=1 - 0.1 / width, top=1 - 0.3 / height,
                                   bottom=0.28 / rows, hspace=0.72, wspace=0.16)  # fmt: skip
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
            axes.set_xlabel("taken for, % of the row", fontsize=7, labelpad=1)
            if k % columns == 0:
                axes.set_ylabel("wanted", fontsize=7)
            labels = [plain(n) for n in names] if k % columns == 0 else []
            axes.set_yticks(range(len(names)), labels or [""] * len(names), fontsize=6.5)
    figure.set_label("Per cent of the edits towards an expression (row) that the classifier takes for each (column).")
    return figure
