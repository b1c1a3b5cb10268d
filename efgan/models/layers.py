"""The building blocks of every network: normalisation, conditioning, residual blocks and the backbone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InstanceNorm(nn.Module):
    """Instance normalisation with affine parameters and no running statistics, so training and use agree.

    Computed as group normalisation with one group per channel: the same numbers, faster on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, len(self.weight), self.weight.to(x.dtype), self.bias.to(x.dtype))


class ConditionedConv(nn.Module):
    """7×7 convolution of an image concatenated with a condition vector replicated as maps.

    A replicated map is constant, so its convolution differs from its centre value only in the 3-pixel border
    ring of the zero padding: a 7×7 map holds all cases. The result equals the plain concatenation.

    Source: GANimation and StarGAN concatenate labels this way.
    """

    def __init__(self, image_channels: int, condition_size: int, out_channels: int) -> None:
        super().__init__()
        self.image_channels = image_channels
        self.condition_size = condition_size
        self.weight = nn.Parameter(torch.empty(out_channels, image_channels + condition_size, 7, 7))

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Args: images B×C×H×W; condition B×K or None if `condition_size` is 0. Returns B×out×H×W."""
        out = F.conv2d(images, self.weight[:, : self.image_channels], padding=3)
        if self.condition_size == 0:
            return out
        if condition is None or condition.shape[1] != self.condition_size:
            raise ValueError(f"condition must be B×{self.condition_size}, not "
                             f"{None if condition is None else tuple(condition.shape)}")  # fmt: skip
        cases = F.conv2d(
            condition[:, :, None, None].expand(-1, -1, 7, 7), self.weight[:, self.image_channels :], padding=3
        )
        rows, columns = (_border_cases(n, images.device) for n in images.shape[2:])
        return out + cases[:, :, rows][:, :, :, columns]


def _border_cases(n: int, device: torch.device) -> Tensor:
    """For each of n ≥ 7 positions, which of the seven cases of a zero-padded 7-tap window it is."""
    position = torch.arange(n, device=device)
    return torch.where(position < 3, position, torch.where(position >= n - 3, position - n + 7, 3))


class ResidualBlock(nn.Module):
    """Conv3 – norm – ReLU – Conv3 – norm, added to its input (GANimation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = InstanceNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = InstanceNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class SmoothUpsample(nn.Module):
    """Transposed 4×4 convolution with stride 2, then the binomial filter [1 2 1]² / 16 with replicated borders.

    The filter takes away the grid of two pixels that transposed convolutions leave (our decision).
    """

    binomial: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("binomial", torch.outer(taps, taps).repeat(out_channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x B×in×H×W. Returns B×out×2H×2W."""
        rough = F.pad(self.conv(x), (1, 1, 1, 1), mode="replicate")
        return F.conv2d(rough, self.binomial, groups=rough.shape[1])


class Backbone(nn.Module):
    """Image and condition → features: the generator trunk of GANimation and StarGAN, with a 7×7 head.

    Conv7 – two stride-2 Conv4 – residual blocks – two filtered transposed Conv4 – Conv7 head, each but the head
    followed by instance normalisation and ReLU.

    Args:
        in_channels: channels of the image input.
        condition_size: length of the condition vector; 0 for none.
        out_channels: channels of the head.
        width: channels after the first convolution.
        blocks: residual blocks at width × 4.

    Source: the paper defers its layer table; this is GANimation's and a filter (our decision, spec 1.3).
    """

    def __init__(self, in_channels: int, condition_size: int, out_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = ConditionedConv(in_channels, condition_size, width)
        self.norm = InstanceNorm(width)
        self.layers = nn.Sequential(
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False), InstanceNorm(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1, bias=False), InstanceNorm(4 * width), nn.ReLU(),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            SmoothUpsample(4 * width, 2 * width), InstanceNorm(2 * width), nn.ReLU(),
            SmoothUpsample(2 * width, width), InstanceNorm(width), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(width, out_channels, 7, padding=3, bias=False)
        self.bf16 = False
        initialise(self)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Args: images B×C×H×W, H and W multiples of 4; condition B×K. Returns float32 B×out×H×W."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.head(self.layers(F.relu(self.norm(self.first(images, condition))))).float()


def set_precision(generator: nn.Module, precision: str) -> None:
    """Runs the backbones of a generator in "bf16" or "fp32"; weights and outputs stay fp32."""
    for part in generator.modules():
        if isinstance(part, Backbone):
            part.bf16 = precision == "bf16"


def initialise(module: nn.Module) -> None:
    """Convolution weights from N(0, 0.02) and zero biases, as in GANimation's code.

    Torch's own random biases would drown the weak signal of the critic's first layers: at 128 px some critics then
    never learn to read AUs.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | ConditionedConv):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if isinstance(bias := getattr(part, "bias", None), nn.Parameter):
                nn.init.zeros_(bias)
