"""The networks, and how an experiment's name becomes one."""

from collections.abc import Mapping

from torch import nn

from efgan.config import ModelConfig
from efgan.data.action_units import NUM_AUS
from efgan.experiments import EXPERIMENTS
from efgan.models.cascade import CascadeEFGAN
from efgan.models.ef_gan import EFGAN
from efgan.models.ganimation import GANimation
from efgan.models.interpolator import Interpolator
from efgan.models.local_focus import Box
from efgan.models.stargan import StarGAN


def build_generator(
    experiment: str, config: ModelConfig, *, image_size: int, num_classes: int, boxes: Mapping[str, Box]
) -> nn.Module:
    """The untrained generator of an experiment.

    Every generator is called as `generator(images, source_condition, target_condition) -> Edit`, with AUs (B×17)
    as condition, or one-hot classes (B×num_classes) for StarGAN.

    Args:
        experiment: a name from `EXPERIMENTS` that trains a generator.
        config: sizes.
        image_size: S in pixels.
        num_classes: number of expressions; StarGAN's condition size.
        boxes: focus boxes; used by the methods with local focuses.
    """
    if experiment == "stargan":
        return StarGAN(config, condition_size=num_classes)
    if experiment in ("ganimation", "baseline"):
        return GANimation(config, condition_size=NUM_AUS)
    if experiment == "local_focus":
        return EFGAN(config, condition_size=NUM_AUS, boxes=boxes, image_size=image_size)
    single = EXPERIMENTS[experiment].initialised_from
    if single is None:
        raise ValueError(f"experiment {experiment!r} has no generator")
    if EXPERIMENTS[experiment].fine_tunes:
        return build_generator(single, config, image_size=image_size, num_classes=num_classes, boxes=boxes)
    stages = [
        build_generator(single, config, image_size=image_size, num_classes=num_classes, boxes=boxes)
        for _ in range(config.stages)
    ]
    return CascadeEFGAN(stages, Interpolator())
