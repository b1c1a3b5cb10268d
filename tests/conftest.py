"""Shared fixtures: tiny face sets that need no rendering."""

import os

import pytest
import torch

from efgan.config import LossWeights, ModelConfig, TrainConfig
from efgan.data.action_units import RAFD_EXPRESSIONS
from efgan.data.faces import FaceSet
from efgan.models.local_focus import Box

BOXES = {"eyes": Box(12, 8, 20, 48), "nose": Box(24, 20, 20, 24), "mouth": Box(36, 16, 20, 32)}


if not torch.cuda.is_available():  # else trainings stop where there is a GPU that this torch cannot use
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def make_faces(people: int = 3, variants: int = 1, size: int = 64, unclassed: int = 0) -> FaceSet:
    """Random pictures with every expression of every person, then `unclassed` faces without a class."""
    generator = torch.Generator().manual_seed(0)
    classes = len(RAFD_EXPRESSIONS)
    grid = torch.cartesian_prod(torch.arange(people), torch.arange(variants), torch.arange(classes))
    extra = torch.stack([torch.arange(unclassed) % people, torch.zeros(unclassed), torch.full((unclassed,), -1)], 1)
    identity, variant, expression = torch.cat([grid, extra.long()]).T
    n = len(identity)
    corner = torch.tensor([size * 0.3, size * 0.3])
    return FaceSet(
        name="synthetic_rafd",
        images=torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8),
        aus=torch.rand(n, 17, generator=generator),
        landmarks=torch.rand(n, 68, 2, generator=generator) * size * 0.4 + corner,
        identity=identity.contiguous(), expression=expression.contiguous(), variant=variant.contiguous(),
        expression_names=RAFD_EXPRESSIONS, evaluated=RAFD_EXPRESSIONS,
        names=tuple(f"face_{i:04d}" for i in range(n)), synthetic=True,
    )  # fmt: skip


@pytest.fixture
def faces() -> FaceSet:
    return make_faces()


@pytest.fixture
def tiny_model() -> ModelConfig:
    return ModelConfig(width=4, local_width=4, blocks=1, refiner_width=4, refiner_blocks=1, critic_width=4, stages=2)


@pytest.fixture
def tiny_train() -> TrainConfig:
    weights = LossWeights(lambda_sens=0.1, lambda_sens_final=0.1)
    return TrainConfig(iterations=6, cascade_iterations=4, batch_size=2, cascade_batch_size=2, n_critic=2,
                       interpolator_iterations=3, precision="fp32", log_every=1, sample_every=100,
                       checkpoint_every=3, loss=weights, cascade_loss=weights)  # fmt: skip
