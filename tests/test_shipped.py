"""What is shipped of a batch beside its weights, and how the README shows it."""

import base64
import io
import json

import nbformat
import numpy as np
import pytest
from fake_results import write_results
from PIL import Image

from efgan.errors import UserError
from efgan.exhibits.runs import Runs
from efgan.exhibits.shipped import (
    BEGIN,
    END,
    FIGURE_WIDTH,
    NOTEBOOK_WIDTH,
    light_notebook,
    results_block,
    ship_results,
    write_block,
)
from efgan.exhibits.tables import build_table
from efgan.paper import EXHIBITS


@pytest.fixture
def batch(tmp_path):
    """A finished batch: made-up runs, their tables, and noise for figures."""
    write_results(tmp_path)
    runs = Runs(root=tmp_path, preset="smoke", family="synthetic")
    drawn = tmp_path / "figures" / "synthetic" / "smoke"
    drawn.mkdir(parents=True)
    for exhibit in EXHIBITS.values():
        if exhibit.kind == "table":
            build_table(exhibit.name, runs).save(runs.results_folder / "tables")
        else:
            noise = np.random.default_rng(0).integers(0, 256, (20, FIGURE_WIDTH + 100, 3), np.uint8)
            Image.fromarray(noise).save(drawn / f"{exhibit.name}.png")
    return tmp_path


def ship(root):
    return ship_results(root, preset="smoke", destination=root / "ref", figures=root / "figs")


def judge(root, claims: str, *, started: str = "9999-01-01T00:00:00+00:00") -> None:
    """What `reference_claims` leaves: its verdicts, and the record of its execution."""
    results = root / "results/synthetic/smoke"
    (results / "claims.csv").write_text(claims)
    example = json.loads((results / "synthetic_rafd/baseline/seed0/manifest.json").read_text())
    (results / "notebooks").mkdir(exist_ok=True)
    (results / "notebooks/reference_claims.manifest.json").write_text(json.dumps(example | {"started": started}))


def test_every_run_is_told_of_without_the_machines_paths(batch):
    """Config, manifest and metrics of both sets, which `efgan compare` reads; no folder of this machine, no kernel."""
    files = ship(batch)
    runs = {path.parent.relative_to(batch / "ref/synthetic/smoke").as_posix() for path in files if "seed0" in str(path)}
    assert len(runs) == 12 and "synthetic_cfeed/stargan/seed0" in runs
    record = json.loads((batch / "ref/synthetic/smoke/synthetic_cfeed/stargan/seed0/manifest.json").read_text())
    assert str(batch) not in record["command"] and record["environment"]["platform"] == "Linux"


def test_the_record_of_every_evaluation_is_shipped(batch):
    """It ties the numbers to the code that computed them."""
    folder = "synthetic/smoke/synthetic_rafd/baseline/seed0"
    record = (batch / "results" / folder / "manifest.json").read_text()
    (batch / "results" / folder / "evaluation.manifest.json").write_text(record)
    assert batch / "ref" / folder / "evaluation.manifest.json" in ship(batch)


def test_claims_judged_before_the_last_evaluation_are_not_shipped(batch):
    """They are of other runs; the notebook's own manifest says when it was run."""
    judge(batch, "claim,what,verdict\ncascade,PSNR,holds\n", started="1999-01-01T00:00:00+00:00")
    with pytest.raises(UserError, match=r"older than its runs.*efgan run-notebook reference_claims -p preset smoke"):
        ship(batch)
    judge(batch, "claim,what,verdict\ncascade,PSNR,holds\n")
    assert batch / "ref/synthetic/smoke/claims.csv" in ship(batch)


def test_figures_are_made_small(batch):
    """No wider than a page of the README needs."""
    ship(batch)
    sizes = {Image.open(path).width for path in (batch / "figs").glob("*.jpg")}
    assert sizes == {FIGURE_WIDTH} and len(list((batch / "figs").glob("*.jpg"))) == 8


def executed_notebook(path, root):
    """A copy as papermill leaves it: paths of the machine in its record and its text, and a wide picture."""
    picture = io.BytesIO()
    Image.fromarray(np.zeros((30, NOTEBOOK_WIDTH + 100, 3), np.uint8)).save(picture, "PNG")
    drawn = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(picture.getvalue()).decode()})
    said = nbformat.v4.new_output(
        "stream", text=f"{root}/results/x\n/srv/somebody/efgan/training/trainer.py:237: UserWarning: y\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[drawn, said])])
    notebook.metadata["papermill"] = {"input_path": f"{root}/notebooks/a.ipynb", "parameters": {"seed": 0}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def test_executed_notebooks_are_shipped_light(batch):
    """Small JPEGs for pictures, the parameters, no path of this machine; failed or unfinished ones are not shipped."""
    runs = batch / "results/synthetic/smoke"
    executed_notebook(runs / "synthetic_rafd/stargan/seed0/train.ipynb", batch)
    executed_notebook(runs / "notebooks/figure_1.error.ipynb", batch)
    executed_notebook(runs / "notebooks/.figure_2.123.partial.ipynb", batch)
    shipped = [path for path in ship(batch) if path.suffix == ".ipynb"]
    assert shipped == [batch / "ref/synthetic/smoke/synthetic_rafd/stargan/seed0/train.ipynb"]
    text = shipped[0].read_text()
    assert str(batch) not in text and "./results/x" in text
    assert "somebody" not in text and "efgan/training/trainer.py:237: UserWarning: y" in text
    notebook = nbformat.read(shipped[0], as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["papermill"] == {"parameters": {"seed": 0}}
    picture = notebook.cells[0].outputs[0].data["image/jpeg"]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).width == NOTEBOOK_WIDTH
    assert light_notebook(shipped[0], batch) == text, "made light twice it is the same"


def test_an_unfinished_batch_is_refused(batch):
    """It says what is missing and how to get it."""
    (batch / "figures/synthetic/smoke/figure_3.png").unlink()
    with pytest.raises(UserError, match="lacks figure_3: `make reproduce PRESET=smoke`"):
        ship(batch)


def test_the_readme_shows_tables_and_figures_of_what_was_shipped(batch):
    """Between its markers; what stands around them stays; written twice it is the same; no note is said twice."""
    judge(batch, "claim,what,verdict\ncascade,PSNR,does not hold\ncascade,G,does not hold\nR+G,accuracy,holds\n")
    ship(batch)
    readme = batch / "README.md"
    begin, end = (marker.format(preset="smoke") for marker in (BEGIN, END))
    readme.write_text(f"# Title\n{begin}\nformer\n{end}\nend\n")
    for _ in range(2):
        write_block(readme, "smoke", results_block(batch / "ref/synthetic/smoke", "figs", batch))
        text = readme.read_text()
        assert text.startswith("# Title\n") and text.endswith("\nend\n") and "former" not in text
        assert "preset `smoke`, commit `c0ffee`" in text and text.count("Table 2.") == 1
        assert text.count("- Copy control:") == 1
        assert text.count("| cascade | does not hold |") == 1 and "| R+G | holds |" in text
        assert all(f"(figs/figure_{k}.jpg)" in text for k in range(1, 9))
    readme.write_text("# Title\n")
    with pytest.raises(UserError, match="no place for the results"):
        write_block(readme, "smoke", "")


def test_the_readme_shows_one_row_per_method_and_the_commits(batch):
    """G, R+G and the distance of every run of both sets, R of the set beside its name; all commits of manifests."""
    record = batch / "results/synthetic/smoke/synthetic_cfeed/stargan/seed0/manifest.json"
    record.write_text(record.read_text().replace("c0ffee", "decaf0123").replace("false", "true"))
    ship(batch)
    block = results_block(batch / "ref/synthetic/smoke", "figs", batch)
    assert "commits `c0ffee`, `decaf01` with changes;" in block
    rows = [line for line in block.splitlines() if line.startswith(("| synthetic_rafd (", "| synthetic_cfeed ("))]
    assert len(rows) == 10 and "Fréchet distance in the features of efficientnet-lite0;" in block
    assert rows[5] == "| synthetic_rafd (95.0) | Cascade EF-GAN | 70.0 | 90.0 | – | 49.3 | 0.50 | – |"


def test_part_of_a_batch_is_shipped_on_request(batch):
    """What is wanting is left out, in the README too."""
    for path in (*(batch / "figures/synthetic/smoke").glob("figure_[3-8].png"), *batch.rglob("table_3.*")):
        path.unlink()
    ship_results(batch, preset="smoke", destination=batch / "ref", figures=batch / "figs", whole=False)
    block = results_block(batch / "ref/synthetic/smoke", "figs", batch)
    assert "figure_2.jpg" in block and "figure_5" not in block and "Table 1." in block and "Table 3." not in block
