"""Times one training iteration of this package against the same iteration written straightforwardly.

Both compute the same mathematics: five critic updates with gradient penalty and one generator update of a
full-size GANimation (128 px, width 64, batch 4, fp32, one thread). The straightforward form concatenates label
maps, uses instance_norm, conv2d for all maps, separate passes, double backward and plain Adam. The two are run in
turn, and the ratio of each pair is what counts on a noisy machine.

    python benchmarks/training_step.py [--rounds 3]
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efgan.config import ModelConfig, TrainConfig
from efgan.data.action_units import RAFD_EXPRESSIONS
from efgan.data.batches import BatchSampler
from efgan.data.faces import FaceSet
from efgan.models.discriminator import Critic, StridedConv
from efgan.models.ganimation import GANimation
from efgan.models.layers import ConditionedConv, InstanceNorm
from efgan.training.objectives import build_objective
from efgan.training.trainer import Trainer

SIZE, BATCH = 128, 4


def random_faces(n: int = 16) -> FaceSet:
    """Noise with labels: the time does not depend on what is in the pictures."""
    zeros = torch.zeros(n, dtype=torch.int64)
    return FaceSet(
        name="synthetic_rafd", images=torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8),
        aus=torch.rand(n, 17), landmarks=torch.rand(n, 68, 2), identity=zeros, expression=zeros, variant=zeros,
        expression_names=RAFD_EXPRESSIONS, evaluated=RAFD_EXPRESSIONS, names=("noise",) * n, synthetic=True,
    )  # fmt: skip


def build_trainer(folder: Path) -> Trainer:
    """This package's trainer on random faces."""
    torch.manual_seed(0)
    config = TrainConfig(batch_size=BATCH, precision="fp32", attention_warmup=0.0)
    rng = torch.Generator().manual_seed(0)
    sampler = BatchSampler(random_faces(), batch_size=BATCH, target_noise=0.1, rng=rng, classed_only=False)
    return Trainer(
        generator=GANimation(ModelConfig(), condition_size=17), critic=Critic(SIZE, 64, 2048, 17),
        objective=build_objective("baseline", config, 8), sampler=sampler, rng=rng, config=config,
        iterations=10**6, learning_rate=1e-4, folder=folder,
    )  # fmt: skip


class PlainNorm(nn.Module):
    """instance_norm as usually called."""

    def __init__(self, norm: InstanceNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.weight, bias=self.bias)


class PlainConv(nn.Module):
    """Convolution of the image concatenated with replicated label maps."""

    def __init__(self, conv: ConditionedConv) -> None:
        super().__init__()
        self.weight = conv.weight

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        maps = condition[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return F.conv2d(torch.cat([images, maps], 1), self.weight, padding=3)


class PlainStridedConv(nn.Module):
    """The critic's convolution as usually called, whatever the size of the map."""

    def __init__(self, conv: StridedConv) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, stride=2, padding=1)


def make_plain(module: nn.Module) -> nn.Module:
    """Swaps the fast layers for their plain forms; weights are shared."""
    for name, child in module.named_children():
        if isinstance(child, InstanceNorm):
            setattr(module, name, PlainNorm(child))
        elif isinstance(child, ConditionedConv):
            setattr(module, name, PlainConv(child))
        elif isinstance(child, StridedConv):
            setattr(module, name, PlainStridedConv(child))
        else:
            make_plain(child)
    return module


class StraightforwardStep:
    """The reference: the same losses, written as the published codes write them."""

    def __init__(self, trainer: Trainer) -> None:
        self.generator = make_plain(copy.deepcopy(trainer.generator))
        self.critic = make_plain(copy.deepcopy(trainer.critic))
        self.adam = torch.optim.Adam(self.generator.parameters(), 1e-4, (0.5, 0.999), foreach=False)
        self.adam_critic = torch.optim.Adam(self.critic.parameters(), 1e-4, (0.5, 0.999), foreach=False)
        self.sampler, self.rng, self.weights = copy.deepcopy((trainer.sampler, trainer.rng, trainer.objective.weights))
        self.sampler.rng = self.rng

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        for conv in self.critic.convs:
            images = F.leaky_relu(conv(images), 0.01)
        return self.critic.patch_head(images), self.critic.label_head(images).flatten(1)

    def __call__(self) -> dict[str, float]:
        w = self.weights
        for _ in range(5):
            batch = self.sampler.next()
            edited = self.generator(batch.images, batch.source_aus, batch.target_aus).image.detach()
            scores, aus = self.score(batch.images)
            scores_edited, _ = self.score(edited)
            mix = torch.rand(BATCH, 1, 1, 1, generator=self.rng)
            torch.randn(aus.shape, generator=self.rng)  # the loop's direction of the label sensitivity, unused here
            between = (mix * batch.images + (1 - mix) * edited).requires_grad_()
            out = self.score(between)[0]
            (gradient,) = torch.autograd.grad(out, between, torch.ones_like(out), create_graph=True)
            penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
            loss_critic = (scores_edited.mean() - scores.mean() + w.lambda_gp * penalty
                           + w.lambda_cond * F.mse_loss(aus, batch.source_aus))  # fmt: skip
            self.adam_critic.zero_grad()
            loss_critic.backward()
            self.adam_critic.step()
        edit = self.generator(batch.images, batch.source_aus, batch.target_aus)
        scores, aus = self.score(edit.image)
        cycle = self.generator(edit.image, batch.target_aus, batch.source_aus)
        loss = (-scores.mean() + w.lambda_cond * F.mse_loss(aus, batch.target_aus)
                + w.lambda_cont * (cycle.image - batch.images).abs().mean())  # fmt: skip
        for attention in (edit.global_edit.attention, cycle.global_edit.attention):
            variation = attention.diff(dim=2).abs().sum() + attention.diff(dim=3).abs().sum()
            loss = loss + w.lambda_attn * attention.mean() + w.lambda_tv * variation / BATCH
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"critic": loss_critic.item(), "generator": loss.item()}


def run(rounds: int) -> dict:
    """Alternates both forms and returns CPU seconds, the ratio of each pair, and how far the losses differ."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(Path(folder))
        reference = StraightforwardStep(trainer)
        plain, fast, ratios, difference = [], [], [], 0.0
        for k in range(rounds + 1):
            start = time.process_time()
            expected = reference()
            middle = time.process_time()
            terms = trainer.step()
            end = time.process_time()
            for part, value in expected.items():
                ours = sum(v.item() for name, v in terms.items() if name.startswith(part))
                difference = max(difference, abs(ours - value) / abs(value)) if k == 0 else difference
            if k:  # the first round warms up
                plain.append(middle - start)
                fast.append(end - middle)
                ratios.append(plain[-1] / fast[-1])
    return {
        "straightforward_cpu_s": statistics.median(plain), "efgan_cpu_s": statistics.median(fast),
        "speed_up": statistics.median(ratios), "speed_up_of_each_round": ratios,
        "first_losses_relative_difference": difference,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="pairs to time after one warm-up")
    torch.set_num_threads(1)
    print(json.dumps(run(parser.parse_args().rounds), indent=2))
