"""The report: one page, to be mailed as it is, with every table and figure and where each came from."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from efgan.data.action_units import AU_DESCRIPTIONS, MAX_INTENSITY
from efgan.errors import UserError
from efgan.exhibits.diagnostics import draw_confusions, draw_training_curves
from efgan.exhibits.goals import check_goals
from efgan.exhibits.runs import Run, Runs
from efgan.exhibits.tables import build_table
from efgan.experiments import EXPERIMENTS, reproduce_command
from efgan.grids import DPI
from efgan.models.classifiers import estimator_name
from efgan.models.local_focus import REGIONS
from efgan.paper import CITATION, EXHIBITS, EXPERIMENT_ORDER, Exhibit
from efgan.provenance import write_atomic

REPORT = "report.html"
_QUALITY = 90  # of the embedded WebP copies; the exact PNG and PDF lie under figures/


def write_report(root: Path | str, family: str, preset: str, *, seed: int = 0, seeds: int = 1) -> Path:
    """Writes results/<family>/<preset>/report.html from finished runs, tables and figures.

    Args:
        root: folder that holds results/ and figures/.
        family: "synthetic" or "real".
        preset: a preset's name.
        seed: of the runs that figures, curves and further measures show.
        seeds: how many seeds (0, 1, …) the tables average; all their runs are recorded.

    Returns:
        The page's path.

    Raises:
        UserError: a run, its evaluation or a figure is missing; the message names the command that makes it.
    """
    runs = Runs(root, family, preset, seed)
    roles = ("rafd", "cfeed")
    all_runs = [runs.run(role, name) for role in roles for name in EXPERIMENT_ORDER if role in EXPERIMENTS[name].roles]
    trained = [run for run in all_runs if run.experiment.trains]
    numbers = range(seeds) if seeds > 1 else [seed]
    recorded = [runs.run(run.dataset, run.experiment.name, number) for run in all_runs for number in numbers]
    exhibits, datasets = list(EXHIBITS.values()), [runs.dataset(role) for role in roles]
    page = _template().render(
        runs=runs, citation=CITATION, goals=check_goals(runs, trained), summary=_summary(runs, recorded),
        tables=[(e, build_table(e.name, runs, seeds), _sources(runs, e, numbers))
                for e in exhibits if e.kind == "table"],
        figures=[(e, *_figure(runs, e), _sources(runs, e, [seed])) for e in exhibits if e.kind == "figure"],
        claims=_claims(runs),
        curves=[(name, _embed(draw_training_curves([r for r in trained if r.dataset == name]))) for name in datasets],
        confusions=[(runs.dataset(role), _embed(_draw_confusions(runs, all_runs, role))) for role in roles],
        extras=_extras(all_runs), errors=_au_errors(all_runs), au_names=AU_DESCRIPTIONS,
        attentions=[row for run in trained for row in _attentions(run)], branches=("global", *REGIONS),
        records=[_record(runs, run) for run in recorded],
    )  # fmt: skip
    path = runs.results_folder / REPORT
    with write_atomic(path) as file:
        file.write(page)
    return path


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(
        "report.html.j2"
    )


def _summary(runs: Runs, all_runs: Sequence[Run]) -> dict[str, Any]:
    """The first lines of the page: what ran, where, when, how long, from which code."""
    manifests = [run.manifest for run in all_runs]
    record = runs.run("rafd", "cascade_ef_gan").manifest
    environment, git = record.get("environment", {}), record.get("git") or {}
    commits = {(m.get("git") or {}).get("commit") for m in manifests}
    return {
        "commit": (git.get("commit") or "unknown") + (" (with local changes)" if git.get("dirty") else ""),
        "commits_differ": len(commits) > 1,
        "device": environment.get("gpu") or f"CPU ({environment.get('cores', '?')} cores)",
        "platform": environment.get("platform", ""), "python": environment.get("python", ""),
        "packages": environment.get("packages", {}),
        "started": _minute(min((m.get("started", "") for m in manifests), default="")),
        "ended": _minute(max((m.get("ended", "") for m in manifests), default="")),
        "minutes": sum(sum(_minutes(run)) for run in all_runs),
        "splits": {run.dataset: run.config.data.split for run in all_runs},
        "image_size": all_runs[0].config.data.image_size,
    }  # fmt: skip


def _minutes(run: Run) -> tuple[float, float]:
    """Training and evaluation; the controls' training of classifiers is part of their evaluation."""
    evaluation = (run.metric("seconds/all") or 0.0) / 60
    whole = run.manifest.get("notes", {}).get("training_seconds", run.manifest.get("seconds", 0.0)) / 60
    return (whole, evaluation) if run.experiment.trains else (0.0, max(whole, evaluation))


def _minute(stamp: str) -> str:
    """An ISO time in UTC, to the minute."""
    return stamp[:16].replace("T", " ") + " UTC" if stamp else "unknown"


def _sources(runs: Runs, exhibit: Exhibit, seeds: Sequence[int]) -> dict[str, Any]:
    """Links, relative to the page, to the executed notebook and the manifests of the runs it reads."""
    manifests: dict[str, list[tuple[str, str]]] = {}
    for run in (runs.run(*run, seed) for run in exhibit.runs for seed in seeds):
        name = f"{run.experiment.method}, seed {run.seed}" if len(seeds) > 1 else run.experiment.method
        manifests.setdefault(run.dataset, []).append((name, _link(runs, run, "manifest.json")))
    return {"notebook": f"notebooks/{exhibit.name}.ipynb", "manifests": manifests}


def _link(runs: Runs, run: Run, name: str) -> str:
    return (run.folder / name).relative_to(runs.results_folder).as_posix()


def _figure(runs: Runs, exhibit: Exhibit) -> tuple[str, str]:
    """A finished figure as an embedded picture, and its caption."""
    path = runs.figures_folder / f"{exhibit.name}.png"
    _require(path, exhibit.notebook, runs)
    with Image.open(path) as picture:
        return _encoded(picture), str(picture.info.get("Description", exhibit.title))


def _claims(runs: Runs) -> list[dict[str, Any]]:
    """Rows of claims.csv: what was compared, and what it says of which claim."""
    path = runs.results_folder / "claims.csv"
    _require(path, "reference_claims", runs)
    return [{str(key): value for key, value in row.items()} for row in pd.read_csv(path).to_dict("records")]


def _require(path: Path, notebook: str, runs: Runs) -> None:
    """Nothing for a file that is there; else how to make it."""
    if not path.is_file():
        raise UserError(f"{path} is missing: make it with `efgan run-notebook {notebook} -p root "
                        f"{Path(runs.root).resolve()} -p family {runs.family} -p preset {runs.preset}`, or everything "
                        f"with `{reproduce_command(runs.family, runs.preset)}`")  # fmt: skip


def _embed(figure: Figure) -> tuple[str, str]:
    """A figure made for the page alone, and its caption."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI * 0.8)
    return _encoded(Image.open(file)), str(figure.get_label())


def _encoded(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.convert("RGB").save(file, format="WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _draw_confusions(runs: Runs, all_runs: Sequence[Run], role: str) -> Figure:
    """Confusion matrices of the classifier on real test faces and on every method's edits."""
    controls = runs.run(role, "controls").metrics
    names = controls["classes"]
    panels = [("real test faces (R)", np.array(controls["confusion"]), names),
              ("Copy control (G)", np.array(controls["copy"]["confusion"]), names)]  # fmt: skip
    panels += [(f"{run.experiment.method} (G)", np.array(run.metrics["confusion"]), names)
               for run in all_runs if run.dataset == runs.dataset(role) and run.experiment.trains]  # fmt: skip
    return draw_confusions(panels)


def _labelled(all_runs: Sequence[Run]) -> list[tuple[str, str, dict[str, Any]]]:
    """(dataset, method, metrics) of the two controls and every method."""
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for run in all_runs:
        if run.experiment.trains:
            rows.append((run.dataset, run.experiment.method, run.metrics))
        else:
            rows += [(run.dataset, f"{key.capitalize()} control", run.metrics[key]) for key in ("copy", "target")]
    return rows


def _extras(all_runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Measures beside the paper's: AU error of the edits, off-target change, SSIM, identity."""
    keys = ("au_mae", "off_target")
    rows = []
    for dataset, method, metrics in _labelled(all_runs):
        in_0_5 = {key: None if metrics.get(key) is None else MAX_INTENSITY * metrics[key] for key in keys}
        others = {
            key: metrics.get(key)
            for key in ("au_mae_relative_to_copy", "ssim", "identity", "edits_per_second", "pairs")
        }
        rows.append({"dataset": dataset, "method": method, **in_0_5, **others})
    return rows


def _au_errors(all_runs: Sequence[Run]) -> list[tuple[str, str, dict[str, float]]]:
    """Mean AU error per AU, 0-5, of every method."""
    rows = []
    for run in all_runs:
        if not run.experiment.trains:
            estimator = run.metrics.get("au_estimator", {})
            name = estimator_name(synthetic=run.config.data.synthetic)
            rows.append((run.dataset, f"{name} on real test faces",
                         {au: MAX_INTENSITY * values["mae"] for au, values in estimator.items()}))  # fmt: skip
    for dataset, method, metrics in _labelled(all_runs):
        errors = metrics.get("au_mae_per_au", {})
        rows.append((dataset, method, {au: MAX_INTENSITY * value for au, value in errors.items()}))
    return sorted(rows, key=lambda row: row[0], reverse=True)


def _attentions(run: Run) -> list[dict[str, Any]]:
    """Mean attention of the branches, one row per stage; records name them "global" or "stage_1.global"."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in run.metrics.get("mean_attention", {}).items():
        stage, _, branch = name.rpartition(".")
        rows.setdefault(stage.removeprefix("stage_"), {})[branch] = value
    return [{"method": run.experiment.method, "dataset": run.dataset, "stage": stage or "single", "means": means}
            for stage, means in (rows or {"no attention": {}}).items()]  # fmt: skip


def _record(runs: Runs, run: Run) -> dict[str, Any]:
    """One line of the table of runs."""
    manifest = run.manifest
    notes = manifest.get("notes", {})
    return {
        "dataset": run.dataset, "method": run.experiment.method, "seed": run.seed, "updates": run.own_iterations or "–",
        "parameters": notes.get("parameters"), "training": _minutes(run)[0], "evaluation": _minutes(run)[1],
        "precision": notes.get("precision", "–"), "status": manifest.get("status", "unknown"),
        "alarms": notes.get("attention_alarms") or {}, "manifest": _link(runs, run, "manifest.json"),
        "notebooks": [_link(runs, run, n) for n in ("train.ipynb", "notebook.ipynb") if (run.folder / n).exists()],
    }  # fmt: skip
