"""One notebook runs with checked parameters, in this interpreter, and leaves its copy and its record."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from efgan import runner
from efgan.errors import UserError
from efgan.gpus import visible_gpus
from efgan.runner import (
    SUPERVISOR,
    NotebookError,
    check_parameters,
    find_notebook,
    own_gpu,
    read_parameters,
    run_job,
    run_notebook,
)


@pytest.fixture
def make_notebook(tmp_path):
    """Writes a notebook with the given parameters cell and further code cells."""

    def make(parameters: str, *cells: str, tag: str = "parameters"):
        first = new_code_cell(parameters, metadata={"tags": [tag]})
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = new_notebook(cells=[first, *map(new_code_cell, cells)], metadata=kernel)
        path = tmp_path / "example.ipynb"
        nbformat.write(notebook, path)
        return path

    return make


def output_text(path) -> str:
    return "".join(
        output.get("text", "") for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", ())
    )


def test_parameters_are_read_with_their_defaults(make_notebook):
    """Annotated lines and values with an equals sign are seen too, which papermill's inspection misses."""
    path = make_notebook('a = 1  # unit\nb: str | None = None\nc = "x=y"  # it\'s = odd\nd = [1, 2]\ne = 0.5')
    assert read_parameters(path) == {"a": 1, "b": None, "c": "x=y", "d": [1, 2], "e": 0.5}


@pytest.mark.parametrize(("cell", "tag", "message"), [
    ("a = 1", "other", "0 cells tagged"),
    ("import os", "parameters", "is no `name = value`"),
    ("a = 1 + x", "parameters", "plain literal"),
])  # fmt: skip
def test_a_bad_parameters_cell_is_refused(make_notebook, cell, tag, message):
    """Without exactly one cell of plain literals nothing is run."""
    with pytest.raises(UserError, match=message):
        read_parameters(make_notebook(cell, tag=tag))


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    """One clear error."""
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(UserError, match="no readable notebook"):
        read_parameters(tmp_path / "broken.ipynb")


def test_an_unknown_notebook_is_refused_with_the_known_ones():
    """The message lists what there is."""
    with pytest.raises(UserError, match="02_train"):
        find_notebook("02_trian")


def test_an_unknown_parameter_is_refused_with_the_known_ones(make_notebook):
    """A misspelt name would otherwise be injected without effect."""
    with pytest.raises(UserError, match=r"no parameter sead: it accepts seed, name"):
        check_parameters(make_notebook('seed = 0\nname = "x"'), {"sead": 1})


def test_text_from_a_command_line_gets_the_type_of_the_default(make_notebook):
    """Numbers, lists and None; text stays text even if it looks like a number."""
    path = make_notebook('seed = 0\nrate = 0.1\nname = "x"\nsplit = None\nalphas = [0.5]\nflag = False')
    given = {"seed": "3", "rate": "1", "name": "7", "split": "image", "alphas": "[0.2, 1.0]", "flag": "True"}
    assert check_parameters(path, given) == {
        "seed": 3, "rate": 1.0, "name": "7", "split": "image", "alphas": [0.2, 1.0], "flag": True
    }  # fmt: skip


@pytest.mark.parametrize("value", ["three", "3.5", [3]])
def test_a_value_of_another_type_is_refused(make_notebook, value):
    """The message shows an example that fits."""
    with pytest.raises(UserError, match="is no int such as 0"):
        check_parameters(make_notebook("seed = 0"), {"seed": value})


def test_a_run_keeps_the_executed_copy_and_its_record(make_notebook, tmp_path):
    """The kernel is this interpreter, runs in the notebook's folder, and gets values, threads and progress file."""
    path = make_notebook("seed = 0", "import os, sys\nprint(seed, sys.executable, os.getcwd(), "
                         "os.environ['OMP_NUM_THREADS'], os.environ['EFGAN_PROGRESS_FILE'])")  # fmt: skip
    output = run_notebook(
        str(path), {"seed": 3}, tmp_path / "out" / "copy.ipynb", threads=2, progress_file=tmp_path / "p"
    )
    assert output_text(output).split() == ["3", sys.executable, str(tmp_path), "2", str(tmp_path / "p")]
    record = json.loads((tmp_path / "out" / "copy.manifest.json").read_text())
    assert (record["status"], record["config"], record["notes"]["notebook"]) == (
        "finished",
        {"seed": 3},
        "example.ipynb",
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["copy.ipynb", "copy.manifest.json"]


@pytest.mark.parametrize(("longest", "transport"), [(10_000, "ipc"), (0, "tcp")])
def test_kernels_share_no_ports(make_notebook, tmp_path, monkeypatch, longest, transport):
    """Of those that start at the same moment two may get the same one. Long paths hold no socket, though."""
    monkeypatch.setattr(runner, "_LONGEST_SOCKET_FOLDER", longest)
    path = make_notebook("seed = 0", "import json\nfrom ipykernel.connect import get_connection_info\n"
                         "print(json.loads(get_connection_info())['transport'])")  # fmt: skip
    output = run_notebook(str(path), {}, tmp_path / "copy.ipynb")
    assert output_text(output).split() == [transport]


def test_a_failing_cell_keeps_the_copy_that_shows_it(make_notebook, tmp_path):
    """The error names cell and reason in one line; no result stands under the asked name."""
    path = make_notebook("seed = 0", "print('so far so good')", "raise ValueError('the loss is not finite')")
    with pytest.raises(
        NotebookError, match=r"example.ipynb, cell 3: ValueError: the loss is not finite \(executed copy: "
    ):
        run_notebook(str(path), {}, tmp_path / "out" / "copy.ipynb")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["copy.error.ipynb", "copy.manifest.json"]
    assert "so far so good" in output_text(tmp_path / "out" / "copy.error.ipynb")
    assert json.loads((tmp_path / "out" / "copy.manifest.json").read_text())["status"] == "failed"


def test_a_later_good_run_clears_the_failed_copy(make_notebook, tmp_path):
    """Only the newest state is kept."""
    output = tmp_path / "copy.ipynb"
    with pytest.raises(NotebookError):
        run_notebook(str(make_notebook("seed = 0", "1 / seed")), {}, output)
    run_notebook(str(make_notebook("seed = 1", "1 / seed")), {}, output)
    assert output.exists() and not (tmp_path / "copy.error.ipynb").exists()


def test_a_job_of_a_batch_leaves_its_error_beside_its_progress(make_notebook, tmp_path):
    """That is how the batch knows which job failed and why."""
    job = tmp_path / ".jobs" / "train x.json"
    with pytest.raises(NotebookError):
        run_job(job, str(make_notebook("seed = 0", "1 / seed")), {}, tmp_path / "copy.ipynb")
    assert not job.exists()
    assert "ZeroDivisionError" in job.with_suffix(".error").read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group the Unix way")
def test_a_job_and_its_kernel_end_when_the_batch_is_killed(make_notebook, tmp_path):
    """Even SIGKILL of the batch, which it cannot handle, leaves no training running unseen."""
    path = make_notebook("seconds = 60", "import os, pathlib, time", f"pathlib.Path({str(tmp_path / 'pid')!r})"
                         ".write_text(str(os.getpid()))", "time.sleep(seconds)")  # fmt: skip
    call = f"run_job(Path('job.json'), {str(path)!r}, {{}}, 'copy.ipynb')"
    job = f"from pathlib import Path; from efgan.runner import run_job; {call}"
    batch = ("import os, subprocess, sys\n"
             f"os.environ[{SUPERVISOR!r}] = str(os.getpid())\n"
             f"subprocess.run([sys.executable, '-c', {job!r}])")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", batch], cwd=tmp_path)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), seconds=60)
    kernel, family = int((tmp_path / "pid").read_text()), psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(alive(member.pid) for member in family) and not alive(kernel), seconds=20)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for(condition, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_jobs_share_the_gpus(tmp_path, monkeypatch):
    """Jobs on two GPUs get one each, then a second one each; GPUs are called as the batch was told they are."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,MIG-7/1")
    monkeypatch.setenv("EFGAN_GPUS", "4,MIG-7/1")

    def chosen() -> str:
        return os.environ["CUDA_VISIBLE_DEVICES"]

    with own_gpu(tmp_path):
        assert chosen() == "4"
        with own_gpu(tmp_path):
            assert chosen() == "MIG-7/1"
            with own_gpu(tmp_path):
                assert chosen() == "4"
    assert chosen() == "4,MIG-7/1"


@pytest.mark.parametrize("shared", ["", "3"])
def test_a_job_takes_the_only_gpu_there_is(tmp_path, monkeypatch, shared):
    """Or none: what torch finds."""
    monkeypatch.setenv("EFGAN_GPUS", shared)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with own_gpu(tmp_path):
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(("chosen", "found"), [(None, ["0", "1"]), ("", []), ("NoDevFiles", []), ("1", ["1"]),
                                               ("GPU-8d, GPU-9e", ["GPU-8d", "GPU-9e"])])  # fmt: skip
def test_gpus_are_those_the_driver_lists_or_the_user_chose(tmp_path, monkeypatch, chosen, found):
    """None where there is no driver, whatever is chosen."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA A100 (UUID: GPU-8d)'\necho 'GPU 1: NVIDIA A100 (UUID: GPU-9e)'\n"
    )
    program.chmod(0o755)
    assert visible_gpus() == found
