"""The house: imports point one way, files and functions stay small enough to read."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "efgan"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the foundation up; modules of one layer may import each other, but not in a circle.
LAYERS = (
    ("errors", "config", "experiments", "paper", "provenance", "progress", "gpus", "grids"),
    ("data",), ("models",), ("training",), ("editing",), ("evaluation",), ("exhibits",),
    ("runner", "monitor", "batch", "doctor", "cli"),
)  # fmt: skip
# The loop, and the per-pixel kernel: numba's cache on disk does not notice a change in a kernel of another file.
LONG_FUNCTIONS = {"Trainer.run": 120, "shade_head": 100, "shade_hair": 75}
LONG_FILES = {"shading.py": 450, "config.py": 330}
every_module = pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])


def name_of(path: Path) -> str:
    parts = ("efgan", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    part = [*module.split("."), ""][1]
    return next(i for i, names in enumerate(LAYERS) if part in names)


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Modules of the package that a module imports, wherever in it; names of type checking only are left out."""
    names = {name_of(other) for other in MODULES}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (within & names) or {node.module}
    return frozenset(found & names - {"efgan"})


@every_module
def test_imports_point_down(path):
    """A module knows only its own layer and those below."""
    if name_of(path) == "efgan":
        return  # its two names are handed out on demand
    upward = [other for other in imports_of(path) if layer_of(other) > layer_of(name_of(path))]
    assert not upward, f"{name_of(path)} (layer {layer_of(name_of(path))}) imports {upward}"


def test_no_circles():
    """Following imports never leads back."""
    graph = {name_of(path): imports_of(path) for path in MODULES if name_of(path) != "efgan"}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                # a package's __init__ hands on its own modules; that is no circle of meaning
                if not module.startswith(other + "."):
                    visit(other, (*way, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_every_module_has_its_layer():
    """A new file at the top is given a place in the house."""
    for path in MODULES:
        assert name_of(path) == "efgan" or layer_of(name_of(path)) >= 0


@every_module
def test_files_are_short(path):
    """About 300 lines at most."""
    assert len(path.read_text().splitlines()) <= LONG_FILES.get(path.name, 320)


@every_module
def test_functions_are_short(path):
    """About 50 lines of code at most, the training loop 120; docstrings do not count."""
    for owner, node in functions_of(path):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        name = f"{owner}{node.name}"
        assert lines <= LONG_FUNCTIONS.get(name, 60), f"{name}: {lines} lines"


@every_module
def test_public_names_have_docstrings(path):
    """Modules, classes, functions and public methods say what they are."""
    tree = ast.parse(path.read_text())
    text = path.read_text().strip()
    assert not text or ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"class {node.name} has no docstring"
    for owner, node in functions_of(path):
        if not node.name.startswith("_") and not owner.startswith("_") and not is_inner(tree, node):
            simple = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list) or node.name in (
                "forward", "__len__", "invoke")  # fmt: skip
            assert simple or ast.get_docstring(node), f"{owner}{node.name} has no docstring"


def functions_of(path: Path):
    """(owner, function) for functions and methods; the owner is "" or "Class."."""
    tree = ast.parse(path.read_text())
    methods = {id(f): f"{c.name}." for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield methods.get(id(node), ""), node


def is_inner(tree: ast.Module, function: ast.AST) -> bool:
    """Defined inside another function (compared by place: `tree` may be another parse)."""
    place = (function.lineno, function.col_offset)
    return any(
        isinstance(outer, ast.FunctionDef) and (outer.lineno, outer.col_offset) != place
        and any((inner.lineno, inner.col_offset) == place for inner in ast.walk(outer)
                if isinstance(inner, ast.FunctionDef))
        for outer in ast.walk(tree)
    )  # fmt: skip


@every_module
def test_nothing_is_passed_on_blindly(path):
    """No catch-all keyword arguments but where a decorator or a person's own names need them."""
    allowed = {"edit", "reproduce", "render", "train"}  # AU12=3 of the editor, options of the command line
    for _, node in functions_of(path):
        blind = node.args.kwarg and not node.name.startswith("_") and node.name not in allowed
        assert not blind, f"{node.name} takes **{node.args.kwarg.arg}"


def test_no_file_is_called_utils():
    """Concepts have names."""
    assert not [path for path in MODULES if path.stem in ("utils", "helpers", "common", "misc")]


@pytest.mark.parametrize("phrase", ["/" + "work/", "/" + "home/", "/" + "root/"])
def test_no_path_of_anybodys_machine(phrase):
    """Nothing in the sources points outside the checkout."""
    files = [*MODULES, *PACKAGE.parent.glob("tests/*.py"), *PACKAGE.parent.glob("notebooks/*.ipynb"),
             PACKAGE.parent / "Snakefile", PACKAGE.parent / "Makefile", PACKAGE.parent / "pyproject.toml"]  # fmt: skip
    assert not [path.name for path in files if phrase in path.read_text(encoding="utf-8")]
