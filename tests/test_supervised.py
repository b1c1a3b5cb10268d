"""The short training loop of the judges."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from efgan.data.faces import to_float
from efgan.training.checkpoint import save_tensors
from efgan.training.supervised import augment, fit, load_net, predict


def striped_images(n: int = 64, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes anybody can tell apart: the upper or the lower half is bright."""
    labels = torch.arange(n) % 2
    images = torch.randint(0, 60, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, label in zip(images, labels, strict=True):
        half = slice(0, size // 2) if label else slice(size // 2, size)
        image[:, half] += 150
    return images, labels


def tiny_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 2))


def test_learns_what_is_learnable():
    """Two obvious classes are told apart after a few passes, and the loss falls."""
    images, labels = striped_images()
    net = tiny_net()
    history = fit(net, images, labels, F.cross_entropy, epochs=8, seed=0, batch_size=16)
    assert len(history) == 8 and history[-1] < history[0] / 2
    assert (predict(net, images).argmax(1) == labels).all()
    assert not net.training


def test_deterministic_and_without_side_effects():
    """The same seed gives the same weights to the bit; the global random state is left as it was."""
    images, labels = striped_images()
    results = []
    for seed in (1, 1, 2):
        net = tiny_net()
        torch.manual_seed(9)
        fit(net, images, labels, F.cross_entropy, epochs=2, seed=seed)
        results.append((net[0].weight.detach().clone(), torch.rand(1)))
    assert torch.equal(results[0][0], results[1][0])
    assert not torch.equal(results[0][0], results[2][0])
    assert results[0][1] == results[2][1]


def test_fractions_of_an_epoch_count_updates():
    """Epochs may be a fraction: half a pass over 64 images in batches of 16 is two updates."""
    images, labels = striped_images()
    seen = []

    def loss(outputs, targets):
        seen.append(len(targets))
        return F.cross_entropy(outputs, targets)

    assert len(fit(tiny_net(), images, labels, loss, epochs=0.5, seed=0, batch_size=16)) == 1
    assert seen == [16, 16]


def test_a_last_batch_of_one_is_made_two():
    """Batch norm cannot learn from a single image."""
    images, labels = striped_images(n=17)
    fit(tiny_net(), images, labels, F.cross_entropy, epochs=1, seed=0, batch_size=16)


def test_non_finite_loss_stops():
    """A NaN loss raises at once and says which training it was."""
    images, labels = striped_images()
    with pytest.raises(FloatingPointError, match=r"AU estimator.*nan"):
        fit(tiny_net(), images, labels, lambda out, _: out.sum() * float("nan"), epochs=2, seed=0,
            description="AU estimator")  # fmt: skip


def test_augment_without_strength_flips_at_most():
    """With no shift, brightness and contrast, each image comes back as it is or mirrored."""
    images, _ = striped_images(n=32)
    images[..., :8] = 0  # mirror images differ
    got, plain = augment(images, shift=0, brightness=0.0, contrast=0.0), to_float(images)
    kept = (got == plain).flatten(1).all(1)
    mirrored = (got == plain.flip(3)).flatten(1).all(1)
    assert (kept ^ mirrored).all() and kept.any() and mirrored.any()


def test_augment_shifts_whole_pixels():
    """A shift moves the picture by at most that many pixels and repeats the edge."""
    image = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    image[:, :, 16, 16] = 255
    got = augment(image, shift=2, brightness=0.0, contrast=0.0)[:, 0]
    where = (got > 0).nonzero()
    assert len(where) == 64
    rows = where[:, 1] - 16
    assert rows.min() == -2 and rows.max() == 2


def test_learning_for_photos_sees_other_light(monkeypatch):
    """`for_photos` trains on photographs of the faces, mirrored half the time; the plain way does not."""
    images, labels = striped_images()
    calls = []
    monkeypatch.setattr("efgan.training.supervised.photograph", lambda batch: calls.append(len(batch)) or batch)
    fit(tiny_net(), images, labels, F.cross_entropy, epochs=1, seed=0, batch_size=16)
    assert not calls
    fit(tiny_net(), images, labels, F.cross_entropy, epochs=1, seed=0, batch_size=16, for_photos=True)
    assert calls == [16] * 4


def test_a_net_is_read_back_frozen(tmp_path):
    """The same outputs, in eval mode, without gradients; a missing file is the caller's to explain."""
    net = tiny_net()
    save_tensors(tmp_path / "net.safetensors", net.state_dict(), {})
    images, _ = striped_images()
    read = load_net(tiny_net().apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None),
                    tmp_path / "net.safetensors", torch.device("cpu"))  # fmt: skip
    assert torch.equal(predict(read, images), predict(net, images))
    assert not read.training and not any(p.requires_grad for p in read.parameters())
    with pytest.raises(FileNotFoundError):
        load_net(tiny_net(), tmp_path / "none.safetensors", torch.device("cpu"))
