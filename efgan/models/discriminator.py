"""The PatchGAN critic with its regression or classification head, and its exact input gradient."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efgan.models.layers import initialise

_SLOPE = 0.01
_SMALL_MAP = 8  # pixels; convolutions of smaller maps are faster as one matrix product on a CPU


class StridedConv(nn.Conv2d):
    """4×4 convolution with stride 2 and padding 1; on small maps of a CPU computed as one matrix product."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x B×in×H×W. Returns B×out×H/2×W/2."""
        if x.is_cuda or x.shape[2] > _SMALL_MAP:
            return super().forward(x)
        batch, _, height, width = x.shape
        assert self.bias is not None
        columns = F.unfold(x, 4, padding=1, stride=2)
        out = self.weight.flatten(1) @ columns.transpose(0, 1).reshape(columns.shape[1], -1)
        out = out.view(-1, batch, height // 2 * (width // 2)).transpose(0, 1) + self.bias[None, :, None]
        return out.reshape(batch, -1, height // 2, width // 2)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to the input, B×in×2h×2w, from the one with respect to the output, B×out×h×w."""
        batch, channels, height, width = gradient.shape
        if gradient.is_cuda or 2 * height > _SMALL_MAP:
            return F.conv_transpose2d(gradient, self.weight, stride=2, padding=1)
        columns = self.weight.flatten(1).t() @ gradient.flatten(2).transpose(0, 1).reshape(channels, -1)
        columns = columns.view(-1, batch, height * width).transpose(0, 1)
        return F.fold(columns, (2 * height, 2 * width), 4, padding=1, stride=2)


class Critic(nn.Module):
    """Strided convolutions with LeakyReLU, one or two patch-score heads and a label head.

    Args:
        image_size: S in pixels, a multiple of 32.
        width: channels after the first convolution, doubled by each further one.
        max_width: upper bound of the channels.
        outputs: length of the label head: 17 AUs, or the classes for StarGAN.
        fine_layer: the convolution after which a second patch head sits; None for no such head. The receptive
            field of the first head's scores is the whole face, that of the second's, after three
            convolutions, 38 pixels.

    Raises:
        ValueError: `fine_layer` is not one of the convolutions before the last.

    Source: GANimation's and StarGAN's discriminator (the paper defers its own); the second patch head: our
    decision.
    """

    def __init__(
        self, image_size: int, width: int, max_width: int, outputs: int, fine_layer: int | None = None
    ) -> None:
        super().__init__()
        factors_of_two = (image_size & -image_size).bit_length() - 1
        depth = min(int(math.log2(image_size)) - 1, factors_of_two)
        if fine_layer is not None and not 1 <= fine_layer < depth:
            raise ValueError(f"fine_layer = {fine_layer} is not accepted: 1 to {depth - 1}, or None")
        channels = [3] + [min(width * 2**k, max_width) for k in range(depth)]
        self.convs = nn.ModuleList(StridedConv(a, b) for a, b in pairwise(channels))
        self.patch_head = nn.Conv2d(channels[-1], 1, 3, padding=1, bias=False)
        self.label_head = nn.Conv2d(channels[-1], outputs, image_size // 2**depth, bias=False)
        self.fine_layer = fine_layer
        self.fine_head = (
            nn.Conv2d(channels[fine_layer], 1, 3, padding=1, bias=False) if fine_layer is not None else None
        )
        self.bf16 = False
        initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Patch scores B×1×h×w and labels B×outputs (AUs or logits) of images B×3×S×S.

        With a fine head each patch's score is the mean of its own and of the fine scores' average within it.
        """
        dtype = images.dtype
        fine = None
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            for layer, conv in enumerate(self.convs, 1):
                images = F.leaky_relu(conv(images), _SLOPE)
                if self.fine_head is not None and layer == self.fine_layer:
                    fine = self.fine_head(images)
            scores, labels = self.patch_head(images), self.label_head(images).flatten(1)
            if fine is not None:
                scores = (scores + F.adaptive_avg_pool2d(fine, scores.shape[2:])) / 2
        return scores.to(dtype), labels.to(dtype)

    def input_gradient(self, images: Tensor, direction: Tensor | None = None) -> Tensor:
        """Gradient of each image's summed patch scores with respect to its pixels, B×3×S×S.

        The critic is piecewise linear: with the LeakyReLU slopes taken as constants (as they are almost
        everywhere) the gradient is a chain of transposed convolutions. Its own gradient with respect to the
        weights then needs one ordinary backward pass, and equals the double-backward form exactly. With `bf16` it is
        computed in bfloat16 too (our decision).

        Args:
            images: B×3×S×S.
            direction: B×outputs; with it, the gradient of the labels' projection on it instead.
        """
        slopes = []
        # A block of its own: autocast would go on using the weights it converted without gradient.
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            hidden = images
            for conv in self.convs:
                hidden = conv(hidden)
                slopes.append(torch.full_like(hidden, _SLOPE).masked_fill_(hidden > 0, 1.0))
                hidden = hidden * slopes[-1]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            if direction is None:  # what a patch counts in the summed scores
                weight = torch.full_like(hidden[:, :1], 1.0 if self.fine_head is None else 0.5)
                gradient = F.conv_transpose2d(weight, self.patch_head.weight, padding=1)
            else:
                gradient = F.conv_transpose2d(direction[:, :, None, None], self.label_head.weight)
            for layer in range(len(self.convs), 0, -1):
                slope, conv = slopes[layer - 1], self.convs[layer - 1]
                assert isinstance(conv, StridedConv)
                if direction is None and self.fine_head is not None and layer == self.fine_layer:
                    weight = torch.full_like(slope[:, :1], 0.5 * hidden[0, 0].numel() / slope[0, 0].numel())
                    gradient = gradient + F.conv_transpose2d(weight, self.fine_head.weight, padding=1)
                gradient = conv.adjoint(gradient * slope)
        return gradient.to(images.dtype)
