"""The judges' networks."""

import pytest
import torch

from efgan.config import EvalConfig
from efgan.evaluation.torchvision_compat import ensure_torchvision_importable
from efgan.models.classifiers import ResNet18, build_au_estimator, build_classifier

SMALL = EvalConfig(classifier="small")


def test_resnet18_is_torchvisions():
    """Same weight names, same number of weights, and the same output from the same weights."""
    ensure_torchvision_importable()
    from torchvision.models import resnet18

    theirs, ours = resnet18(weights=None, num_classes=8).eval(), ResNet18(8).eval()
    assert ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images))


def test_resnet18_has_the_published_size():
    """He et al.: 11,689,512 weights with 1,000 classes."""
    assert sum(p.numel() for p in ResNet18(1000).parameters()) == 11_689_512


@pytest.mark.parametrize("name", ["small", "resnet18"])
@pytest.mark.parametrize("size", [64, 128])
def test_outputs(name, size):
    """One logit per class; 17 AUs in [0, 1]; any image size that is a multiple of 32."""
    config, images = EvalConfig(classifier=name), torch.randn(2, 3, size, size)
    assert build_classifier(config, 7)(images).shape == (2, 7)
    aus = build_au_estimator(config)(images)
    assert aus.shape == (2, 17) and aus.min() >= 0 and aus.max() <= 1


def test_small_net_is_small():
    """Below 0.7 million weights: it must train in a minute on one core."""
    assert sum(p.numel() for p in build_classifier(SMALL, 8).parameters()) < 700_000


def test_same_seed_same_weights():
    """Building is reproducible and leaves torch's random state alone."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (build_classifier(SMALL, 8, seed=s).state_dict() for s in (3, 3, 4))
    assert torch.rand(1) == expected
    name = "backbone.features.0.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])
