"""The report: one page that can be passed on alone, with every exhibit and where it came from."""

import json
import re
import shutil
from pathlib import Path

import pytest
from fake_results import write_results
from PIL import Image, PngImagePlugin

from efgan.errors import UserError
from efgan.exhibits.goals import check_goals
from efgan.exhibits.report import write_report
from efgan.exhibits.runs import Runs
from efgan.experiments import EXPERIMENTS
from efgan.paper import EXHIBITS

CLAIMS = """comparison,difference,low,high,count,as claimed,decides,claim,verdict,measured_on
"PSNR, largest quarter",0.12345,0.1,0.2,9,yes,True,cascade,holds,x
R+G - R,-0.5,,,9,not decided,True,generated images,not decided,x
"""


def make_root(tmp_path: Path, family: str = "synthetic", seeds: int = 1) -> Path:
    write_results(tmp_path, family=family, seeds=seeds)
    folder = Runs(tmp_path, family, "smoke").figures_folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in (n for n in EXHIBITS if n.startswith("figure")):
        note = PngImagePlugin.PngInfo()
        note.add_text("Description", f"caption of {name}")
        Image.new("RGB", (20, 10), "red").save(folder / f"{name}.png", pnginfo=note)
    (tmp_path / "results" / family / "smoke" / "claims.csv").write_text(CLAIMS)
    return tmp_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_root(tmp_path_factory.mktemp("root")), "synthetic", "smoke")


def test_page_holds_everything_and_needs_nothing(written: Path) -> None:
    """All figures and tables inside, the paper's numbers beside ours, no picture or script from elsewhere."""
    page = written.read_text(encoding="utf-8")
    assert written.parts[-4:] == ("results", "synthetic", "smoke", "report.html")
    for exhibit in EXHIBITS.values():
        assert exhibit.heading in page
    assert "caption of figure_8" in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 8 + 2 + 2 and all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page and "http" not in page
    assert "89.38" in page and "70.00" in page and "Paper (RaFD)" in page


def test_claims_are_answered_on_the_page(written: Path) -> None:
    """Each with its verdict, differences and intervals, where there are any."""
    page = written.read_text(encoding="utf-8")
    assert "cascade: holds" in page and ">0.123<" in page and "0.100 to 0.200" in page
    assert "generated images: not decided" in page and ">-0.500</td><td>–<" in page


def test_page_says_that_the_faces_are_synthetic(written: Path) -> None:
    """Before any number."""
    page = written.read_text(encoding="utf-8")
    assert page.index("These faces are synthetic") < page.index("Goals</h2>")


def test_page_of_photographs_does_not_say_so(tmp_path: Path) -> None:
    """And its tables say that both sides are the same sets."""
    page = write_report(make_root(tmp_path, "real"), "real", "smoke").read_text(encoding="utf-8")
    assert "These faces are synthetic" not in page and "different faces" not in page
    assert "Here and Paper are the same sets" in page and "Here (rafd, image split, the first 8 people only)" in page


def test_links_lead_to_records_that_exist(written: Path) -> None:
    """Every manifest named on the page lies beside it."""
    links = set(re.findall(r'href="([^"#]*manifest\.json)"', written.read_text(encoding="utf-8")))
    assert len(links) == 12
    assert all((written.parent / link).is_file() for link in links)


def test_all_seeds_that_the_tables_average_are_recorded(tmp_path: Path) -> None:
    """Links to every run's manifest, its time in the sum."""
    minutes = r"([0-9.,]+) minutes of training and evaluation"
    once = write_report(make_root(tmp_path), "synthetic", "smoke").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "results")
    page = write_report(make_root(tmp_path, seeds=2), "synthetic", "smoke", seeds=2).read_text(encoding="utf-8")
    assert len(set(re.findall(r'href="([^"#]*manifest\.json)"', page))) == 2 * 12
    assert "StarGAN, seed 1" in page
    first, both = (float(re.search(minutes, text)[1]) for text in (once, page))
    assert both == pytest.approx(2 * first, abs=0.2)


@pytest.mark.parametrize(("file", "notebook"), [
    ("figures/synthetic/smoke/figure_5.png", "figure_5_comparison"),
    ("results/synthetic/smoke/claims.csv", "reference_claims"),
])  # fmt: skip
def test_what_is_missing_names_its_notebook(root: Path, file: str, notebook: str) -> None:
    """And what to do."""
    (root / file).unlink()
    command = f"efgan run-notebook {notebook} -p root {root} -p family synthetic -p preset smoke"
    with pytest.raises(UserError, match=re.escape(f"{Path(file).name} is missing: make it with `{command}`")):
        write_report(root, "synthetic", "smoke")
    assert not (root / "results/synthetic/smoke/report.html").exists()


def test_goals_are_checked_against_the_records(root: Path) -> None:
    """All are reached by the made-up results; a collapsed branch, a weak method and a low PSNR are told."""
    runs = Runs(root, "synthetic", "smoke")
    trained = [runs.run("rafd", e.name) for e in EXPERIMENTS.values() if e.trains and "rafd" in e.roles]
    assert all(goal.reached for goal in check_goals(runs, trained))
    path = runs.run("rafd", "cascade_ef_gan").folder / "metrics.json"
    changed = {"accuracy_G": 0.3, "psnr": 19.0, "mean_attention": {"stage_1.global": 0.001}}
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    again = Runs(root, "synthetic", "smoke")
    goals = check_goals(again, [again.run("rafd", run.experiment.name) for run in trained])
    failed = {goal.what for goal in goals if not goal.reached}
    assert failed == {
        "G of Cascade EF-GAN on synthetic_rafd", "PSNR of Cascade EF-GAN on synthetic_rafd", "G of every method",
        "Mean attention of every trained branch",
    }  # fmt: skip
