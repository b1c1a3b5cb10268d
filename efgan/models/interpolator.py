"""The AUs Interpolator and its Wasserstein critic: intermediate AUs on the manifold of natural ones (paper 3.2)."""

import torch
from torch import Tensor, nn

from efgan.data.action_units import NUM_AUS

_HIDDEN = 128  # our decision


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, _HIDDEN), nn.LeakyReLU(0.2),
        nn.Linear(_HIDDEN, _HIDDEN), nn.LeakyReLU(0.2),
        nn.Linear(_HIDDEN, outputs),
    )  # fmt: skip


class Interpolator(nn.Module):
    """Source AUs and the residual of a linear pseudo target → intermediate AUs.

    The residual form `clamp(source + residual + MLP, 0, 1)` with a zero last layer starts as linear
    interpolation. Sizes and form are our decision; the inputs are the paper's (3.2).
    """

    def __init__(self) -> None:
        super().__init__()
        self.correction = _mlp(2 * NUM_AUS, NUM_AUS)
        for parameter in self.correction[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, source_aus: Tensor, residual: Tensor) -> Tensor:
        """Args: source_aus and residual, B×17. Returns B×17 in [0, 1]."""
        correction = self.correction(torch.cat([source_aus, residual], 1))
        return (source_aus + residual + correction).clamp(0, 1)

    def between(self, source_aus: Tensor, target_aus: Tensor, alpha: float | Tensor) -> Tensor:
        """The AUs a fraction `alpha` of the way; exactly the source at 0 and the target at 1 (our decision).

        Args:
            source_aus, target_aus: B×17.
            alpha: a number, or B×1 on their device, in [0, 1].
        """
        if not isinstance(alpha, Tensor):
            alpha = source_aus.new_full((), alpha)
        between = self(source_aus, alpha * (target_aus - source_aus))
        between = torch.where(alpha >= 1, target_aus, between)
        return torch.where(alpha <= 0, source_aus, between)


class StraightLine(nn.Module):
    """The straight line in AU space at an Interpolator's pace: the control of its path (our decision).

    Both ends are real AUs, so a path that only lingers near them would seem more natural than an even one.

    Args:
        interpolator: whose pace it takes.
    """

    def __init__(self, interpolator: Interpolator) -> None:
        super().__init__()
        self.interpolator = interpolator

    def between(self, source_aus: Tensor, target_aus: Tensor, alpha: float | Tensor) -> Tensor:
        """The point of the line that is nearest to what the Interpolator gives; arguments as there."""
        way = target_aus - source_aus
        gone = self.interpolator.between(source_aus, target_aus, alpha) - source_aus
        progress = (gone * way).sum(-1, keepdim=True) / way.square().sum(-1, keepdim=True).clamp(min=1e-12)
        return source_aus + progress.clamp(0, 1) * way


class AUCritic(nn.Module):
    """Scores AU vectors: high for real ones. Trained to maximise the Wasserstein distance (paper 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _mlp(NUM_AUS, 1)

    def forward(self, aus: Tensor) -> Tensor:
        """Args: aus B×17. Returns B scores."""
        return self.layers(aus).squeeze(1)
