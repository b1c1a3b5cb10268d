"""The judges' networks: expression classifier, Action Unit estimator and identity classifier on one residual backbone.

`resnet18` has torchvision's layer list and weight names (He et al. 2016), without needing torchvision;
`small` is the same block in a shallow net for 64-px faces, for machines without a GPU. The paper names no
classifier.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efgan.config import EvalConfig
from efgan.data.action_units import NUM_AUS


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a skip connection, as in ResNet-18."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + skip, inplace=True)


class ResNet18(nn.Module):
    """ResNet-18 with torchvision's weight names, so that weights of either load into the other.

    Args:
        outputs: size of the last layer.

    Source: He et al. 2016, table 1; the choice of ResNet-18 is our decision (spec 4).
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, outputs)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images)), inplace=True), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class SmallNet(nn.Module):
    """A shallow residual net whose head sees *where* on the face a feature is.

    Faces are aligned, so a 4×4 grid of features in place of one global average tells a raised brow from a
    raised lip; with a thousand training faces that matters more than depth.

    Args:
        outputs: size of the last layer.
        width: channels after the first convolution.

    Source: our decision.
    """

    def __init__(self, outputs: int, width: int = 24) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 4 * width, 2),
            nn.Conv2d(4 * width, 2 * width, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * width, outputs),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def _build_backbone(name: str, outputs: int) -> nn.Module:
    return ResNet18(outputs) if name == "resnet18" else SmallNet(outputs)


class FaceClassifier(nn.Module):
    """Images B×3×S×S in [-1, 1] to logits B×K, over the evaluated expressions or over the training people.

    How much somebody resembles each of the people it knows also describes people it never saw (our decision).
    """

    def __init__(self, backbone: str, num_classes: int) -> None:
        super().__init__()
        self.backbone = _build_backbone(backbone, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)


class AUEstimator(nn.Module):
    """Images B×3×S×S in [-1, 1] to Action Units B×17 in [0, 1]."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.backbone = _build_backbone(backbone, NUM_AUS)

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.backbone(images))


def estimator_name(*, synthetic: bool) -> str:
    """What the AU estimator is called wherever its output is shown: it is not OpenFace."""
    return f"efgan's AU estimator ({'synthetic' if synthetic else 'OpenFace'}-trained)"


def build_classifier(config: EvalConfig, num_classes: int, *, seed: int = 0) -> FaceClassifier:
    """An untrained classifier of expressions or people; the same weights for the same seed, on any device."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FaceClassifier(config.classifier, num_classes)


def build_au_estimator(config: EvalConfig, *, seed: int = 0) -> AUEstimator:
    """An untrained AU estimator; the same weights for the same seed, on any device."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AUEstimator(config.classifier)
