"""What is shipped of a batch beside its weights: every run's numbers, executed notebooks, tables, small figures.

And the README's block about them.
"""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

from efgan.editing.reference import METHODS, cleaned
from efgan.errors import UserError
from efgan.experiments import find_experiment
from efgan.paper import EXHIBITS
from efgan.provenance import write_atomic
from efgan.training.run import WEIGHTS

BEGIN, END = "<!-- results of {preset}: written by scripts/ship_reference.py -->", "<!-- end of {preset} -->"
FIGURE_WIDTH = 1400  # pixels
NOTEBOOK_WIDTH = 800  # pixels of a picture in an executed notebook
_NOTEBOOKS = ("*/dataset.ipynb", "*/*/seed*/train.ipynb", "*/*/seed*/notebook.ipynb", "notebooks/[!.]*.ipynb")
_CODE = re.compile(r"/[\w./+-]*/((?:efgan|site-packages)/[\w./]+\.py:)")  # the path in a Python warning


def ship_results(root: Path, *, preset: str, destination: Path, figures: Path, whole: bool = True) -> list[Path]:
    """Copies what a finished batch on the embedded faces says of itself.

    Args:
        root: folder that holds its results/ and figures/.
        preset: of the batch.
        destination: gets config, manifest and metrics of every run, executed notebooks with small pictures, the
            tables, and the exhibits' manifests.
        figures: gets every figure, at most `FIGURE_WIDTH` wide, as JPEG.
        whole: False if some of its runs and exhibits are wanting.

    Returns:
        The files written.

    Raises:
        UserError: an exhibit of a whole batch is missing, or its claims were judged before a run was made anew.
    """
    batch = root / "results" / "synthetic" / preset
    drawn = root / "figures" / "synthetic" / preset
    made = {path.stem for path in (*drawn.glob("*.png"), *batch.glob("tables/*.md"))}
    if whole and (missing := EXHIBITS.keys() - made):
        raise UserError(f"{batch} is not a finished batch, it lacks {', '.join(sorted(missing))}: `make reproduce "
                        f"PRESET={preset}`")  # fmt: skip
    place = destination / "synthetic" / preset
    written = []
    _require_claims_of_these_runs(batch)
    evaluations = batch.glob("*/*/seed*/evaluation.manifest.json")
    for manifest in (*batch.glob("*/*/seed*/manifest.json"), *evaluations, *batch.glob("notebooks/*.manifest.json")):
        target = place / manifest.relative_to(batch)
        if manifest.name != "manifest.json" or not (target.parent / WEIGHTS).exists():  # else it tells of these
            written.append(_write(target, json.dumps(cleaned(json.loads(manifest.read_text())), indent=2) + "\n"))
    for pattern in ("*/*/seed*/config.json", "*/*/seed*/metrics.json", "tables/*.csv", "tables/*.md", "claims.csv"):
        written += [_write(place / path.relative_to(batch), path.read_text()) for path in batch.glob(pattern)]
    for path in (path for pattern in _NOTEBOOKS for path in batch.glob(pattern) if not path.stem.endswith(".error")):
        written.append(_write(place / path.relative_to(batch), light_notebook(path, root)))
    written += [_shrink(path, figures / f"{path.stem}.jpg") for path in sorted(drawn.glob("figure_*.png"))]
    return written


def _require_claims_of_these_runs(batch: Path) -> None:
    """Nothing for claims that were judged after the last evaluation, or for none."""
    if not (batch / "claims.csv").exists():
        return
    record = batch / "notebooks" / "reference_claims.manifest.json"
    judged = json.loads(record.read_text())["started"] if record.exists() else ""
    evaluated = [json.loads(path.read_text()).get("ended", "") for path in batch.glob("*/*/seed*/*manifest.json")]
    if judged < max(evaluated, default=""):
        raise UserError(f"{batch / 'claims.csv'} is older than its runs: `efgan run-notebook reference_claims "
                        f"-p preset {batch.name} -p root {batch.parents[2]}`")  # fmt: skip


def light_notebook(path: Path, root: Path) -> str:
    """An executed notebook with small pictures and without paths of the machine it ran on.

    Args:
        path: the executed copy.
        root: the folder that held its results/, which becomes ".".
    """
    notebook = nbformat.read(path, as_version=4)
    record = notebook.metadata.get("papermill", {})
    kept = ("parameters", "start_time", "duration")
    notebook.metadata["papermill"] = {key: record[key] for key in kept if key in record}
    for data in (output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])):
        if "image/png" in data:
            picture = io.BytesIO(base64.b64decode(data.pop("image/png")))
            data["image/jpeg"] = base64.b64encode(_jpeg(picture, NOTEBOOK_WIDTH)).decode()
    text = str(nbformat.writes(notebook)).replace(str(root.resolve()), ".")
    return _CODE.sub(r"\1", text) + "\n"


def results_block(place: Path, figures: str, root: Path) -> str:
    """The README's part about a shipped batch, in Markdown: Figure 5, numbers, tables, claims, other figures folded.

    Args:
        place: the shipped batch, e.g. results/reference/synthetic/mini.
        figures: the figures' folder as the README must name it.
        root: the README's folder.
    """
    said: set[str] = set()
    tables = []
    for path in sorted(place.glob("tables/*.md")):
        lines = path.read_text().splitlines()
        tables.append("\n".join(line for line in lines if not line.startswith("- ") or line not in said))
        said |= {line for line in lines if line.startswith("- ")}
    titles = {e.name: f"Figure {e.name[-1]}. {e.title}" for e in EXHIBITS.values() if e.kind == "figure"}
    pictures = {name: f"![{title}]({figures}/{name}.jpg)\n\n*{title}.*" for name, title in titles.items()
                if (root / figures / f"{name}.jpg").exists()}  # fmt: skip
    first = [pictures.pop("figure_5")] if "figure_5" in pictures else []
    folded = ["<details><summary>All other figures</summary>", *pictures.values(), "</details>"] if pictures else []
    return "\n\n".join([
        f"Embedded synthetic faces, preset `{place.name}`, {_commits(place)}; every number is computed, from the runs "
        "whose manifests are in `results/reference/`.",
        *first, _overview(place), *tables, *_claims(place), *folded,
    ])  # fmt: skip


def _commits(place: Path) -> str:
    """The commits of all shipped runs and exhibits, as their manifests name them."""
    states = [json.loads(path.read_text())["git"] for path in place.rglob("*manifest.json")]
    names = sorted({f"`{git['commit'][:7]}`" + " with changes" * git["dirty"] for git in states if git})
    return f"commit{'s' if len(names) > 1 else ''} {', '.join(names)}"


_OVERVIEW = {  # heading → number of metrics.json, factor, format
    "G, % ↑": ("accuracy_G", 100, ".1f"), "R+G, % ↑": ("accuracy_RG", 100, ".1f"),
    "PSNR above copying, dB ↑": ("psnr_over_copy", 1, "+.2f"), "Fréchet distance ↓": ("fd", 1, ".1f"),
    "AU error ÷ copying's ↓": ("au_mae_relative_to_copy", 1, ".2f"), "same person, % ↑": ("identity", 100, ".1f"),
}  # fmt: skip


def _overview(place: Path) -> str:
    """What was measured of every method with the first seed, one row per dataset and method."""
    extractors: set[str] = set()
    lines = [f"| Set (R, %) | Method | {' | '.join(_OVERVIEW)} |", "|---|---|" + "--:|" * len(_OVERVIEW)]
    for dataset in sorted((path for path in place.iterdir() if (path / "controls").is_dir()), reverse=True):
        found = {path.parts[-3]: json.loads(path.read_text()) for path in dataset.glob("*/seed0/metrics.json")}
        heading = f"{dataset.name} ({100 * found['controls']['accuracy_R']:.1f})"
        for name in (name for name in METHODS if name in found):
            extractors.add(found[name]["fd_extractor"])
            cells = [format(factor * found[name][key], form) if found[name].get(key) is not None else "–"
                     for key, factor, form in _OVERVIEW.values()]  # fmt: skip
            lines.append(f"| {' | '.join([heading, find_experiment(name).method, *cells])} |")
    features = ", ".join(sorted(extractors))
    note = f"*Seed 0. Fréchet distance in the features of {features}; AU error by efgan's AU estimator.*"
    return "\n".join([*lines, "", note])


def _claims(place: Path) -> list[str]:
    """The verdicts of `reference_claims` and where its executed copy is; nothing if it was not run."""
    if not (place / "claims.csv").is_file():
        return []
    rows = pd.read_csv(place / "claims.csv").drop_duplicates("claim")
    lines = [f"| {claim} | {verdict} |" for claim, verdict in zip(rows["claim"], rows["verdict"], strict=True)]
    notebook = Path(*place.parts[-4:], "notebooks", "reference_claims.ipynb").as_posix()
    return [
        "**Do the paper's claims hold here?** Paired differences over the same edits (R+G: the same test faces), 95 % "
        f"intervals over test people (not over trainings), and pictures: [executed notebook]({notebook}). What may "
        "explain the answers: [docs/experiments.md](docs/experiments.md).",
        "\n".join(["| claim | here |", "|---|---|", *lines]),
    ]


def write_block(readme: Path, preset: str, block: str) -> Path:
    """Puts a block between the README's markers of a preset.

    Raises:
        UserError: the markers are missing.
    """
    text = readme.read_text(encoding="utf-8")
    begin, end = (marker.format(preset=preset) for marker in (BEGIN, END))
    if not (begin in text and end in text.split(begin, 1)[-1]):
        raise UserError(f"{readme} has no place for the results: add the two lines {begin} and {end}")
    before, rest = text.split(begin, 1)
    return _write(readme, f"{before}{begin}\n{block}\n{end}{rest.split(end, 1)[1]}")


def _write(path: Path, text: str) -> Path:
    with write_atomic(path) as file:
        file.write(text)
    return path


def _shrink(path: Path, target: Path) -> Path:
    with write_atomic(target, "wb") as file:
        file.write(_jpeg(path, FIGURE_WIDTH))
    return target


def _jpeg(picture: Path | io.BytesIO, width: int) -> bytes:
    """The picture, at most so many pixels wide."""
    image, written = Image.open(picture).convert("RGB"), io.BytesIO()
    image.thumbnail((width, image.height), Image.Resampling.LANCZOS)
    image.save(written, "JPEG", quality=90, subsampling=0)
    return written.getvalue()
