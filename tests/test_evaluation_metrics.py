"""Every number against an oracle: closed form, another library, or by hand."""

import hashlib

import numpy as np
import pytest
import torch
from conftest import make_faces
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from efgan.errors import UserError
from efgan.evaluation import features
from efgan.evaluation.action_unit_error import (
    compute_correlation,
    compute_icc,
    estimator_quality,
    off_target_change,
    requested_error,
)
from efgan.evaluation.expression_accuracy import bootstrap_interval, compute_accuracy
from efgan.evaluation.identity import identity_retrieval
from efgan.evaluation.image_quality import compute_psnr, compute_ssim
from efgan.evaluation.protocol import Pairs


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# Picture quality


def test_psnr_agrees_with_scikit_image():
    """The same dB as scikit-image, image by image."""
    a, b = noise(4, 3, 16, 16), noise(4, 3, 16, 16, seed=1)
    expected = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=255) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(compute_psnr(a, b), expected, rtol=1e-12)


def test_psnr_by_hand():
    """A constant error of 16 grey levels is 24.048 dB; equal images are infinitely good."""
    a = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert float(compute_psnr(a, a + 16)) == pytest.approx(20 * np.log10(255 / 16))
    assert float(compute_psnr(a, a)) == float("inf")


def test_psnr_inside_a_box():
    """An error outside the box does not count, one inside does."""
    a = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    b = a.clone()
    b[:, :, 0, 0] = 16
    assert float(compute_psnr(a, b, box=(4, 4, 4, 4))) == float("inf")
    assert float(compute_psnr(a, b, box=(0, 0, 1, 1))) == pytest.approx(20 * np.log10(255 / 16))


def test_psnr_refuses_floats():
    """Images in [-1, 1] would silently give a wrong scale."""
    with pytest.raises(ValueError, match="uint8"):
        compute_psnr(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_ssim_limits():
    """1 for equal images, about 0 for unrelated noise."""
    a, b = noise(2, 3, 32, 32), noise(2, 3, 32, 32, seed=1)
    np.testing.assert_allclose(compute_ssim(a, a), 1)
    assert compute_ssim(a, b).abs().max() < 0.1


# Distributions


def test_frechet_distance_closed_form():
    """Equal covariances: the squared distance of the means. Scaling by s: tr(C)(s - 1)²."""
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift = torch.tensor([1.0, -2, 0, 0.5, 0, 3])
    assert features.compute_frechet_distance(x, x + shift) == pytest.approx(float(shift.square().sum()), rel=1e-6)
    centred = x - x.mean(0)
    trace = float(torch.trace(torch.cov(x.T)))
    assert features.compute_frechet_distance(centred, 3 * centred) == pytest.approx(4 * trace, rel=1e-6)


def test_frechet_distance_with_fewer_images_than_features():
    """Rank-deficient covariances stay accurate: a set against itself is 0, a shift its square."""
    x = torch.randn(20, 200, generator=torch.Generator().manual_seed(0))
    assert features.compute_frechet_distance(x, x) == pytest.approx(0, abs=1e-3)
    assert features.compute_frechet_distance(x, x + 0.5) == pytest.approx(50, abs=1e-2)


def test_kid_by_hand():
    """Against the unbiased estimator written out."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(12, 5, generator=generator, dtype=torch.float64) + k for k in (0, 1))

    def kernel(a, b):
        return (a @ b.T / 5 + 1) ** 3

    def off_diagonal(k):
        return (k.sum() - k.trace()) / (12 * 11)

    expected = off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y)) - 2 * kernel(x, y).mean()
    assert features.compute_kid(x, y) == pytest.approx(float(expected))


def test_only_inception_may_be_called_fid():
    """A Fréchet distance in other features has another name."""
    assert features.metric_name("inception-v3") == "FID"
    assert features.metric_name("efficientnet-lite0") == "FD-EffNetLite0"


def smooth_pictures(n: int, seed: int = 0) -> torch.Tensor:
    """Coloured blobs: more like pictures than noise is."""
    coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def test_packaged_extractor_sees_blur():
    """EfficientNet-Lite0: nothing between a set and itself, more the more it is blurred."""
    images = smooth_pictures(10)
    images[:, :, ::2] //= 2  # something fine to lose
    blurred = [nn.functional.avg_pool2d(images.float(), k, 1, k // 2).to(torch.uint8) for k in (3, 5)]
    real, slight, strong = (features.compute_features(x, "efficientnet-lite0") for x in (images, *blurred))
    assert real.shape == (10, 1280)
    same, less, more = (features.compute_frechet_distance(real, x) for x in (real, slight, strong))
    assert same == pytest.approx(0, abs=1e-2) and 1 < less < more


def test_our_distances_are_torch_fidelitys():
    """Kept features give the numbers that torch-fidelity computes from images in one go."""
    features.build_extractor("efficientnet-lite0", torch.device("cpu"))
    import torch_fidelity
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class Extractor(features._efficientnet_class()):
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)

    FEATURE_EXTRACTORS_REGISTRY.setdefault("efficientnet-lite0-test", Extractor)
    a, b = smooth_pictures(9), smooth_pictures(9, seed=1)
    theirs = torch_fidelity.calculate_metrics(
        input1=torch.utils.data.Subset(list(a), range(9)), input2=torch.utils.data.Subset(list(b), range(9)),
        fid=True, kid=True, kid_subset_size=9, kid_subsets=1, feature_extractor="efficientnet-lite0-test",
        cuda=False, save_cpu_ram=True, verbose=False, cache=False,
    )  # fmt: skip
    ours = [features.compute_features(x, "efficientnet-lite0") for x in (a, b)]
    assert features.compute_frechet_distance(*ours) == pytest.approx(
        theirs["frechet_inception_distance"], rel=1e-3, abs=0.5
    )  # torch-fidelity works in float32 here
    assert features.compute_kid(*ours) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)


def test_inception_weights_are_found_and_checked(tmp_path, monkeypatch):
    """By environment variable, then torch's hub cache; a wrong file or path is refused with its name."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("EFGAN_INCEPTION", raising=False)
    assert features.find_inception_weights() is None

    monkeypatch.setenv("EFGAN_INCEPTION", str(tmp_path / "nowhere.pth"))
    with pytest.raises(UserError, match=r"nowhere\.pth"):
        features.find_inception_weights()

    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the weights")
    monkeypatch.setenv("EFGAN_INCEPTION", str(path))
    with pytest.raises(UserError, match="not the official"):
        features.find_inception_weights()

    monkeypatch.setattr(features, "INCEPTION_SHA256_PREFIX", hashlib.sha256(b"not the weights").hexdigest()[:8])
    assert features.find_inception_weights() == path


def test_missing_inception_says_what_to_do(tmp_path, monkeypatch):
    """Without the file and without a network: one message with the file's name, the variable and the alternative."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("EFGAN_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    with pytest.raises(UserError, match=r"6726825d\.pth.*EFGAN_INCEPTION.*efficientnet-lite0"):
        features.build_extractor("inception-v3", torch.device("cpu"))


def _no_network(*_, **__):
    raise OSError("no route to host")


# Accuracy


class Oracle(nn.Module):
    """Reads the class off the first pixel, which the test wrote there."""

    def __init__(self, mistakes: int = 0):
        super().__init__()
        self.mistakes = nn.Parameter(torch.tensor(float(mistakes)))

    def forward(self, images):
        labels = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        labels[: int(self.mistakes)] = (labels[: int(self.mistakes)] + 1) % 3
        return nn.functional.one_hot(labels, 3).float()


def test_accuracy_of_oracles():
    """A perfect classifier scores 1, one with three mistakes in twelve 0.75; confusion counts both."""
    labels = torch.arange(12) % 3
    images = labels[:, None, None, None].expand(-1, 3, 4, 4).to(torch.uint8)
    accuracy = compute_accuracy([Oracle(), Oracle(mistakes=3)], images, labels, 3)
    assert accuracy.per_seed == (1.0, 0.75)
    assert accuracy.mean == 0.875 and accuracy.std == pytest.approx(0.25 / 2**0.5)
    assert accuracy.confusion == [[7, 1, 0], [0, 7, 1], [1, 0, 7]]
    assert accuracy.predicted.equal(labels)


def test_bootstrap_draws_people():
    """Ten edits of one person carry no more than one: the interval is as wide as with one each."""
    right = torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0])
    people = torch.arange(8)
    single = bootstrap_interval(right, people)
    assert single[0] < 0.5 < single[1]
    assert bootstrap_interval(right.repeat_interleave(10), people.repeat_interleave(10)) == single
    assert bootstrap_interval(torch.ones(8), people) == (1.0, 1.0)


def test_the_interval_of_seven_people_holds_the_truth_in_95_of_100():
    """As many as the small presets test; plain percentiles would hold it in 87."""
    generator, people = torch.Generator().manual_seed(0), torch.arange(7)
    intervals = [bootstrap_interval(torch.randn(7, generator=generator), people) for _ in range(400)]
    assert 0.92 < sum(low < 0 < high for low, high in intervals) / 400 < 0.98


# Action Units


def test_correlation_and_icc():
    """Correlation as numpy's; ICC(3,1) is 1 up to a constant shift and punishes another scale."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(50, 3, generator=generator), torch.rand(50, 3, generator=generator)
    expected = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(compute_correlation(a, b), expected, rtol=1e-6)
    np.testing.assert_allclose(compute_icc(a, a + 0.3), 1, rtol=1e-6)
    assert (compute_icc(a, 0.2 * a) < 0.5).all()


def test_icc_of_shrout_and_fleiss():
    """The textbook table (6 subjects, judges 1 and 2): ICC(3,1) from its mean squares by hand."""
    one, two = torch.tensor([9.0, 6, 8, 7, 10, 6]), torch.tensor([2.0, 1, 4, 1, 5, 2])
    table = torch.stack((one, two), 1)
    mean_square_between = 2 * (table.mean(1) - table.mean()).square().sum() / 5
    rest = table - table.mean(1, keepdim=True) - table.mean(0) + table.mean()
    mean_square_error = rest.square().sum() / 5
    expected = (mean_square_between - mean_square_error) / (mean_square_between + mean_square_error)
    assert float(compute_icc(one[:, None], two[:, None])) == pytest.approx(float(expected))


def test_estimator_quality_of_a_perfect_estimator():
    """No error, correlation 1; an AU that never occurs has no correlation."""
    aus = torch.rand(30, 17, generator=torch.Generator().manual_seed(0))
    aus[:, 16] = 0
    quality = estimator_quality(aus, aus)
    assert quality["AU12"] == {"mae": 0.0, "correlation": pytest.approx(1.0), "icc": pytest.approx(1.0)}
    assert quality["AU45"] == {"mae": 0.0, "correlation": None, "icc": None}


def test_requested_error_and_off_target_by_hand():
    """Only AUs that the request left alone count as off target."""
    source = torch.zeros(1, 17)
    requested, before, achieved = source.clone(), source.clone(), source.clone()
    requested[0, 8] = 1.0  # asked: AU12 fully
    achieved[0, 8], achieved[0, 0] = 0.5, 0.16  # got: half of it, and some AU01
    assert requested_error(achieved, requested).tolist() == pytest.approx([(0.5 + 0.16) / 17])
    assert off_target_change(achieved, before, source, requested) == pytest.approx(0.01)


# Identity


def test_identity_retrieval_with_telling_features():
    """Features that are the person: always found. The next person's features: never. One person: no answer."""
    faces = make_faces(people=3, variants=2)
    rows = torch.arange(len(faces))
    pairs = Pairs(source=rows[faces.expression == 0], target=rows[faces.expression == 5])
    person = torch.eye(3)[faces.identity]
    assert identity_retrieval(faces, pairs, person[pairs.source], rows, person) == 1.0
    assert identity_retrieval(faces, pairs, person[pairs.source].roll(1, 1), rows, person) == 0.0
    alone = faces.identity == 0
    assert identity_retrieval(faces, pairs, person[pairs.source], rows[alone], person[alone]) is None


def test_identity_is_not_given_away_by_the_source_picture():
    """Features that know only the picture (person and variant) do not find the person in another variant."""
    faces = make_faces(people=3, variants=2)
    rows = torch.arange(len(faces))
    pairs = Pairs(source=rows[faces.expression == 0], target=rows[faces.expression == 5])
    picture = (
        torch.eye(6)[faces.identity * 2 + faces.variant] - 0.01 * torch.eye(6)[faces.identity * 2 + 1 - faces.variant]
    )
    assert identity_retrieval(faces, pairs, picture[pairs.source], rows, picture) == 0.0
