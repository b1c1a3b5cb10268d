"""Notebooks are thin, parameterised, and committed without outputs."""

import ast
import re

import nbformat
import pytest

from efgan.paper import EXHIBITS
from efgan.runner import NOTEBOOKS, read_parameters

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
EXPECTED = {"01_dataset", "02_train", "03_evaluate", *(exhibit.notebook for exhibit in EXHIBITS.values())}
every_notebook = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def parameters_cell(path):
    return next(cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", ()))


def test_every_named_notebook_is_there():
    """Those of the data, training, evaluation, and of each exhibit."""
    assert {path.stem for path in PATHS} >= EXPECTED


@every_notebook
def test_it_opens_with_title_question_and_exhibit_then_parameters(path):
    """A reader knows at once what it answers; parameters come before all other code."""
    cells = nbformat.read(path, 4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert "**Question.**" in cells[0].source and "**Exhibit.**" in cells[0].source
    assert "parameters" in cells[1].metadata.get("tags", ())


@every_notebook
def test_every_parameter_is_a_literal_with_a_comment(path):
    """One per line, `name = value  # unit, meaning`, and papermill can read each."""
    assert read_parameters(path)
    for line in parameters_cell(path).source.splitlines():
        assert re.fullmatch(r"\w+ = .+  # .+, .+", line), line


@every_notebook
def test_every_parameter_is_used_later(path):
    """A parameter without effect would lie."""
    later = [cell.source for cell in code_cells(path) if cell is not parameters_cell(path)]
    names = {node.id for source in later[0:] for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)
             and isinstance(node.ctx, ast.Load)}  # fmt: skip
    assert set(read_parameters(path)) <= names


@every_notebook
def test_it_is_thin(path):
    """At most 60 code lines, no function, no class, no magics: the work is done in the package."""
    sources = [cell.source for cell in code_cells(path)]
    assert sum(bool(line.strip()) for source in sources for line in source.splitlines()) <= 60
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)


@every_notebook
def test_it_has_no_outputs(path):
    """Results live with the runs, not in the source."""
    for cell in code_cells(path):
        assert cell.outputs == [] and cell.execution_count is None


@every_notebook
def test_it_runs_in_any_python_3_kernel(path):
    """No name or path of somebody's own kernel."""
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_its_defaults_run_where_jupyterlab_opens_it(path):
    """JupyterLab works in the notebook's folder, so the checkout is one above; the preset is the default one."""
    defaults = read_parameters(path)
    assert defaults.get("root") == ".." and defaults.get("preset", "mini") == "mini"
