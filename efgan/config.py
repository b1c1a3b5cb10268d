"""Every setting of a run, with its unit and where it comes from, and the presets.

Origins in the comments: `paper` (main text), `GANimation` / `StarGAN` (their published code), `our decision`
(the paper defers losses, weights and layer tables to a supplement that could not be recovered).
"""

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from efgan.errors import UserError

T = TypeVar("T")

SYNTHETIC_DATASETS = ("synthetic_rafd", "synthetic_cfeed", "synthetic_joint", "synthetic_wild")
REAL_DATASETS = ("rafd", "cfeed", "joint", "affectnet", "folder")
# Sets made of two others. synthetic_wild is synthetic_joint under other light and cameras (our decision).
JOINED_DATASETS = {
    "joint": ("rafd", "cfeed"),
    "synthetic_joint": ("synthetic_rafd", "synthetic_cfeed"),
    "synthetic_wild": ("synthetic_rafd", "synthetic_cfeed"),
}
SPLITS = ("identity", "image")


def _require(ok: bool, name: str, value: object, accepted: str) -> None:
    if not ok:
        raise UserError(f"{name} = {value!r} is not accepted: {accepted}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which faces, how many, at what size, and how they are split."""

    dataset: str = "synthetic_rafd"  # name of the dataset
    image_size: int = 128  # pixels; 128 = paper
    identities: int | None = None  # limit on the number of people; None = all
    variants: int | None = None  # synthetic: renders per identity and expression; None = the recipe's
    random_aus: int = 24  # synthetic: training faces per identity with random AUs; our decision
    split: str = "identity"  # "image" = paper; "identity" = unseen people, our default for synthetic sets
    test_fraction: float = 0.1  # paper: 90 % for training
    split_seed: int = 0
    data_root: str | None = None  # real data: folder that holds rafd/, cfeed/, …

    def __post_init__(self) -> None:
        names = SYNTHETIC_DATASETS + REAL_DATASETS
        _require(self.dataset in names, "dataset", self.dataset, f"one of {', '.join(names)}")
        _require(self.image_size > 0 and self.image_size % 32 == 0, "image_size", self.image_size,
                 "a positive multiple of 32 (the generator and critic are built for such sizes)")  # fmt: skip
        _require(self.split in SPLITS, "split", self.split, f"one of {', '.join(SPLITS)}")
        _require(0 < self.test_fraction < 1, "test_fraction", self.test_fraction, "a fraction between 0 and 1")
        for name in ("identities", "variants"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "a positive number, or null for all")
        _require(self.random_aus >= 0, "random_aus", self.random_aus, "zero or more")

    @property
    def synthetic(self) -> bool:
        return self.dataset in SYNTHETIC_DATASETS

    @property
    def held_out(self) -> str:
        """What the test side holds, in words."""
        return "unseen people" if self.split == "identity" else "unseen images"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the networks. The layer lists are GANimation's, as the paper says "similar" (our decision)."""

    width: int = 64  # channels after the first convolution of every branch; 64 = GANimation
    local_width: int = 64  # the same for the local branches; paper: "similar architectures"
    blocks: int = 6  # residual blocks per branch; 6 = GANimation
    refiner_width: int = 64  # our decision
    refiner_blocks: int = 6  # our decision
    refiner_start: str = "mean"  # what the Refiner corrects: mean | layers of its inputs; our decision
    critic_width: int = 64  # channels after the critic's first convolution; 64 = GANimation
    critic_max_width: int = 2048  # 2048 = GANimation at 128 px
    critic_fine_layer: int | None = None  # the convolution after which a second, finer patch head sits; our decision
    stages: int = 3  # N, paper
    relative_aus: bool = False  # generators are given the change of AUs instead of the target; our decision
    eyes_with_brows: bool = False  # centre the eyes' focus on eyes and brows; our decision, the paper: eyes

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is int:  # a bool is none
                _require(value >= 1, name, value, "a positive number")
        _require(self.refiner_start in ("mean", "layers"), "refiner_start", self.refiner_start, "mean or layers")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of eq. (2) and of the critic's terms. The paper gives none: all are our decision, as noted."""

    lambda_cond: float = 160.0  # λ1, mean squared AU error of the edits; GANimation 4000/25
    lambda_cond_critic: float = 160.0  # the same for the critic on real faces; GANimation uses one value for both
    lambda_cont: float = 10.0  # λ2, L1 of the cycle; GANimation
    lambda_chroma: float = 0.0  # squared change of hue by methods with attention, beside λ2; our decision
    lambda_attn: float = 0.1  # λ3, mean attention; GANimation's weight
    lambda_opacity: float = 0.0  # colours that attention takes and that do not show; our decision
    lambda_floor: float = 0.0  # what a branch's mean attention lacks of `losses.LEAST_ATTENTION`; our decision
    lambda_interp: float = 1.0  # λ4; the Interpolator is trained alone, so Adam undoes it: see lambda_sem
    lambda_tv: float = 1e-4  # total variation of attention, per image; GANimation's paper
    lambda_gp: float = 10.0  # gradient penalty; WGAN-GP
    lambda_sens: float = 0.0  # label sensitivity of the critic, relative to its label error's weight; our decision
    lambda_sens_final: float = 0.0  # what it falls to over the second half of a run; our decision
    cond_on_change: bool = False  # λ1's error is that of the change of AUs, as the critic sees it; our decision
    cond_unit: float = 0.0  # see `losses.weigh_requests`; 0 = all requests alike; our decision
    lambda_sem: float = 10.0  # semantic term of the Interpolator; our decision

    def __post_init__(self) -> None:
        for f in fields(self):
            _require(getattr(self, f.name) >= 0, f.name, getattr(self, f.name), "zero or more")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam and its schedule."""

    learning_rate: float = 1e-4  # GANimation, StarGAN
    beta1: float = 0.5  # GANimation, StarGAN
    beta2: float = 0.999
    decay_from: float = 2 / 3  # constant until this fraction of the run, then linear to zero; GANimation
    ema: float = 0.999  # decay of the generator's moving average; our decision

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        _require(0 < self.decay_from <= 1, "decay_from", self.decay_from, "in (0, 1]")
        _require(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training: how long, how large the batches, in which precision."""

    iterations: int = 20_000  # generator updates; our decision (100k critic updates)
    cascade_iterations: int = 4_000  # the same for the end-to-end fine-tuning of a cascade; our decision
    batch_size: int = 25  # GANimation's launch script
    cascade_batch_size: int = 8  # memory; our decision
    n_critic: int = 5  # critic updates per generator update; WGAN-GP
    critic_warmup: int = 0  # critic updates on the labels of real faces before the first iteration; our decision
    cascade_lr_factor: float = 0.5  # learning rate of the fine-tuning relative to the first phase; our decision
    attention_warmup: float = 0.2  # fraction of the run over which λ3 grows from 0; our decision
    target_noise: float = 0.1  # uniform noise on target AUs; GANimation
    interpolator_iterations: int = 5_000  # pre-training on AU vectors; our decision
    precision: str = "auto"  # of convolutions: auto | fp32 | bf16; auto measures on a CPU, is fp32 on a GPU
    log_every: int = 20  # iterations
    sample_every: int = 1_000  # iterations between sample grids
    checkpoint_every: int = 500  # iterations
    loss: LossWeights = field(default_factory=LossWeights)
    cascade_loss: LossWeights = field(default_factory=LossWeights)  # of a cascade's stages and its Interpolator
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        for name in ("iterations", "cascade_iterations", "batch_size", "cascade_batch_size", "n_critic",
                     "interpolator_iterations", "log_every", "sample_every", "checkpoint_every"):  # fmt: skip
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a positive number")
        _require(self.precision in ("auto", "fp32", "bf16"), "precision", self.precision, "auto, fp32 or bf16")
        _require(0 <= self.attention_warmup <= 1, "attention_warmup", self.attention_warmup, "in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The evaluation protocol (spec 4)."""

    classifier: str = "resnet18"  # expression classifier: resnet18 | small; the paper names none
    classifier_epochs: int = 60  # our decision
    classifier_seeds: int = 5  # classifiers per accuracy, averaged; our decision
    estimator_epochs: int = 60  # AU estimator; our decision
    targets: str = "same_identity"  # AUs of an edit: same_identity | class_mean | prototype; the paper is silent
    max_pairs: int | None = None  # limit on the edited test pairs; None = all
    frechet_pairs: int | None = None  # limit on the pairs of the Fréchet distance and KID; None = all
    extractor: str = "inception-v3"  # inception-v3 | efficientnet-lite0; a small preset uses the packaged one
    batch_size: int = 32

    def __post_init__(self) -> None:
        _require(self.classifier in ("resnet18", "small"), "classifier", self.classifier, "resnet18 or small")
        _require(self.targets in ("same_identity", "class_mean", "prototype"), "targets", self.targets,
                 "same_identity, class_mean or prototype")  # fmt: skip
        _require(self.extractor in ("inception-v3", "efficientnet-lite0"), "extractor", self.extractor,
                 "inception-v3 or efficientnet-lite0")  # fmt: skip
        for name in ("max_pairs", "frechet_pairs"):
            value = getattr(self, name)
            _require(value is None or value >= 2, name, value, "2 or more, or null for all")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named set of settings: what `--preset` chooses. `rafd` and `cfeed` are the two roles of the paper.

    `joint` is both together, for the wild images of 4.5; its `variants` count for the part in RaFD's role only.
    """

    rafd: DataConfig
    cfeed: DataConfig
    joint: DataConfig
    model: ModelConfig
    train: TrainConfig
    evaluation: EvalConfig

    def data(self, dataset: str, *, split: str | None = None, data_root: str | None = None) -> DataConfig:
        """The data settings of a dataset by its role: "…cfeed" is the paper's CFEED, joined sets are both, all others
        its RaFD.

        Args:
            dataset: a dataset's name.
            split: overrides the default, which is "identity" for synthetic sets and "image" for real ones.
            data_root: folder of the real sets.
        """
        base = self.joint if dataset in JOINED_DATASETS else self.cfeed if dataset.endswith("cfeed") else self.rafd
        default = "identity" if dataset in SYNTHETIC_DATASETS else "image"
        return replace(base, dataset=dataset, split=split or default, data_root=data_root)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines one run; written to `config.json` before the run starts."""

    preset: str
    experiment: str
    seed: int
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    evaluation: EvalConfig


def to_json(config: object) -> str:
    """A config dataclass as indented JSON text."""
    return json.dumps(asdict(config), indent=2) + "\n"  # type: ignore[call-overload]


def from_json(kind: type[T], text: str, where: str = "config") -> T:
    """Reads a config dataclass back from JSON text.

    Args:
        kind: the dataclass, e.g. `RunConfig`.
        text: what `to_json` wrote.
        where: the file's name, for the error.

    Raises:
        UserError: no JSON, or a field is missing, unknown (another version) or out of range.
    """
    try:
        return _build(kind, json.loads(text))
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise UserError(f"{where} is damaged or of another version ({error}); delete the run folder and run "
                        "the same command again") from error  # fmt: skip


def _build(kind: type[T], values: dict[str, Any]) -> T:
    """`kind(**values)` with nested dataclasses; unknown and missing names raise."""
    names = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := values.keys() - names.keys():
        raise KeyError(f"unknown {', '.join(sorted(unknown))}")
    if missing := names.keys() - values.keys():
        raise KeyError(f"missing {', '.join(sorted(missing))}")
    nested = {name: f.type for name, f in names.items() if isinstance(f.type, type) and is_dataclass(f.type)}
    return kind(**{name: _build(nested[name], v) if name in nested else v for name, v in values.items()})


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


# What everybody's CPU can do: one recipe for all methods, so that they compare (our decision, measured).
_SMALL_MODEL = ModelConfig(width=24, local_width=16, blocks=3, refiner_width=16, refiner_blocks=3, critic_width=32,
                           critic_max_width=512, relative_aus=True, eyes_with_brows=True,
                           refiner_start="layers")  # fmt: skip
_SMALL_LOSS = LossWeights(lambda_cond=18.0, lambda_chroma=50.0, lambda_attn=0.03, lambda_tv=3e-5, lambda_opacity=2.0,
                          lambda_floor=3.0, lambda_sens=0.125, lambda_sens_final=0.03, cond_on_change=True)  # fmt: skip
_SMALL_TRAIN = TrainConfig(
    iterations=700, cascade_iterations=150, batch_size=8, cascade_batch_size=8, n_critic=2, critic_warmup=400,
    interpolator_iterations=1_000, sample_every=500, checkpoint_every=100, target_noise=0.0,
    loss=_SMALL_LOSS, cascade_loss=replace(_SMALL_LOSS, lambda_cont=30.0, lambda_sens=0.03),  # their edits add up
    optim=OptimConfig(learning_rate=5e-4, ema=0.99),
)  # fmt: skip
_SMALL_EVAL = EvalConfig(classifier="small", classifier_epochs=25, classifier_seeds=1, estimator_epochs=40,
                         max_pairs=600, frechet_pairs=400, extractor="efficientnet-lite0")  # fmt: skip
_SMOKE_FACES = DataConfig(image_size=64, identities=8, variants=1, random_aus=2, test_fraction=0.25)

PRESETS: dict[str, Preset] = {
    "smoke": Preset(  # plumbing: everything runs, nothing is learnt
        rafd=_SMOKE_FACES, cfeed=_SMOKE_FACES, joint=_SMOKE_FACES,
        model=replace(_SMALL_MODEL, width=8, local_width=8, blocks=1, refiner_width=8, refiner_blocks=1,
                      critic_width=8),
        train=replace(_SMALL_TRAIN, iterations=6, cascade_iterations=4, batch_size=4, cascade_batch_size=4,
                      critic_warmup=4, interpolator_iterations=20, log_every=2, sample_every=4, checkpoint_every=3),
        evaluation=replace(_SMALL_EVAL, classifier_epochs=2, estimator_epochs=2, max_pairs=24, frechet_pairs=24),
    ),
    # the default: the whole paper on two CPU cores, 64 px
    "mini": Preset(
        rafd=DataConfig(image_size=64, variants=2, random_aus=8, test_fraction=0.15),
        cfeed=DataConfig(image_size=64, identities=36, random_aus=8, test_fraction=0.2),
        joint=DataConfig(image_size=64, identities=150, variants=2, random_aus=8),
        model=_SMALL_MODEL, train=_SMALL_TRAIN, evaluation=_SMALL_EVAL,
    ),
    # hours: what the machine at hand can do
    "long": Preset(
        rafd=DataConfig(image_size=64, random_aus=24), joint=DataConfig(image_size=64, random_aus=8),
        cfeed=DataConfig(image_size=64, identities=120, random_aus=8),
        model=replace(_SMALL_MODEL, critic_fine_layer=3),
        train=replace(_SMALL_TRAIN, iterations=1_800, cascade_iterations=360, interpolator_iterations=5_000,
                      loss=replace(_SMALL_LOSS, lambda_cond=14.0, lambda_chroma=30.0),
                      cascade_loss=replace(_SMALL_TRAIN.cascade_loss, lambda_cond=14.0, lambda_chroma=90.0,
                                           lambda_floor=0.0, cond_unit=0.028),
                      optim=replace(_SMALL_TRAIN.optim, ema=0.995)),
        evaluation=replace(_SMALL_EVAL, classifier_seeds=3, max_pairs=None),
    ),
    # the paper's size, for a GPU
    "paper": Preset(rafd=DataConfig(), cfeed=DataConfig(random_aus=8), joint=DataConfig(random_aus=8),
                    model=ModelConfig(), train=TrainConfig(), evaluation=EvalConfig()),
}  # fmt: skip

# `long` for a GPU, at the paper's size: three faces in four have an expression, the fine head sees as much of a face.
_LONG = PRESETS["long"]
PRESETS["slim"] = replace(
    _LONG, rafd=DataConfig(random_aus=8), cfeed=replace(_LONG.cfeed, image_size=128),
    joint=replace(_LONG.joint, image_size=128), model=replace(_LONG.model, critic_fine_layer=4),
    train=replace(_LONG.train, iterations=3_500, cascade_iterations=700, batch_size=16, critic_warmup=800,
                  loss=replace(_LONG.train.loss, lambda_tv=1.5e-5),
                  cascade_loss=replace(_LONG.train.cascade_loss, lambda_tv=1.5e-5)),
)  # fmt: skip
