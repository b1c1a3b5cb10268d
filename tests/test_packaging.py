"""pyproject, constraints, environment and the checkout say the same thing."""

import re
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

import efgan

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def name_of(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement.strip())[0].lower().replace("_", "-")


def all_requirements() -> set[str]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    lists = [PROJECT["project"]["dependencies"], *extras]
    return {name_of(requirement) for group in lists for requirement in group} - {"efgan"}


def test_every_requirement_has_an_exact_version():
    """What is installed tomorrow is what was tested today."""
    pinned = {name_of(line) for line in LINES}
    assert all_requirements() <= pinned


def test_constraints_hold_versions_and_nothing_else():
    """No registry, path or local build: what any user can get."""
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*( ; [^@]+)?", line), line
    assert not any(word in "\n".join(LINES) for word in ("://", "+cpu", "+cu", "--"))


def test_torch_and_torchvision_are_the_tested_pair():
    """Another pair breaks torch-fidelity."""
    assert {"torch==2.13.0", "torchvision==0.28.0", "ipykernel==6.31.0", "torch-fidelity==0.4.0"} <= set(LINES)


def test_what_runs_here_is_what_the_constraints_say():
    """The tests speak for the versions that users get."""
    exact = dict(line.split("==") for line in LINES if ";" not in line)
    for name in all_requirements() & exact.keys():
        try:
            version = distribution(name).version.split("+")[0]
        except ModuleNotFoundError:
            continue  # an extra that is not installed here
        assert version == exact[name], f"{name}: installed {version}, constrained to {exact[name]}"


def test_conda_users_get_the_same():
    """environment.yml repeats nothing: Python, pip, and the constraints."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, pip = environment["dependencies"]
    assert [name_of(entry) for entry in plain] == ["python", "pip"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert plain[0] == f"python={lowest}"


def test_the_version_is_stated_once_as_far_as_possible():
    """Package, project and citation agree."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert efgan.__version__ == PROJECT["project"]["version"] == citation["version"]


def test_every_data_file_is_part_of_the_package():
    """Whatever lies beside the modules is matched by package-data."""
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["efgan"]
    package = ROOT / "efgan"
    matched = {path for pattern in patterns for path in package.glob(pattern)}
    data = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
            and path.suffix != ".py" and not path.name.startswith(".")}  # fmt: skip
    assert data <= matched, sorted(map(str, data - matched))
    assert package / "data" / "synthetic" / "head.npz" in matched


def test_importing_the_package_is_light_and_its_names_are_there():
    """`load_editor` and `load_faces` come when asked for; others do not exist."""
    from efgan import load_editor, load_faces

    assert callable(load_editor) and callable(load_faces)
    with pytest.raises(AttributeError, match="no attribute 'load_everything'"):
        _ = efgan.load_everything


@pytest.mark.parametrize("target", ["reproduce", "test", "test-all", "lint", "clean"])
def test_make_knows_its_targets(target):
    """`make --dry-run` plans each without running it."""
    done = subprocess.run(["make", "--dry-run", target, "VENV=.venv-absent"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert target == "clean" or "-c constraints.txt" in done.stdout  # a bare clone sets itself up first


def test_make_passes_every_variable_on():
    """PRESET, DATASET, SEEDS, JOBS, DATA_ROOT and SPLIT reach the command."""
    given = {"PRESET": "smoke", "DATASET": "real", "SEEDS": "3", "JOBS": "4", "DATA_ROOT": "/data", "SPLIT": "image"}
    command = ["make", "--dry-run", "reproduce", *(f"{name}={value}" for name, value in given.items())]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name, value in given.items():
        assert f'--{name.lower().replace("_", "-")} "{value}"' in text
