"""The pictures beside the answers of `claims`: differences with their intervals, and the widest changes themselves."""

import textwrap
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from efgan.data.faces import to_float
from efgan.exhibits.claims import TestEdits
from efgan.exhibits.paired_differences import Claim
from efgan.exhibits.runs import Runs, plain
from efgan.grids import COLOURS, image_grid, new_figure, styled


def claim_figure(claim: Claim) -> Figure:
    """Each comparison with its interval, against zero; an open dot where it does not decide the claim."""
    with styled():
        height = 1.2 + 0.42 * len(claim.comparisons)
        figure = new_figure(8.0, height)
        axes = figure.add_axes((0.44, 0.7 / height, 0.53, 1 - 1.2 / height))
        for row, comparison in enumerate(claim.comparisons):
            colour = {"yes": COLOURS[2], "no": COLOURS[3]}.get(comparison.verdict, "#777777")
            low, high = comparison.interval or (comparison.difference, comparison.difference)
            axes.plot([low, high], [row, row], color=colour, lw=2.5)
            axes.plot(comparison.difference, row, "o", color=colour, ms=6, mew=2,
                      mfc=colour if comparison.decides else "white")  # fmt: skip
        axes.axvline(0, color="#333333", lw=0.8)
        axes.set_yticks(range(len(claim.comparisons)), [textwrap.fill(c.what, 44) for c in claim.comparisons])
        axes.set_ylim(len(claim.comparisons) - 0.5, -0.5)
        beside = "" if all(c.decides for c in claim.comparisons) else "; open dot: does not decide the claim"
        axes.set_xlabel(f"difference in its row's unit, right of zero as the paper claims\nbar: 95 % interval{beside}")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title(f"Here: {claim.verdict}", loc="left")
    figure.set_label(f"{claim.says} {claim.measured_on}")
    return figure


def pairs_figure(runs: Runs, edits: TestEdits, experiments: Sequence[str], *, rows: int = 4) -> Figure:
    """The test pairs with the widest change of AUs, one per person, as several methods edit them."""
    widest: dict[int, int] = {}
    for position in edits.gap.argsort(descending=True).tolist():
        widest.setdefault(int(edits.people[position]), position)
    chosen = torch.tensor(list(widest.values())[:rows])
    shown = edits.subset(chosen)
    sources = to_float(edits.faces.images[shown.pairs.source])
    columns = [sources, *(shown.edit(runs.run("rafd", name).editor).image for name in experiments)]
    columns.append(to_float(shown.targets))
    names = edits.faces.expression_names
    labels = [f"{plain(names[edits.faces.expression[s]])}\n→ {plain(names[edits.faces.expression[t]])}"
              for s, t in zip(shown.pairs.source.tolist(), shown.pairs.target.tolist(), strict=True)]  # fmt: skip
    methods = [runs.run("rafd", name).experiment.method.replace(" + ", " +\n") for name in experiments]
    return image_grid(
        [list(row) for row in zip(*columns, strict=True)], row_labels=labels, cell=256,
        column_labels=["input", *methods, "target"], title="The widest changes, one per person",
        caption=runs.describe(*(("rafd", name) for name in experiments)),
    )  # fmt: skip
