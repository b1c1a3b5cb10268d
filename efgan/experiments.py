"""The one table of every run: which methods are trained on which data, starting from what."""

import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from efgan.config import (
    JOINED_DATASETS,
    REAL_DATASETS,
    SYNTHETIC_DATASETS,
    EvalConfig,
    LossWeights,
    RunConfig,
    find_preset,
    from_json,
)
from efgan.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One row of the table.

    Attributes:
        name: folder and command-line name.
        method: the name the paper prints.
        roles: the paper's datasets it is trained on.
        initialised_from: experiment whose trained weights it starts from.
        trains: False for `controls`, which needs no generator.
        fine_tunes: it goes on training the whole network of `initialised_from` on wild images; see
            `pretraining_datasets` for the data that one was trained on.
    """

    name: str
    method: str
    roles: tuple[str, ...]
    initialised_from: str | None = None
    trains: bool = True
    fine_tunes: bool = False

    @property
    def cascaded(self) -> bool:
        """True if it is a cascade fine-tuned from a single-stage model (paper 3.3, training scheme)."""
        return self.initialised_from is not None and not self.fine_tunes


EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in (
        # The expression classifier and AU estimator on real images, with the copy and target controls.
        Experiment(name="controls", method="Controls", roles=("rafd", "cfeed"), trains=False),
        Experiment(name="local_focus", method="Baseline + Local Focuses", roles=("rafd", "cfeed")),
        Experiment(name="cascade_ef_gan", method="Cascade EF-GAN", roles=("rafd", "cfeed"),
                   initialised_from="local_focus"),
        Experiment(name="baseline", method="Baseline", roles=("rafd",)),
        Experiment(name="cascade", method="Baseline + Cascade", roles=("rafd",), initialised_from="baseline"),
        Experiment(name="ganimation", method="GANimation", roles=("rafd", "cfeed")),
        Experiment(name="stargan", method="StarGAN", roles=("rafd", "cfeed")),
        # Paper 4.5: pre-trained on RaFD and CFEED, fine-tuned on wild images. Not part of `efgan reproduce`.
        Experiment(name="cascade_ef_gan_wild", method="Cascade EF-GAN (wild)", roles=("wild",),
                   initialised_from="cascade_ef_gan", fine_tunes=True),
    )
}  # fmt: skip


WILD_DATASETS = ("synthetic_wild", "affectnet", "folder")


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        UserError: there is none.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"unknown experiment {name!r}: choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def role_of(dataset: str) -> str:
    """The paper's dataset that `dataset` stands for: "cfeed" or "rafd"."""
    return "cfeed" if dataset.endswith("cfeed") else "rafd"


def pretraining_datasets(dataset: str) -> tuple[str, ...]:
    """Where the fine-tuning on wild images may start from, the preferred one first.

    The paper's is RaFD and CFEED together; who lacks them starts from the embedded faces (our decision).
    """
    return ("synthetic_joint",) if dataset in SYNTHETIC_DATASETS else ("joint", "synthetic_joint")


def family_of(dataset: str) -> str:
    """ "synthetic" or "real".

    Raises:
        UserError: the dataset is unknown.
    """
    if dataset in SYNTHETIC_DATASETS:
        return "synthetic"
    if dataset in REAL_DATASETS:
        return "real"
    raise UserError(f"unknown dataset {dataset!r}: choose one of {', '.join(SYNTHETIC_DATASETS + REAL_DATASETS)}")


def datasets_of(family: str) -> tuple[str, str]:
    """The datasets in the roles of RaFD and CFEED for "synthetic" or "real".

    Raises:
        UserError: the family is unknown.
    """
    families = {"synthetic": JOINED_DATASETS["synthetic_joint"], "real": JOINED_DATASETS["joint"]}
    if family not in families:
        raise UserError(f"unknown DATASET {family!r}: choose synthetic or real")
    rafd, cfeed = families[family]
    return rafd, cfeed


def run_folder(root: Path | str, preset: str, dataset: str, experiment: str, seed: int) -> Path:
    """Where a run lives: results/<synthetic|real>/<preset>/<dataset>/<experiment>/seed<k>."""
    return Path(root) / "results" / family_of(dataset) / preset / dataset / experiment / f"seed{seed}"


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run folder.

    Raises:
        UserError: there is none, or it is of another version.
    """
    path = folder / "config.json"
    if not path.exists():
        raise UserError(f"{folder} is no run folder (it has no config.json); runs lie under "
                        "results/<family>/<preset>/<dataset>/<experiment>/seed<k>")  # fmt: skip
    return from_json(RunConfig, path.read_text(), str(path))


def real_folder(data_root: Path | str | None, dataset: str) -> Path:
    """Where a licensed set lies: the subfolder of its name under the data root, whatever its letters' case.

    `folder`, which is any photos, is the data root itself unless that has a subfolder of this name.

    Raises:
        UserError: no data root, or the set is not there.
    """
    if data_root is None:
        raise UserError(f"dataset {dataset!r} needs the folder of your licensed sets: --data-root DIR "
                        "(make: DATA_ROOT=DIR)")  # fmt: skip
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; DATA_ROOT is the folder that holds rafd/, cfeed/ and affectnet/")
    found = sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() == dataset)
    if found:
        return found[0]
    if dataset == "folder" or root.resolve().name.lower() == dataset:
        return root
    raise UserError(f"{root} has no subfolder {dataset}: put the set there (README: If you have RaFD or CFEED)")


def extra_datasets(family: str, data_root: Path | str | None) -> tuple[str, ...]:
    """Sets that have no role in the tables but are checked with the others where they are there: AffectNet."""
    try:
        return ("affectnet",) if family == "real" and real_folder(data_root, "affectnet") else ()
    except UserError:
        return ()


def reproduce_command(family: str, preset: str) -> str:
    """What makes everything of a family and preset, for messages."""
    real = " --dataset real --data-root DIR" if family == "real" else ""
    return f"efgan reproduce --preset {preset}{real}"


def train_command(config: RunConfig) -> str:
    """What makes one run, for messages."""
    return (f"efgan train {config.experiment} --preset {config.preset} --dataset {config.data.dataset} "
            f"--split {config.data.split} --seed {config.seed}{_photos_option(config)}")  # fmt: skip


def evaluate_command(root: Path | str, config: RunConfig) -> str:
    """What evaluates one run, for messages; of `controls`, what trains the judges."""
    folder = run_folder(root, config.preset, config.data.dataset, config.experiment, config.seed)
    return f"efgan evaluate {folder} --split {config.data.split}{_photos_option(config)}"


def _photos_option(config: RunConfig) -> str:
    """Where the photos of a licensed set are, as an option; nothing for embedded faces."""
    return f" --data-root {shlex.quote(config.data.data_root)}" if config.data.data_root else ""


def run_config(
    preset: str, dataset: str, experiment: str, seed: int, *, split: str | None = None, data_root: str | None = None
) -> RunConfig:
    """The full configuration of one run.

    Raises:
        UserError: an unknown name, or an experiment the dataset's role has no place for.
    """
    settings = find_preset(preset)
    family_of(dataset)
    entry = find_experiment(experiment)
    roles = ("wild", role_of(dataset)) if dataset in WILD_DATASETS else (role_of(dataset),)
    if not set(roles) & set(entry.roles):
        raise UserError(f"experiment {experiment!r} is not part of the paper on {dataset!r}: "
                        f"it is run on {' and '.join(entry.roles)} data"
                        f"{': ' + ', '.join(WILD_DATASETS) if 'wild' in entry.roles else ''}")  # fmt: skip
    return RunConfig(
        preset=preset, experiment=experiment, seed=seed, model=settings.model, train=settings.train,
        data=settings.data(dataset, split=split, data_root=data_root), evaluation=settings.evaluation,
    )  # fmt: skip


def pretraining_config(config: RunConfig) -> RunConfig:
    """The run to make first for a fine-tuning on wild images: on RaFD and CFEED where both are at hand.

    The embedded wild faces are of the people of the joined set, so both are split alike.
    """
    start = find_experiment(config.experiment).initialised_from
    assert start is not None
    dataset, data_root = pretraining_datasets(config.data.dataset)[-1], None
    with suppress(UserError):
        if not config.data.synthetic and all(real_folder(config.data.data_root, d) for d in JOINED_DATASETS["joint"]):
            dataset, data_root = "joint", config.data.data_root
    split = config.data.split if config.data.synthetic else None
    return run_config(config.preset, dataset, start, config.seed, split=split, data_root=data_root)


def what_weights_depend_on(config: RunConfig) -> RunConfig:
    """The config with the same values for all runs where they do not matter: how it is evaluated, where photos lie
    (their hash counts) and, for what is no cascade, how one is fine-tuned.
    """
    train = config.train
    if find_experiment(config.experiment).initialised_from is None:
        train = replace(
            train, cascade_iterations=1, cascade_batch_size=1, cascade_lr_factor=1.0, interpolator_iterations=1,
            cascade_loss=LossWeights(),
        )  # fmt: skip
    return replace(config, evaluation=EvalConfig(), data=replace(config.data, data_root=None), train=train)
