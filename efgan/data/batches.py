"""Random training batches: source faces, flipped at random, with the AUs of other faces as targets."""

from typing import NamedTuple

import torch
from torch import Tensor

from efgan.data.faces import FaceSet, to_float
from efgan.errors import UserError


class Batch(NamedTuple):
    """B training faces and what they shall become.

    Attributes:
        images: B×3×S×S in [-1, 1].
        source_aus, target_aus: B×17 in [0, 1].
        source_expression, target_expression: int64, B.
    """

    images: Tensor
    source_aus: Tensor
    target_aus: Tensor
    source_expression: Tensor
    target_expression: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(*(tensor.to(device) for tensor in self))


class BatchSampler:
    """Draws batches from faces that lie whole on the device.

    All randomness comes from one CPU generator, whose state a checkpoint keeps.

    Args:
        faces: the training faces.
        batch_size: B.
        target_noise: half-width of the uniform noise on target AUs (GANimation: 0.1).
        rng: the generator.
        classed_only: draw only faces that have an expression class (StarGAN's labels need one).

    Raises:
        UserError: there are no such faces.
    """

    def __init__(
        self, faces: FaceSet, *, batch_size: int, target_noise: float, rng: torch.Generator, classed_only: bool
    ) -> None:
        self.faces = faces.subset(faces.expression >= 0) if classed_only else faces
        if not len(self.faces):
            raise UserError(f"{faces.name} has no training faces with expressions, which StarGAN learns from")
        self.batch_size = batch_size
        self.target_noise = target_noise
        self.rng = rng

    def next(self) -> Batch:
        """The next batch."""
        faces, device = self.faces, self.faces.images.device
        sources, targets = torch.randint(len(faces), (2, self.batch_size), generator=self.rng).to(device)
        flip = (torch.rand(self.batch_size, 1, 1, 1, generator=self.rng) < 0.5).to(device)
        images = to_float(faces.images[sources])
        noise = (2 * torch.rand(self.batch_size, faces.aus.shape[1], generator=self.rng) - 1) * self.target_noise
        return Batch(
            images=torch.where(flip, images.flip(3), images),
            source_aus=faces.aus[sources],
            target_aus=(faces.aus[targets] + noise.to(device)).clamp(0, 1),
            source_expression=faces.expression[sources],
            target_expression=faces.expression[targets],
        )


def preview_batch(test: FaceSet, count: int = 8) -> Batch:
    """A few test faces, each with the AUs of another expression of the same person: what samples are drawn of."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randperm(len(test), generator=generator)[:count]
    targets = torch.stack([_other_expression(test, i) for i in sources])
    return Batch(
        images=to_float(test.images[sources]), source_aus=test.aus[sources], target_aus=test.aus[targets],
        source_expression=test.expression[sources], target_expression=test.expression[targets],
    )  # fmt: skip


def _other_expression(test: FaceSet, index: Tensor) -> Tensor:
    """A face of the same person with another expression; the face itself if there is none."""
    others = (test.identity == test.identity[index]) & (test.expression != test.expression[index])
    found = others.nonzero().flatten()
    return found[int(index) % len(found)] if len(found) else index
