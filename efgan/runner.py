"""Runs one notebook: parameters checked, executed copy kept, record written before and after."""

import ast
import itertools
import json
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil

from efgan.errors import UserError
from efgan.gpus import CHOSEN
from efgan.progress import PROGRESS_FILE
from efgan.provenance import COMMAND, Manifest, sha256_of

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
GPUS = "EFGAN_GPUS"  # environment variable: the GPUs that the jobs of a batch share, separated by commas
_JOBS_PER_GPU = 64  # at most, beyond which a job takes what torch takes
_LONGEST_SOCKET_FOLDER = 80  # a socket's whole path must stay below 104 bytes
SUPERVISOR = "EFGAN_SUPERVISOR_PID"  # environment variable: this process ends when that ancestor does


class NotebookError(UserError):
    """A cell of a notebook raised; the executed copy that shows it was kept."""


def find_notebook(name: str) -> Path:
    """The notebook of that name ("02_train"), or a path to any other one.

    Raises:
        UserError: there is none; the message lists those there are.
    """
    for path in (NOTEBOOKS / f"{name}.ipynb", Path(name)):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    if not names:
        raise UserError(f"no notebooks in {NOTEBOOKS}: run efgan from a checkout of its repository, installed with "
                        "`make` or `pip install -e .`")  # fmt: skip
    raise UserError(f"unknown notebook {name!r}: choose one of {names}, or a path to an .ipynb file")


def read_parameters(path: Path) -> dict[str, Any]:
    """Name and default of every parameter: the assignments in the cell tagged `parameters`.

    Papermill's own inspection overlooks some lines, and a name it overlooks is injected without effect.

    Raises:
        UserError: no notebook, no such cell, or a line in it that is no `name = literal`.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable notebook") from error
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    if len(cells) != 1:
        raise UserError(f"{path.name} has {len(cells)} cells tagged `parameters`; it needs exactly one")
    parameters = {}
    for statement in ast.parse(cells[0].source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                raise UserError(f"{path.name}: `{ast.unparse(statement)}` in the parameters cell is no `name = value`")
        try:
            parameters[name] = ast.literal_eval(value)
        except ValueError:
            raise UserError(f"{path.name}: parameter {name} must be a plain literal") from None
    return parameters


def check_parameters(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters with the types of their defaults; text from a command line is converted.

    Raises:
        UserError: a name the notebook does not have, or a value that does not fit.
    """
    defaults = read_parameters(path)
    if unknown := sorted(set(given) - set(defaults)):
        raise UserError(f"{path.name} has no parameter {', '.join(unknown)}: it accepts {', '.join(defaults)}")
    return {name: _convert(path, name, value, defaults[name]) for name, value in given.items()}


def _convert(path: Path, name: str, value: Any, default: Any) -> Any:
    if value is None or isinstance(default, str):
        return value if value is None else str(value)
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            if default is not None:
                raise UserError(f"{path.name}: {name} = {value!r} is no {type(default).__name__} "
                                f"such as {default!r}") from None  # fmt: skip
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if default is not None and value is not None and type(value) is not type(default):
        raise UserError(f"{path.name}: {name} = {value!r} is no {type(default).__name__} such as {default!r}")
    return value


def run_notebook(
    name: str, parameters: Mapping[str, Any], output: Path | str, *, cwd: Path | str | None = None,
    progress_file: Path | str | None = None, threads: int | None = None,
) -> Path:  # fmt: skip
    """Executes a notebook with this interpreter and keeps the executed copy.

    Beside `output` (x.ipynb) stands its record, x.manifest.json: command, parameters, the notebook's hash, git
    commit, environment, times, status. When a cell raises, the copy is kept as x.error.ipynb.

    Args:
        name: "02_train", "figure_1_teaser", … or a path.
        parameters: values for the cell tagged `parameters`; text is converted to the type of the default.
        output: the executed copy, written when all cells have run.
        cwd: folder to run in; by default the notebook's own, as in JupyterLab.
        progress_file: see `efgan.progress.track`.
        threads: CPU threads for the notebook's libraries; by default what the environment says.

    Returns:
        `output`.

    Raises:
        UserError: unknown notebook or parameter; NotebookError where a cell raised.
    """
    path, output = find_notebook(name), Path(output)
    values = check_parameters(path, parameters)
    _raise_if_unwritable(output)
    manifest = Manifest.start(output.parent, name=f"{output.stem}.manifest.json", config=values,
                              notes={"notebook": path.name, "notebook_sha256": sha256_of(path)})  # fmt: skip
    failed = output.with_name(f"{output.stem}.error.ipynb")
    partial = output.with_name(f".{output.stem}.{os.getpid()}.partial.ipynb")
    environment = {PROGRESS_FILE: str(Path(progress_file).resolve()) if progress_file else None,
                   COMMAND: manifest.record["command"]}  # fmt: skip
    if threads:
        environment |= {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    try:
        with _environment(environment), _this_interpreter() as sockets:
            _execute(path, partial, values, Path(cwd) if cwd else path.parent, sockets)
        partial.replace(output)
        failed.unlink(missing_ok=True)
    except NotebookError as error:
        with suppress(OSError):
            partial.replace(failed)
            error.args = (f"{error.args[0]} (executed copy: {failed})",)
        manifest.fail(error)
        raise
    except BaseException as error:
        manifest.fail(error)
        raise
    finally:
        partial.unlink(missing_ok=True)
    manifest.finish(outputs=[output])
    return output


def run_job(job: Path, name: str, parameters: Mapping[str, Any], output: Path | str, *, cwd: Path | str | None = None,
            threads: int | None = None) -> None:  # fmt: skip
    """`run_notebook` as one job of a batch: with a progress file while it runs and, if it fails, its error beside it.

    Args:
        job: the progress file, x.json; an error is kept as x.error.
        name, parameters, output, cwd, threads: see `run_notebook`.
    """
    _end_with_supervisor()
    job.parent.mkdir(parents=True, exist_ok=True)
    job.with_suffix(".error").unlink(missing_ok=True)  # of a try before
    job.write_text("{}")
    try:
        with own_gpu(job.parent):
            run_notebook(name, parameters, output, cwd=cwd, progress_file=job, threads=threads)
    except BaseException as error:
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            job.with_suffix(".error").write_text(text)
        raise
    finally:
        job.unlink(missing_ok=True)


@contextmanager
def own_gpu(folder: Path) -> Iterator[None]:
    """Where a batch has several GPUs, one for this job; a second job on one only while each has a first, and so on.

    Args:
        folder: holds the lock files; a lock is freed by the system even when its job is killed.
    """
    gpus = [name for name in os.environ.get(GPUS, "").split(",") if name]
    if len(gpus) < 2:
        yield
        return
    import fcntl

    with ExitStack() as stack:
        for turn, (number, gpu) in itertools.product(range(_JOBS_PER_GPU), enumerate(gpus)):
            file = stack.enter_context((folder / f"gpu{number}.{turn}.lock").open("w"))
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stack.enter_context(_environment({CHOSEN: gpu}))
                break
        yield


def _execute(path: Path, output: Path, values: dict[str, Any], cwd: Path, sockets: Path) -> None:
    """Papermill, with its errors as ours.

    Kernel and client talk through files in `sockets`, not through TCP ports: of kernels that start at the same moment
    two now and then get the same port, and one dies. Paths of sockets are short, so a long folder must do with TCP.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own making
        import papermill
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config

        files = {"transport": "ipc", "connection_file": str(sockets / "kernel.json")}
        config = Config({"ConnectionFileMixin": files if len(str(sockets)) < _LONGEST_SOCKET_FOLDER else {}})
        try:
            papermill.execute_notebook(str(path), str(output), parameters=values, kernel_name="python3",
                                       cwd=str(cwd), progress_bar=False, log_output=False, config=config)  # fmt: skip
        except papermill.PapermillExecutionError as error:
            raise NotebookError(f"{path.name}, cell {error.exec_count}: {_reason(error.ename, error.evalue)}") from None
        except DeadKernelError:
            raise NotebookError(f"{path.name}: its Python process was killed; often memory ran out: close other "
                                "programs, lower --jobs, or choose a smaller preset") from None  # fmt: skip


def _reason(name: str, value: str) -> str:
    """One line for a person; an error of ours needs no class name."""
    lines = value.strip().splitlines() or [""]
    text = lines[-1] if name in ("CalledProcessError",) else lines[0]
    return text if name in ("UserError", "NotebookError") and text else f"{name}: {text}"


def _raise_if_unwritable(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to {output.parent}: {error.strerror}; choose another folder or make room"
        ) from None


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables for the kernel; those that are None are left as they are."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _this_interpreter() -> Iterator[Path]:
    """Makes the kernel "python3" this very interpreter, whatever kernels the user has installed; gives a folder for it.

    JUPYTER_PATH goes before all other places, so it must hold ours and nothing else.
    """
    with tempfile.TemporaryDirectory(prefix="efgan-kernel-") as folder:
        spec = Path(folder) / "kernels" / "python3"
        spec.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        content = {"argv": command, "display_name": "Python 3", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(content))
        with _environment({"JUPYTER_PATH": folder, "JUPYTER_PLATFORM_DIRS": "1"}):
            yield Path(folder)


def _end_with_supervisor() -> None:
    """Ends this process and its kernel when `efgan reproduce` is gone, so that no training runs on unseen."""
    text = os.environ.get(SUPERVISOR, "")
    ancestors = {parent.pid: parent for parent in psutil.Process().parents()}
    if not text.isdigit() or int(text) not in ancestors:  # by hand, or on another node of a cluster
        return
    supervisor = ancestors[int(text)]

    def watch() -> None:
        while supervisor.is_running() and supervisor.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1.0)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
