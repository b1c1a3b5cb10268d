"""The batch: which jobs there are and in what order, what makes them run again, how far it says it is."""

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml
from fake_photos import write_affectnet, write_cfeed, write_rafd

from efgan import batch as batch_module
from efgan.batch import JOBS, SNAKEFILE, Batch, BatchError, reproduce
from efgan.errors import UserError
from efgan.experiments import EXPERIMENTS, datasets_of, role_of, run_folder
from efgan.monitor import Monitor, bar, duration, job_line
from efgan.paper import EXHIBITS

PROFILE = SNAKEFILE.parent / "workflow" / "profiles" / "slurm"
RUNS = [
    (dataset, e) for dataset in datasets_of("synthetic") for e in EXPERIMENTS.values() if role_of(dataset) in e.roles
]


def dry_run(batch: Batch, *extra: str) -> str:
    done = subprocess.run(batch.command("--dry-run", *extra), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(text: str) -> Counter[str]:
    return Counter(re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE))


def test_a_dry_run_lists_every_job_of_the_paper(tmp_path):
    """Two sets, every experiment in its roles, one evaluation each, every figure and table, the claims, one report."""
    jobs = planned(dry_run(Batch(root=tmp_path, preset="smoke")))
    trained = [e for _, e in RUNS if e.trains]
    assert jobs["data"] == jobs["controls"] == 2
    assert jobs["train_start"] + jobs["train_cascade"] + jobs["train_single"] == jobs["evaluate"] == len(trained)
    assert jobs["train_cascade"] == sum(e.cascaded for e in trained)
    assert jobs["figure"] + jobs["table"] == len(EXHIBITS)
    assert jobs["claims"] == jobs["report"] == 1


@pytest.mark.slow
def test_more_seeds_add_runs_but_no_exhibits(tmp_path):
    """Tables average seeds; figures show the first."""
    one, three = (planned(dry_run(Batch(root=tmp_path, preset="smoke", seeds=n))) for n in (1, 3))
    for rule in ("train_start", "train_cascade", "train_single", "controls", "evaluate"):
        assert three[rule] == 3 * one[rule]
    for rule in ("data", "figure", "table", "claims", "report"):
        assert three[rule] == one[rule]


def test_real_data_has_the_same_jobs_and_affectnet_is_checked_too(tmp_path):
    """The sets under the data root, whatever the case of their names; AffectNet where it is there."""
    for name in ("RaFD", "cfeed"):
        (tmp_path / "faces" / name).mkdir(parents=True)
    batch = Batch(root=tmp_path, preset="smoke", family="real", data_root=str(tmp_path / "faces"))
    jobs = planned(dry_run(batch))
    assert jobs == planned(dry_run(Batch(root=tmp_path, preset="smoke")))
    (tmp_path / "faces" / "AffectNet").mkdir()
    assert planned(dry_run(batch)) == jobs + Counter(data=1)


@pytest.mark.slow
def test_the_whole_batch_on_photographs(tmp_path, monkeypatch):
    """Trees in RaFD's, CFEED's and AffectNet's own form, with OpenFace CSVs, to a finished report by one call.

    Nothing is left to do afterwards. Nothing is called synthetic. The claims are judged on it.
    """
    write_rafd(tmp_path / "faces" / "rafd")
    write_cfeed(tmp_path / "faces" / "cfeed")
    write_affectnet(tmp_path / "faces" / "affectnet")
    monkeypatch.setenv("EFGAN_CACHE", str(tmp_path / "cache"))
    batch = Batch(root=tmp_path, preset="smoke", family="real", data_root=str(tmp_path / "faces"))
    report = reproduce(batch).read_text()
    assert "synthetic faces" not in report and "synthetic_" not in report
    assert "photographs, image split" in report and report.count("<img") >= 8
    for dataset in ("rafd", "cfeed", "affectnet"):
        assert {"dataset.ipynb", "crops.png", "excluded.csv", "contact_sheet.png"} <= {
            path.name for path in (batch.folder / dataset).iterdir()
        }
    table = (batch.folder / "tables" / "table_1.csv").read_text()
    assert "rafd,image,Cascade EF-GAN" in table and "cfeed,image,StarGAN" in table
    figures = tmp_path / "figures" / "real" / "smoke"
    assert {path.stem for path in figures.glob("figure*.png")} == {n for n, e in EXHIBITS.items() if e.kind == "figure"}
    assert planned(dry_run(batch)) == Counter()
    claims = nbformat.read(batch.folder / "notebooks" / "reference_claims.ipynb", as_version=4)
    outputs = [output for cell in claims.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 7, "each claim with its pictures"


def test_a_cascade_waits_for_the_run_it_starts_from(tmp_path):
    """The input of every cascade is the training of its single-stage run."""
    text = dry_run(Batch(root=tmp_path, preset="smoke"))
    for dataset, experiment in RUNS:
        if experiment.cascaded:
            folder = f"results/synthetic/smoke/{dataset}"
            block = text.split(f"output: {folder}/{experiment.name}/seed0/train.ipynb")[0].rsplit(
                "rule train_cascade", 1
            )[1]
            assert f"{folder}/{experiment.initialised_from}/seed0/train.ipynb" in block


def test_the_slurm_profile_is_accepted(tmp_path):
    """A dry run with the cluster profile plans the same jobs."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -c constraints.txt -e '.[slurm]'")
    here, cluster = Batch(root=tmp_path, preset="smoke"), Batch(root=tmp_path, preset="smoke", profile=PROFILE)
    assert planned(dry_run(cluster)) == planned(dry_run(here))


def test_the_slurm_profile_is_complete():
    """Executor, number of jobs, and limits for rules that state none."""
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert {"mem_mb", "runtime", "slurm_partition"} <= profile["default-resources"].keys()


def test_a_clusters_nodes_are_not_this_machine(tmp_path, monkeypatch):
    """Its jobs get the same CPUs wherever they are sent from; --jobs counts on the cluster."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    batch = Batch(root=tmp_path, preset="paper", jobs=2, profile=PROFILE)
    command = batch.command()
    assert {"threads=4", "cores=4"} <= set(command) and "--cores" not in command
    assert command[command.index("--jobs") + 1] == "2"
    assert "--jobs" not in Batch(root=tmp_path, profile=PROFILE).command()


@pytest.mark.parametrize(("profile", "heard"), [(PROFILE, True), (None, False)])
def test_who_stops_a_batch_cancels_its_jobs_on_a_cluster(tmp_path, profile, heard):
    """Snakemake does that when it is interrupted, even in the background; on one machine all is ended at once."""
    batch = Batch(root=tmp_path, preset="smoke", profile=profile)
    child = """import time
try:
    print("ready", flush=True); time.sleep(30)
except KeyboardInterrupt:
    print("cancelled", flush=True)"""
    log = tmp_path / "log"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and & leave it
    try:
        with (pytest.raises(KeyboardInterrupt), log.open("w") as file,
              batch_module._snakemake([sys.executable, "-c", child], batch, file) as process):  # fmt: skip
            while "ready" not in log.read_text() and process.poll() is None:
                time.sleep(0.05)
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert ("cancelled" in log.read_text()) == heard


def test_other_renderers_draw_the_faces_again(tmp_path):
    """The embedded faces' sources are inputs of the first rule; real photos have none."""
    text = dry_run(Batch(root=tmp_path, preset="smoke"))
    inputs = text.split("rule data:")[1].split("output:")[0]
    for file in ("synthetic/shading.py", "synthetic/head.npz", "action_units.py"):
        assert f"efgan/data/{file}" in inputs


def test_unknown_names_are_refused_before_anything_starts(tmp_path):
    """One clear error each."""
    for wrong in ({"preset": "huge"}, {"family": "cats"}, {"seeds": 0}, {"jobs": 0}, {"split": "odd"},
                  {"family": "real"}, {"family": "real", "data_root": str(tmp_path)}):  # fmt: skip
        with pytest.raises(UserError):
            Batch(root=tmp_path, **wrong)


def test_threads_are_divided_among_jobs(tmp_path, monkeypatch):
    """Never more threads than cores; at least one each."""
    monkeypatch.setattr("efgan.batch.visible_gpus", list)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert Batch(root=tmp_path, jobs=2).parallel == (2, 4)
    assert Batch(root=tmp_path, jobs=3).parallel == (3, 2)
    assert Batch(root=tmp_path, jobs=20).parallel == (20, 1)
    assert Batch(root=tmp_path).parallel == (8, 1)


def test_a_second_batch_in_the_same_folder_is_refused(tmp_path):
    """They would overwrite each other's runs."""
    fcntl = pytest.importorskip("fcntl")
    batch = Batch(root=tmp_path, preset="smoke")
    batch.folder.mkdir(parents=True)
    with (batch.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another `efgan reproduce` is at work"):
            reproduce(batch)


def test_missing_inception_weights_are_told_before_anything_is_trained(tmp_path, monkeypatch):
    """`paper` needs them after hours of training; the small presets never do."""
    monkeypatch.setenv("EFGAN_INCEPTION", str(tmp_path / "nowhere.pth"))
    monkeypatch.setattr(batch_module, "_snakemake", lambda *_: pytest.fail("it was started"))
    with pytest.raises(UserError, match=r"EFGAN_INCEPTION=.*nowhere\.pth"):
        reproduce(Batch(root=tmp_path, preset="paper"))


@pytest.fixture
def one_job_snakefile(tmp_path, monkeypatch):
    """A Snakefile of one job that writes config[text] to a file, and the commands of `Batch` pointed to it."""

    def make(shell: str):
        path = tmp_path / "Snakefile"
        path.write_text(f"rule all:\n    input: 'out.txt'\nrule work:\n    input: 'in.txt'\n    output: 'out.txt'\n"
                        f"    params: preset=config['preset']\n    shell: {shell!r}\n")  # fmt: skip
        monkeypatch.setattr("efgan.batch.SNAKEFILE", path)
        (tmp_path / "in.txt").write_text("1")
        return Batch(root=tmp_path, preset="smoke", jobs=1)

    return make


@pytest.mark.slow
def test_what_is_done_is_not_done_again(one_job_snakefile, tmp_path, capsys):
    """A touched file does not count as changed; changed content does, and so do changed settings."""
    batch = one_job_snakefile("echo x >> count.txt; cat in.txt > out.txt")
    runs = lambda: (tmp_path / "count.txt").read_text().count("x")  # noqa: E731  # read anew each time
    reproduce(batch)
    reproduce(batch)
    assert "nothing to do" in capsys.readouterr().out
    assert "Finished jobid" in (batch.folder / "reproduce.log").read_text()  # the log of the run that did something
    (tmp_path / "in.txt").touch()
    reproduce(batch)
    assert runs() == 1
    (tmp_path / "in.txt").write_text("2")
    reproduce(batch)
    assert runs() == 2
    reproduce(Batch(root=tmp_path, preset="mini", jobs=1))
    assert runs() == 3


def test_a_failed_job_is_reported_with_its_error_and_the_log(one_job_snakefile):
    """What it left beside its progress file is what the user reads."""
    jobs = f"results/synthetic/smoke/{JOBS}"
    batch = one_job_snakefile(f"mkdir -p {jobs}; echo 'cell 3: no faces' > '{jobs}/train x.error'; exit 1")
    with pytest.raises(BatchError, match=r"train x failed: cell 3: no faces\nlog: .*reproduce.log; when mended"):
        reproduce(batch)


def test_a_job_that_dies_without_a_word_is_reported_too(one_job_snakefile):
    """Then the log's own error is shown."""
    with pytest.raises(BatchError, match=r"the batch failed in rule work: returned .* 3"):
        reproduce(one_job_snakefile("exit 3"))


def test_deleted_weights_are_trained_again(one_job_snakefile, tmp_path):
    """The executed notebook alone does not stand for a trained run."""
    batch = one_job_snakefile("touch out.txt")
    kept, lost = (run_folder(tmp_path, "smoke", "synthetic_rafd", name, 0) for name in ("baseline", "stargan"))
    for folder in (kept, lost):
        folder.mkdir(parents=True)
        (folder / "train.ipynb").write_text("{}")
    (kept / "weights.safetensors").write_text("")
    reproduce(batch)
    assert (kept / "train.ipynb").exists() and not (lost / "train.ipynb").exists()


LOG = """Building DAG of jobs...
Job stats:
job            count
-----------  -------
all                1
evaluate           2
train_start        3
total              6

Finished jobid: 4 (Rule: train_start)
1 of 6 steps (17%) done
"""


def test_the_monitor_reads_jobs_from_the_log_and_bars_from_progress_files(tmp_path):
    """Jobs done, each running job's bar with its time left, failures."""
    log, jobs = tmp_path / "log", tmp_path / "jobs"
    jobs.mkdir()
    log.write_text(LOG)
    (jobs / "train a.json").write_text(
        '{"description": "training a", "done": 30, "initial": 10, "total": 70, "elapsed_s": 40}'
    )
    (jobs / "evaluate b.json").write_text("{}")
    (jobs / "train c.error").write_text("no")
    monitor = Monitor(log=log, jobs=jobs, preset="mini")
    monitor._read_log()
    assert (monitor.done, monitor.total) == (1, 5)
    head, *rest = monitor._lines()
    assert head.startswith("1/5 jobs  [#####") and "1 FAILED" in head
    assert re.search(r"evaluate b +starting", rest[0])
    assert re.search(r"train a +training a +\[#####-------\]  43 %, 1 min 20 s left", rest[1])


def test_the_monitor_survives_a_log_cut_in_the_middle_of_a_line(tmp_path):
    """It reads on when the rest is there."""
    log = tmp_path / "log"
    monitor = Monitor(log=log, jobs=tmp_path, preset="mini")
    for end in (30, 120, len(LOG) - 30, len(LOG)):
        log.write_text(LOG[:end])
        monitor._read_log()
    assert (monitor.done, monitor.total) == (1, 5)


def test_times_and_bars_are_for_people():
    """Seconds, minutes, hours; full and empty bars."""
    assert [duration(s) for s in (0, 59, 65, 3600, 7830)] == ["0 s", "59 s", "1 min 05 s", "1 h 00 min", "2 h 10 min"]
    assert (bar(0, 4), bar(0.5, 4), bar(2, 4)) == ("[----]", "[##--]", "[####]")
    assert job_line("a", None).split() == ["a", "starting"]


def test_the_batch_needs_no_torch_to_plan():
    """A second `make reproduce` must take seconds: planning imports nothing heavy."""
    code = (
        "import sys, efgan.cli, efgan.batch, efgan.paper; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent).returncode == 0
