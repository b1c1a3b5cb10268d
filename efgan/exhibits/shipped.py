"""What is shipped of a batch beside its weights: every run's numbers, executed notebooks, tables, small figures.

And the README's block about them.
"""

import base64
import io
import json
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

from efgan.editing.reference import cleaned
from efgan.errors import UserError
from efgan.paper import EXHIBITS
from efgan.provenance import write_atomic
from efgan.training.run import WEIGHTS

BEGIN, END = "<!-- results: written by scripts/ship_reference.py -->", "<!-- end of the results -->"
FIGURE_WIDTH = 1400  # pixels
NOTEBOOK_WIDTH = 800  # pixels of a picture in an executed notebook
_NOTEBOOKS = ("*/dataset.ipynb", "*/*/seed*/train.ipynb", "*/*/seed*/notebook.ipynb", "notebooks/[!.]*.ipynb")


def ship_results(root: Path, *, preset: str, destination: Path, figures: Path) -> list[Path]:
    """Copies what a finished batch on the embedded faces says of itself.

    Args:
        root: folder that holds its results/ and figures/.
        preset: of the batch.
        destination: gets config, manifest and metrics of every run, executed notebooks with small pictures, the
            tables, and the exhibits' manifests.
        figures: gets every figure, at most `FIGURE_WIDTH` wide, as JPEG.

    Returns:
        The files written.

    Raises:
        UserError: an exhibit is missing.
    """
    batch = root / "results" / "synthetic" / preset
    drawn = root / "figures" / "synthetic" / preset
    made = {path.stem for path in (*drawn.glob("*.png"), *batch.glob("tables/*.md"))}
    if missing := EXHIBITS.keys() - made:
        raise UserError(f"{batch} is not a finished batch, it lacks {', '.join(sorted(missing))}: `make reproduce "
                        f"PRESET={preset}`")  # fmt: skip
    place = destination / "synthetic" / preset
    written = []
    for manifest in (*batch.glob("*/*/seed*/manifest.json"), *batch.glob("notebooks/*.manifest.json")):
        target = place / manifest.relative_to(batch)
        if not (target.parent / WEIGHTS).exists():  # else it tells of the shipped ones
            written.append(_write(target, json.dumps(cleaned(json.loads(manifest.read_text())), indent=2) + "\n"))
    for pattern in ("*/*/seed*/config.json", "*/*/seed*/metrics.json", "tables/*.csv", "tables/*.md", "claims.csv"):
        written += [_write(place / path.relative_to(batch), path.read_text()) for path in batch.glob(pattern)]
    for path in (path for pattern in _NOTEBOOKS for path in batch.glob(pattern) if not path.stem.endswith(".error")):
        written.append(_write(place / path.relative_to(batch), light_notebook(path, root)))
    written += [_shrink(path, figures / f"{path.stem}.jpg") for path in sorted(drawn.glob("figure_*.png"))]
    return written


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
    return str(nbformat.writes(notebook)).replace(str(root.resolve()), ".") + "\n"


def results_block(place: Path, figures: str) -> str:
    """The README's part about the shipped batch, in Markdown: Figure 5, tables, claims, other figures folded away.

    Args:
        place: the shipped batch, e.g. results/reference/synthetic/mini.
        figures: the figures' folder as the README must name it.
    """
    record = json.loads((place / "synthetic_rafd/cascade_ef_gan/seed0/manifest.json").read_text())
    said: set[str] = set()
    tables = []
    for name in (e.name for e in EXHIBITS.values() if e.kind == "table"):
        lines = (place / "tables" / f"{name}.md").read_text().splitlines()
        tables.append("\n".join(line for line in lines if not line.startswith("- ") or line not in said))
        said |= {line for line in lines if line.startswith("- ")}
    shown = {e.name: f"Figure {e.name[-1]}. {e.title}" for e in EXHIBITS.values() if e.kind == "figure"}
    pictures = {name: f"![{title}]({figures}/{name}.jpg)\n\n*{title}.*" for name, title in shown.items()}
    first = pictures.pop("figure_5")
    return "\n\n".join([
        f"Embedded synthetic faces, preset `{place.name}`, commit `{record['git']['commit'][:7]}`; every number is "
        "computed, from the runs whose manifests are in `results/reference/`.",
        first, *tables, *_claims(place),
        "<details><summary>All other figures</summary>", *pictures.values(), "</details>",
    ])  # fmt: skip


def _claims(place: Path) -> list[str]:
    """The verdicts of `reference_claims` and where its executed copy is; nothing if it was not run."""
    if not (place / "claims.csv").is_file():
        return []
    rows = pd.read_csv(place / "claims.csv").drop_duplicates("claim")
    lines = [f"| {claim} | {verdict} |" for claim, verdict in zip(rows["claim"], rows["verdict"], strict=True)]
    notebook = Path(*place.parts[-4:], "notebooks", "reference_claims.ipynb").as_posix()
    return [
        "**Do the paper's claims hold here?** Paired differences over the same edits (R+G: the same test faces), 95 % "
        f"intervals over test people, and pictures: [executed notebook]({notebook}). What may explain the answers: "
        "[docs/experiments.md](docs/experiments.md).",
        "\n".join(["| claim | here |", "|---|---|", *lines]),
    ]


def write_block(readme: Path, block: str) -> Path:
    """Puts a block between the README's markers.

    Raises:
        UserError: the markers are missing.
    """
    text = readme.read_text(encoding="utf-8")
    if not (BEGIN in text and END in text.split(BEGIN, 1)[-1]):
        raise UserError(f"{readme} has no place for the results: add the two lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    return _write(readme, f"{before}{BEGIN}\n{block}\n{END}{rest.split(END, 1)[1]}")


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
