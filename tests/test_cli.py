"""The command line: help with examples everywhere, one line per user error, telling exit codes."""

import errno

import pytest
from click.testing import CliRunner

import efgan.cli
from efgan.cli import main
from efgan.config import to_json
from efgan.experiments import run_config, run_folder

COMMANDS = sorted(name for name, command in main.commands.items() if not command.hidden)


def call(*arguments: str):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    """A newcomer can copy a line that works."""
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"efgan {command}" in result.output.split("Examples:")[1]


@pytest.mark.parametrize(("arguments", "message"), [
    (["reproduce", "--preset", "huge"], "unknown preset 'huge': choose one of smoke, mini, long, paper, slim"),
    (["reproduce", "--dataset", "imagenet"], "unknown DATASET 'imagenet': choose synthetic or real"),
    (["reproduce", "--split", "half"], "unknown split 'half': choose one of identity, image"),
    (["reproduce", "--jobs", "0"], "jobs = 0 is not accepted: 1 or more"),
    (["reproduce", "--seeds", "0"], "seeds = 0 is not accepted: 1 or more"),
    (["train", "pix2pix"], "unknown experiment 'pix2pix': choose one of"),
    (["train", "baseline", "--dataset", "mnist"], "unknown dataset 'mnist': choose one of"),
    (["train", "controls"], "controls/seed0 --split identity`"),
    (["evaluate", "nowhere"], "is no run folder"),
    (["edit", "nobody.jpg", "--au", "AU12"], "--au AU12 is not understood: write an Action Unit and a number"),
    (["edit", "nobody.jpg", "--expression", "happy"], "nobody.jpg: no such file"),
    (["edit", "a", "b", "c"], "takes one RUN at most"),
    (["edit", "nobody.jpg", "--out", "me.tif"], "me.tif: cannot write .tif; choose .png, .jpg or .webp"),
    (["edit", "nobody.jpg", "--gif", "me.avi"], "me.avi: an animation ends in .gif or .mp4"),
    (["run-notebook", "04_deploy"], "unknown notebook '04_deploy': choose one of 01_dataset"),
    (["run-notebook", "02_train", "-p", "sead", "1"], "no parameter sead: it accepts root, dataset"),
    (["run-notebook", "02_train", "-p", "seed", "one"], "seed = 'one' is no int such as 0"),
])  # fmt: skip
def test_a_user_error_is_one_line_and_exit_code_2(arguments, message, monkeypatch, tmp_path):
    """No traceback; what was wrong and what is accepted."""
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("efgan: error: ")
    assert message in lines[0]


def test_a_command_line_error_is_clicks_own():
    """A missing argument shows the usage."""
    result = call("train")
    assert result.exit_code == 2
    assert "Missing argument 'EXPERIMENT'" in result.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_full_or_closed_disk_is_one_line(monkeypatch, number):
    """The file and the remedy, no traceback."""

    def run(**_):
        raise OSError(number, "No room" if number == errno.ENOSPC else "Permission denied", "results/x")

    monkeypatch.setattr("efgan.training.run.train_run", run)
    result = call("train", "baseline")
    assert result.exit_code == 2
    assert "results/x; make room or choose another --root" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bug_is_not_hidden(monkeypatch):
    """Anything that no user causes keeps its traceback."""
    monkeypatch.setattr("efgan.training.run.train_run", lambda **_: 1 / 0)
    assert isinstance(call("train", "baseline").exception, ZeroDivisionError)


def test_train_passes_its_options_on(monkeypatch, tmp_path):
    """And prints the run folder."""
    seen = {}
    monkeypatch.setattr("efgan.training.run.train_run", lambda **options: seen.update(options) or tmp_path)
    result = call(
        "train", "ganimation", "--dataset", "synthetic_cfeed", "--preset", "smoke", "--seed", 2, "--root", tmp_path
    )
    assert result.output.strip() == str(tmp_path)
    assert seen == {"root": tmp_path, "preset": "smoke", "dataset": "synthetic_cfeed", "experiment": "ganimation",
                    "seed": 2, "split": None, "data_root": None}  # fmt: skip


def test_evaluate_reads_the_run_folder(monkeypatch, tmp_path):
    """The run's own configuration says what it is."""
    folder = run_folder(tmp_path, "smoke", "synthetic_cfeed", "stargan", 1)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(to_json(run_config("smoke", "synthetic_cfeed", "stargan", 1)))
    seen = {}
    monkeypatch.setattr("efgan.evaluation.run.evaluate_experiment", lambda **options: seen.update(options) or folder)
    assert call("evaluate", folder).exit_code == 0
    assert (seen["root"], seen["dataset"], seen["experiment"], seen["seed"]) == (
        tmp_path,
        "synthetic_cfeed",
        "stargan",
        1,
    )


def test_a_failed_batch_exits_with_1_and_names_job_and_log(monkeypatch, tmp_path):
    """Every failed job has its line."""
    from efgan.batch import BatchError

    def run(*_, **__):
        raise BatchError("train x failed: out of memory\nlog: reproduce.log; run the same command to go on")

    monkeypatch.setattr("efgan.batch.reproduce", run)
    result = call("reproduce", "--root", tmp_path)
    assert result.exit_code == 1
    assert "train x failed: out of memory" in result.stderr and "reproduce.log" in result.stderr


def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path):
    """Exit code 130, as shells expect."""

    def run(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("efgan.batch.reproduce", run)
    result = call("reproduce", "--root", tmp_path)
    assert result.exit_code == 130
    assert "run the same command to go on" in result.stderr


def test_doctor_names_every_topic_and_fails_only_on_what_is_needed(monkeypatch):
    """Missing optional things leave the exit code alone."""
    from efgan.doctor import Finding

    lines = [Finding(topic="git", text="not found", remedy="install it")]
    monkeypatch.setattr("efgan.doctor.examine", lambda: iter(lines))
    result = call("doctor")
    assert result.exit_code == 0 and "-> install it" in result.output
    lines.append(Finding(topic="disk", text="0 GB free", remedy="make room", needed=True))
    assert call("doctor").exit_code == 1


def test_doctor_examines_this_machine():
    """Every topic of the real examination is there."""
    result = call("doctor")
    for topic in ("python", "packages", "device", "precision", "Inception", "cache", "disk"):
        assert topic in result.output


def test_version_is_the_packages():
    """`efgan --version` and the package agree."""
    assert efgan.__version__ in call("--version").output
