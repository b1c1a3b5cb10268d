"""Teaches the AUs Interpolator against its Wasserstein critic, on AU vectors alone (paper 3.2)."""

import time

import torch
from torch import Tensor

from efgan.config import TrainConfig
from efgan.models.interpolator import AUCritic, Interpolator
from efgan.progress import track
from efgan.training import losses

_BATCH = 64
_LEARNING_RATE = 1e-3  # our decision: two small MLPs
_CRITIC_STEPS = 3


def train_interpolator(
    interpolator: Interpolator, aus: Tensor, config: TrainConfig, rng: torch.Generator
) -> dict[str, float]:
    """Trains the Interpolator in place with L_interp, on the CPU: launches would take a GPU longer than its sums.

    The term is independent of the images, because no gradient flows from them into the Interpolator (our
    decision): so it is minimised here, before the cascade is fine-tuned.

    Args:
        interpolator: a fresh Interpolator, on the CPU like `aus`.
        aus: AUs of the real training faces with an expression, N×17: the manifold of natural AUs.
        config: `interpolator_iterations`, λ's.
        rng: CPU generator of all draws.

    Returns:
        What it gained on one batch: the Wasserstein gap E[D(real)] − E[D(ŷ)] of its AUs and of linear
        interpolation, its root mean square distance to the linear AUs, and the seconds it took.
    """
    started = time.perf_counter()
    critic, weights = AUCritic(), config.cascade_loss
    betas = (config.optim.beta1, 0.9)  # our decision, and so is `_CRITIC_STEPS`
    adam, adam_critic = (
        torch.optim.Adam(m.parameters(), _LEARNING_RATE, betas, fused=True) for m in (interpolator, critic)
    )

    def draw(batch: int = _BATCH) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index = torch.randint(len(aus), (3, batch), generator=rng)
        return *aus[index], torch.rand(batch, 1, generator=rng)

    for iteration in track(range(config.interpolator_iterations), description="Interpolator"):
        for group in adam.param_groups:
            group["lr"] = _LEARNING_RATE * (1 - iteration / config.interpolator_iterations)
        for _ in range(_CRITIC_STEPS):
            source, target, real, alpha = draw()
            with torch.no_grad():
                between = interpolator(source, alpha * (target - source))
            mix = torch.rand(_BATCH, 1, generator=rng)
            loss = losses.compute_au_critic_loss(critic, real, between, mix, weights.lambda_gp)
            adam_critic.zero_grad()
            loss.backward()
            adam_critic.step()
        source, target, _, alpha = draw()
        loss = weights.lambda_interp * losses.compute_interpolation_loss(
            interpolator, critic, source, target, alpha, weights.lambda_sem
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
        if not torch.isfinite(loss):
            raise RuntimeError(f"the Interpolator's loss is {loss.item()} at iteration {iteration}")
    gained = _gain(interpolator, critic, *draw(2048))
    return gained | {"seconds": time.perf_counter() - started}


@torch.no_grad()
def _gain(
    interpolator: Interpolator, critic: AUCritic, source: Tensor, target: Tensor, real: Tensor, alpha: Tensor
) -> dict[str, float]:
    linear = torch.lerp(source, target, alpha)
    between = interpolator(source, linear - source)
    return {
        "wasserstein_gap": (critic(real).mean() - critic(between).mean()).item(),
        "wasserstein_gap_linear": (critic(real).mean() - critic(linear).mean()).item(),
        "distance_to_linear": (between - linear).square().mean().sqrt().item(),
    }
