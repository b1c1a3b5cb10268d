# The batch as a graph: data → train → evaluate → exhibits and claims → report. `efgan reproduce` calls it with its
# settings; every job is one notebook, run by `efgan run-notebook`. Paths are relative to the folder that holds results/.
#
# A training's output here is its executed notebook, not its weights: Snakemake deletes the outputs of a job that
# is to be run again, and weights, history and checkpoint must survive that, so that training goes on.
import os
import shlex
import sys
from pathlib import Path

from efgan.batch import JOBS
from efgan.config import to_json
from efgan.experiments import EXPERIMENTS, datasets_of, extra_datasets, role_of, run_config
from efgan.paper import EXHIBITS
from efgan.provenance import JUDGES, RENDERER, package_files

FAMILY, PRESET = config["family"], config["preset"]
SEEDS = range(int(config["seeds"]))
THREADS, CORES = int(config["threads"]), int(config["cores"])
SPLIT, DATA_ROOT = config.get("split"), config.get("data_root")
BY_ROLE = dict(zip(("rafd", "cfeed"), datasets_of(FAMILY)))
EXTRA = extra_datasets(FAMILY, DATA_ROOT)
BASE = f"results/{FAMILY}/{PRESET}"
RUN = BASE + "/{dataset}/{experiment}/seed{seed}"
EFGAN = f"exec {shlex.quote(sys.executable)} -m efgan.cli"  # `exec`, so that a job ends when Snakemake does
RUN_JOB = EFGAN + " {params.line} --threads {threads} --output {output.notebook}"
CHECKOUT = Path(os.path.relpath(workflow.basedir))
TABLES = [name for name, exhibit in EXHIBITS.items() if exhibit.kind == "table"]
FIGURES = [name for name, exhibit in EXHIBITS.items() if exhibit.kind == "figure"]
STARTS = sorted({e.initialised_from for e in EXPERIMENTS.values() if e.cascaded})
CASCADES = [e.name for e in EXPERIMENTS.values() if e.cascaded]
SINGLES = [e.name for e in EXPERIMENTS.values() if e.trains and e.name not in STARTS + CASCADES]
HOURS = {"smoke": 1, "mini": 2, "long": 12, "slim": 12, "paper": 24}[PRESET]  # limit of one job on a cluster


def notebook(name):
    return str(CHECKOUT / "notebooks" / f"{name}.ipynb")


def code(*patterns):
    """Files of the package whose change makes a cheap job run again (compared by content, not by date)."""
    return [os.path.relpath(path) for path in package_files(patterns)]


def run_of(dataset, experiment, seed, file):
    return f"{RUN}/{file}".format(dataset=dataset, experiment=experiment, seed=seed)


def runs(dataset):
    """Experiments of a dataset."""
    return [e.name for e in EXPERIMENTS.values() if role_of(dataset) in e.roles]


def command(name, job, **parameters):
    """What to run, less what may change without the job being another: interpreter, threads, output."""
    words = ["run-notebook", name, "--cwd", ".", "--job", f"{BASE}/{JOBS}/{job}.json"]
    for key, value in {"root": ".", "preset": PRESET, **parameters}.items():
        words += ["-p", key, str(value)] if value is not None else []
    return shlex.join(words)


def run_command(name, verb, w):
    """`command` for one run."""
    return command(name, f"{verb} {w.dataset} {w.experiment} seed{w.seed}", dataset=w.dataset,
                   experiment=w.experiment, seed=w.seed, split=SPLIT, data_root=DATA_ROOT)


def settings(w):
    """The run's full configuration: when it changes, the run is made again."""
    return to_json(run_config(PRESET, w.dataset, w.experiment, int(w.seed), split=SPLIT, data_root=DATA_ROOT))


def needed_runs(exhibit, file):
    """A file of every run that an exhibit reads: of all seeds for tables, of the first for figures."""
    seeds = SEEDS if EXHIBITS[exhibit].kind == "table" else SEEDS[:1]
    needed = EXHIBITS[exhibit].runs
    return [run_of(BY_ROLE[role], experiment, seed, file if EXPERIMENTS[experiment].trains else "metrics.json")
            for role, experiment in needed for seed in seeds]


wildcard_constraints:
    dataset="|".join([*BY_ROLE.values(), *EXTRA]),
    experiment="|".join(EXPERIMENTS),
    seed=r"\d+",


localrules:
    all,


rule all:
    input:
        f"{BASE}/report.html",
        expand(BASE + "/{dataset}/dataset.ipynb", dataset=EXTRA),


rule data:
    input:
        notebook=notebook("01_dataset"),
        code=code(*RENDERER) if FAMILY == "synthetic" else [],
    output:
        notebook=BASE + "/{dataset}/dataset.ipynb",
    params:
        line=lambda w: command("01_dataset", f"data {w.dataset}", dataset=w.dataset, split=SPLIT, data_root=DATA_ROOT),
    priority: 110
    threads: CORES  # rendering takes all cores, one set at a time
    resources:
        runtime=60 * HOURS,
        mem_mb=8000,
    shell:
        RUN_JOB


# Three training rules that differ only in what comes first: the longest chain starts at once.
rule train_start:
    input:
        data=BASE + "/{dataset}/dataset.ipynb",
        notebook=notebook("02_train"),
    output:
        notebook=RUN + "/train.ipynb",
    wildcard_constraints:
        experiment="|".join(STARTS),
    params:
        line=lambda w: run_command("02_train", "train", w),
        settings=settings,
    priority: 100
    threads: THREADS
    resources:
        gpu=1,
        runtime=60 * HOURS,
        mem_mb=16000,
    shell:
        RUN_JOB


use rule train_start as train_cascade with:
    input:
        data=BASE + "/{dataset}/dataset.ipynb",
        notebook=notebook("02_train"),
        start=lambda w: run_of(w.dataset, EXPERIMENTS[w.experiment].initialised_from, w.seed, "train.ipynb"),
    wildcard_constraints:
        experiment="|".join(CASCADES),
    priority: 90


use rule train_start as train_single with:
    wildcard_constraints:
        experiment="|".join(SINGLES),
    priority: 80


rule controls:
    input:
        data=BASE + "/{dataset}/dataset.ipynb",
        notebook=notebook("03_evaluate"),
        code=code("evaluation/*.py", *JUDGES),
    output:
        metrics=RUN + "/metrics.json",
        pairs=RUN + "/pairs.csv",
        notebook=RUN + "/notebook.ipynb",
    wildcard_constraints:
        experiment="controls",
    params:
        line=lambda w: run_command("03_evaluate", "evaluate", w),
        settings=settings,
    priority: 70
    threads: THREADS
    resources:
        gpu=1,
        runtime=60 * HOURS,
        mem_mb=16000,
    shell:
        RUN_JOB


use rule controls as evaluate with:
    input:
        data=BASE + "/{dataset}/dataset.ipynb",
        notebook=notebook("03_evaluate"),
        code=code("evaluation/*.py", *JUDGES),
        trained=RUN + "/train.ipynb",
        controls=lambda w: run_of(w.dataset, "controls", w.seed, "metrics.json"),
    wildcard_constraints:
        experiment="|".join(STARTS + CASCADES + SINGLES),
    priority: 60


def exhibit_inputs(w):
    file = "metrics.json" if w.exhibit in TABLES else "train.ipynb"
    return needed_runs(w.exhibit, file)


rule figure:
    input:
        runs=exhibit_inputs,
        notebook=lambda w: notebook(EXHIBITS[w.exhibit].notebook),
        code=code("exhibits/*.py"),
    output:
        png=f"figures/{FAMILY}/{PRESET}/{{exhibit}}.png",
        pdf=f"figures/{FAMILY}/{PRESET}/{{exhibit}}.pdf",
        notebook=f"{BASE}/notebooks/{{exhibit}}.ipynb",
    wildcard_constraints:
        exhibit="|".join(FIGURES),
    params:
        line=lambda w: command(EXHIBITS[w.exhibit].notebook, f"draw {w.exhibit}", family=FAMILY),
    priority: 40
    threads: THREADS
    resources:
        runtime=60,
        mem_mb=8000,
    shell:
        RUN_JOB


rule table:
    input:
        runs=exhibit_inputs,
        notebook=lambda w: notebook(EXHIBITS[w.exhibit].notebook),
        code=code("exhibits/*.py"),
    output:
        csv=f"{BASE}/tables/{{exhibit}}.csv",
        md=f"{BASE}/tables/{{exhibit}}.md",
        tex=f"{BASE}/tables/{{exhibit}}.tex",
        notebook=f"{BASE}/notebooks/{{exhibit}}.ipynb",
    wildcard_constraints:
        exhibit="|".join(TABLES),
    params:
        line=lambda w: command(EXHIBITS[w.exhibit].notebook, f"make {w.exhibit}", family=FAMILY, seeds=len(SEEDS)),
    priority: 40
    threads: THREADS
    resources:
        runtime=60,
        mem_mb=8000,
    shell:
        RUN_JOB


use rule table as claims with:
    input:
        runs=needed_runs("table_3", "metrics.json"),  # the ablation, whose methods the claims compare
        notebook=notebook("reference_claims"),
        code=code("exhibits/*.py"),
    output:
        csv=f"{BASE}/claims.csv",
        notebook=f"{BASE}/notebooks/reference_claims.ipynb",
    params:
        line=command("reference_claims", "judge claims", family=FAMILY, seeds=len(SEEDS)),
    priority: 50  # the longest of the exhibits
    resources:
        gpu=1,
        runtime=60 * HOURS,
        mem_mb=16000,


rule report:
    input:
        claims=f"{BASE}/claims.csv",
        figures=expand(f"figures/{FAMILY}/{PRESET}/{{exhibit}}.png", exhibit=FIGURES),
        tables=expand(f"{BASE}/tables/{{exhibit}}.csv", exhibit=TABLES),
        runs=[run_of(d, e, s, "metrics.json") for d in BY_ROLE.values() for e in runs(d) for s in SEEDS],
        code=code("exhibits/*.py"),
    output:
        f"{BASE}/report.html",
    resources:
        runtime=60,
        mem_mb=8000,
    shell:
        EFGAN + " write-report --preset {PRESET} --dataset {FAMILY} --seeds " + str(len(SEEDS))
