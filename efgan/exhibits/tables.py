"""Tables 1-3 as tidy CSV, Markdown, LaTeX and HTML; the paper's numbers stand in columns of their own.

Every number of ours comes from a run's `metrics.json`, every published one from `efgan.paper`.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean, stdev

from efgan.errors import UserError
from efgan.evaluation.features import metric_name
from efgan.exhibits.runs import Run, Runs
from efgan.experiments import family_of
from efgan.paper import DATASET_OF_ROLE, EXHIBITS, PUBLISHED, find_exhibit
from efgan.provenance import write_atomic

# Column of ours → (key of metrics.json, factor). R is the controls' own; all others are the method's.
_METRICS: dict[str, tuple[str, float]] = {
    "R": ("accuracy_R", 100.0), "G": ("accuracy_G", 100.0), "R+G": ("accuracy_RG", 100.0),
    "PSNR": ("psnr", 1.0), "FD": ("fd", 1.0), "KID": ("kid", 1.0),
}  # fmt: skip
_COLUMNS = {"table_1": ("R", "G", "R+G"), "table_2": ("PSNR", "FD", "KID"), "table_3": ("G", "R+G")}
_PAPER_COLUMNS = {"table_1": ("R", "G", "R+G"), "table_2": ("PSNR", "FID"), "table_3": ("G", "R+G")}
_CONTROLS = {"Copy control": "copy", "Target control": "target"}
_ARROWS = {"PSNR": "PSNR ↑", "FID": "FID ↓"}
_SIDES = {
    "synthetic": "Here and Paper are different faces, networks' sizes and budgets: read each side for itself.",
    "real": "Here and Paper are the same sets, whole where the heading does not say otherwise; crops, AUs, networks' "
    "sizes and budgets are ours where the paper does not state them, and so are the test faces, which its random split "
    "does not name.",
}
_NOTES = (
    "Copy control: the edit is the unchanged input. Target control: it is the person's own face with that expression. "
    "Their pictures are the set's own, so their Fréchet distance and KID are the floor.",
    "Updates: generator updates; of a cascade, those of the single-stage run it starts from first.",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method (or control) on one dataset: value and deviation over seeds per column; `None` = not measured."""

    method: str
    values: dict[str, float | None]
    deviations: dict[str, float | None]
    extractor: str = ""
    budget: str = ""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The part of a table about one dataset.

    Attributes:
        people: how many of a licensed set's were taken, `None` = all.
        trained_targets: share of the real faces which edits are compared with that are training faces.
    """

    dataset: str
    split: str
    paper_dataset: str
    rows: tuple[Row, ...]
    people: int | None = None
    trained_targets: float = 0.0

    @property
    def here(self) -> str:
        """Heading of our columns."""
        part = f", the first {self.people} people only" if self.people else ""
        return f"Here ({self.dataset}, {self.split} split{part})"

    @property
    def paper(self) -> str:
        """Heading of the published columns."""
        return f"Paper ({self.paper_dataset})"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One of the paper's tables, filled from finished runs. Shows itself in a notebook.

    Attributes:
        name: "table_1".
        preset, seeds: what was run, and the seeds that are averaged.
        blocks: one per dataset.
    """

    name: str
    preset: str
    seeds: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def caption(self) -> str:
        """Heading, preset and seeds in one line."""
        several = f"mean ± standard deviation over seeds {', '.join(map(str, self.seeds))}"
        seeds = several if len(self.seeds) > 1 else f"seed {self.seeds[0]}"
        unit = "" if self.name == "table_2" else " Per cent."
        return f"{EXHIBITS[self.name].heading}.{unit} Preset {self.preset}, {seeds}."

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know to read it."""
        extractors = sorted({row.extractor for block in self.blocks for row in block.rows} - {""})
        endings = {e: ", our decision: the paper cites Inception-v4." if metric_name(e) == "FID" else
                   "; not comparable with FID." for e in extractors}  # fmt: skip
        named = tuple(f"{metric_name(e)}: Fréchet distance in the features of {e}{endings[e]}" for e in extractors)
        sides = tuple(_SIDES[family] for family in dict.fromkeys(family_of(block.dataset) for block in self.blocks))
        trained = tuple(
            f"{block.dataset}: {block.trained_targets:.0%} of the real faces that edits are compared with are training "
            "faces, as a random split of photos leaves few people with two test faces."
            for block in self.blocks if block.trained_targets
        )  # fmt: skip
        return sides + _NOTES + (named + trained if self.name == "table_2" else ())

    def csv(self) -> str:
        """Tidy CSV: one row per dataset and method; ours only."""
        columns = _COLUMNS[self.name]
        several = len(self.seeds) > 1
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dataset", "split", "method", *_tidy_columns(self.name, several)])
        for block in self.blocks:
            for row in block.rows:
                cells = {c: _number(row.values[c], c) for c in columns} | {"extractor": row.extractor}
                cells |= {f"{c}_std": _number(row.deviations[c], c) for c in columns}
                writer.writerow([block.dataset, block.split, row.method,
                                 *(cells[c] for c in _tidy_columns(self.name, several))])  # fmt: skip
        return file.getvalue()

    def markdown(self) -> str:
        """GitHub Markdown, one table per dataset."""
        parts = [f"**{self.caption}**"]
        for block in self.blocks:
            ours, theirs = self._headings(block)
            heads = ["Method", *(f"Here: {h}" for h in ours), *(f"Paper: {h}" for h in theirs), "Updates"]
            lines = [f"{block.here} · {block.paper}", "", _piped(heads), "|---|" + "--:|" * (len(heads) - 1)]
            lines += [_piped([row.method, *self._cells(block, row), row.budget or "–"]) for row in block.rows]
            parts.append("\n".join(lines))
        return "\n\n".join([*parts, "\n".join(f"- {note}" for note in self.notes)]) + "\n"

    def latex(self) -> str:
        """A `table` environment for booktabs."""
        ours, theirs = len(_COLUMNS[self.name]), len(_PAPER_COLUMNS[self.name])
        lines = ["\\begin{table}", "\\centering", f"\\caption{{{_tex(self.caption)}}}",
                 f"\\begin{{tabular}}{{l{'r' * (ours + theirs + 1)}}}", "\\toprule"]  # fmt: skip
        for number, block in enumerate(self.blocks):
            lines += ["\\midrule"] * (number > 0)
            lines.append(f" & \\multicolumn{{{ours}}}{{c}}{{{_tex(block.here)}}} & "
                         f"\\multicolumn{{{theirs}}}{{c}}{{{_tex(block.paper)}}} & \\\\")  # fmt: skip
            lines.append(f"\\cmidrule(lr){{2-{1 + ours}}}\\cmidrule(lr){{{2 + ours}-{1 + ours + theirs}}}")
            headings = [heading for group in self._headings(block) for heading in group]
            lines += [_tex(" & ".join(["Method", *headings, "Updates"]), keep="&") + " \\\\", "\\midrule"]
            for row in block.rows:
                lines.append(
                    _tex(" & ".join([row.method, *self._cells(block, row), row.budget or "–"]), keep="&") + " \\\\"
                )
        notes = _tex(" ".join(self.notes))
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", f"\\par\\footnotesize {notes}", "\\end{table}", ""])

    def html(self) -> str:
        """An HTML table with our columns and the published ones under headings of their own."""
        parts = [f'<table class="results"><caption>{escape(self.caption)}</caption>']
        for block in self.blocks:
            ours, theirs = self._headings(block)
            groups = (f'<th colspan="{len(ours)}">{escape(block.here)}</th>'
                      f'<th class="paper" colspan="{len(theirs)}">{escape(block.paper)}</th>')  # fmt: skip
            parts.append(f'<tbody><tr class="groups"><th></th>{groups}<th></th></tr>')
            heads = [f"<th>{escape(h)}</th>" for h in ours] + [f'<th class="paper">{escape(h)}</th>' for h in theirs]
            parts.append(f"<tr><th>Method</th>{''.join(heads)}<th>Updates</th></tr>")
            for row in block.rows:
                cells = self._cells(block, row)
                marked = "".join(
                    f"<td{' class=paper' * (i >= len(ours))}>{escape(c)}</td>" for i, c in enumerate(cells)
                )
                kind = ' class="control"' if row.method in _CONTROLS else ""
                parts.append(
                    f"<tr{kind}><th>{escape(row.method)}</th>{marked}<td>{escape(row.budget or '–')}</td></tr>"
                )
            parts.append("</tbody>")
        return "\n".join([*parts, "</table>"])

    _repr_html_ = html

    def save(self, folder: Path) -> None:
        """Writes <name>.csv, .md and .tex."""
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (("csv", self.csv()), ("md", self.markdown()), ("tex", self.latex())):
            with write_atomic(folder / f"{self.name}.{ending}") as file:
                file.write(text)

    def _headings(self, block: Block) -> tuple[list[str], list[str]]:
        """Column headings: ours with the distance's honest name, and the paper's."""
        extractors = {row.extractor for row in block.rows} - {""}
        distance = metric_name(extractors.pop()) if len(extractors) == 1 else "FD"
        names = {"FD": f"{distance} ↓", "KID": "KID ↓", **_ARROWS}
        return ([names.get(c, c) for c in _COLUMNS[self.name]], [names.get(c, c) for c in _PAPER_COLUMNS[self.name]])

    def _cells(self, block: Block, row: Row) -> list[str]:
        published = PUBLISHED[self.name].get((block.paper_dataset, row.method), {})
        ours = []
        for column in _COLUMNS[self.name]:
            text, deviation = _number(row.values[column], column), _number(row.deviations[column], column)
            text = text.replace("inf", "∞") or "–"
            ours.append(f"{text} ± {deviation}" if deviation else text)
        return ours + [f"{published[c]:.2f}" if c in published else "–" for c in _PAPER_COLUMNS[self.name]]


def table_1(runs: Runs, out: Path | None = None, seeds: int = 1) -> Table:
    """Expression classification accuracy R, G and R+G on both sets.

    Args:
        runs: where the runs are.
        out: folder for the files; `None` = results/<family>/<preset>/tables.
        seeds: how many seeds (0, 1, …) are averaged.

    Raises:
        UserError: a run or its evaluation is missing; the message names the command that makes it.

    Source: paper table 1.
    """
    return _saved(build_table("table_1", runs, seeds), runs, out)


def table_2(runs: Runs, out: Path | None = None, seeds: int = 1) -> Table:
    """PSNR, Fréchet distance and KID on both sets. Args and Raises as `table_1`. Source: paper table 2."""
    return _saved(build_table("table_2", runs, seeds), runs, out)


def table_3(runs: Runs, out: Path | None = None, seeds: int = 1) -> Table:
    """Ablation: G and R+G in RaFD's role. Args and Raises as `table_1`. Source: paper table 3."""
    return _saved(build_table("table_3", runs, seeds), runs, out)


def build_table(name: str, runs: Runs, seeds: int = 1) -> Table:
    """A table from the records of its runs, without writing files. Args and Raises as `table_1`."""
    if seeds < 1:
        raise UserError(f"seeds = {seeds} is not accepted: average over 1 or more")
    numbers = tuple(range(seeds))
    roles = dict.fromkeys(role for role, _ in find_exhibit(name).runs)
    blocks = tuple(_block(name, runs, role, numbers) for role in roles)
    return Table(name=name, preset=runs.preset, seeds=numbers, blocks=blocks)


def _saved(table: Table, runs: Runs, out: Path | None) -> Table:
    table.save(out or runs.results_folder / "tables")
    return table


def _block(name: str, runs: Runs, role: str, seeds: Sequence[int]) -> Block:
    controls = [runs.run(role, "controls", seed) for seed in seeds]
    rows = [_row(name, label, [(run, controls[i], f"{key}/") for i, run in enumerate(controls)])
            for label, key in _CONTROLS.items()]  # fmt: skip
    for experiment in (e for r, e in EXHIBITS[name].runs if r == role and e != "controls"):
        trained = [runs.run(role, experiment, seed) for seed in seeds]
        rows.append(_row(name, trained[0].experiment.method,
                         [(run, controls[i], "") for i, run in enumerate(trained)]))  # fmt: skip
    data, measured = controls[0].config.data, controls[0].metrics
    return Block(dataset=runs.dataset(role), split=data.split, paper_dataset=DATASET_OF_ROLE[role], rows=tuple(rows),
                 people=None if data.synthetic else data.identities,
                 trained_targets=measured.get("targets_in_training", 0) / measured["copy"]["pairs"])  # fmt: skip


def _row(name: str, method: str, sources: Sequence[tuple[Run, Run, str]]) -> Row:
    """Averages one method over seeds; `sources` are (run, controls, prefix of the metrics' names)."""
    values: dict[str, float | None] = {}
    deviations: dict[str, float | None] = {}
    for column in _COLUMNS[name]:
        key, factor = _METRICS[column]
        found = [
            controls.metric(key) if column == "R" else run.metric(prefix + key) for run, controls, prefix in sources
        ]
        if column == "PSNR" and method == "Target control":
            found = [math.inf]  # it is the reference itself; JSON has no infinity
        known = [factor * value for value in found if value is not None]
        values[column] = mean(known) if known else None
        deviations[column] = stdev(known) if len(known) > 1 else None
    run, _, prefix = sources[0]
    inner = run.metrics.get(prefix.rstrip("/"), {}) if prefix else run.metrics
    extractor = inner.get("fd_extractor") or run.metrics.get("fd_extractor") or ""
    return Row(method=method, values=values, deviations=deviations, extractor=extractor if name == "table_2" else "",
               budget="" if prefix else run.budget)  # fmt: skip


def _tidy_columns(name: str, several: bool) -> list[str]:
    columns: list[str] = []
    for column in _COLUMNS[name]:
        columns += [column, f"{column}_std"] if several else [column]
        columns += ["extractor"] if column == "FD" else []
    return columns


def _number(value: float | None, column: str) -> str:
    """As the paper prints it: two decimals; KID has five."""
    return "" if value is None else f"{value:.5f}" if column == "KID" else f"{value:.2f}"


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _tex(text: str, keep: str = "") -> str:
    signs = {"_": "\\_", "%": "\\%", "&": "\\&", "#": "\\#", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "±": "$\\pm$",
             "–": "--", "∞": "$\\infty$"}  # fmt: skip
    return "".join(sign if sign in keep else signs.get(sign, sign) for sign in text)
