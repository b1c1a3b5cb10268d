"""The face contract, batches and splits."""

from dataclasses import replace

import pytest
import torch
from conftest import make_faces

from efgan import data
from efgan.config import DataConfig
from efgan.data.batches import BatchSampler
from efgan.data.faces import join_faces, to_float, to_uint8
from efgan.data.splits import split_faces
from efgan.errors import UserError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("aus", torch.full((24, 17), 1.5)),
        ("images", torch.zeros(24, 3, 64, 32, dtype=torch.uint8)),
        ("landmarks", torch.zeros(24, 5, 2)),
        ("expression", torch.full((24,), 8)),
        ("evaluated", ("bored",)),
        ("names", ("one",)),
    ],
)
def test_bad_faces_are_refused_at_the_door(faces, field, value):
    """The message names the set and the field."""
    with pytest.raises(UserError, match=f"synthetic_rafd.*{field}"):
        replace(faces, **{field: value})


def test_subset_keeps_rows_together(faces):
    """Positions and masks select the same faces with all their labels."""
    mask = faces.identity == 1
    assert faces.subset(mask).names == faces.subset(mask.nonzero().flatten()).names
    assert torch.equal(faces.subset(mask).aus, faces.aus[mask])


def test_resizing_scales_landmarks(faces):
    """Half the size, half the coordinates; a constant picture stays constant."""
    grey = replace(faces, images=torch.full_like(faces.images, 77))
    small = grey.resized(32)
    assert small.size == 32 and (small.images == 77).all()
    torch.testing.assert_close(small.landmarks, faces.landmarks / 2)


def test_uint8_round_trip():
    """All 256 levels survive the way to [-1, 1] and back."""
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)


def test_data_hash_sees_every_label(faces):
    """A changed AU changes the hash."""
    assert faces.data_hash() != replace(faces, aus=faces.aus.flip(0)).data_hash()


def test_batches_are_faces_with_targets_of_other_faces(faces):
    """Images come from the set, flipped or not; AUs stay in [0, 1] under noise."""
    rng = torch.Generator().manual_seed(0)
    sampler = BatchSampler(faces, batch_size=16, target_noise=0.1, rng=rng, classed_only=False)
    batch = sampler.next()
    for image, aus in zip(to_uint8(batch.images), batch.source_aus, strict=True):
        match = (faces.aus == aus).all(1).nonzero().item()
        assert torch.equal(image, faces.images[match]) or torch.equal(image.flip(2), faces.images[match])
    assert batch.target_aus.min() >= 0 and batch.target_aus.max() <= 1


def test_batches_can_skip_faces_without_class():
    """StarGAN's labels need a class."""
    rng = torch.Generator().manual_seed(0)
    faces = make_faces(unclassed=50)
    sampler = BatchSampler(faces, batch_size=64, target_noise=0, rng=rng, classed_only=True)
    assert sampler.next().source_expression.min() >= 0
    unlabelled = faces.subset(faces.expression < 0)
    with pytest.raises(UserError, match="no training faces with expressions"):
        BatchSampler(unlabelled, batch_size=64, target_noise=0, rng=rng, classed_only=True)


def test_identity_split_shares_no_person():
    """Unseen people are tested; faces without a class are never tested."""
    faces = make_faces(people=10, unclassed=20)
    split = split_faces(faces, DataConfig(split="identity", test_fraction=0.2))
    assert not set(faces.identity[split.train].tolist()) & set(faces.identity[split.test].tolist())
    assert len(split.test) == 2 * 8 and (faces.expression[split.test] >= 0).all()


def test_image_split_is_the_papers():
    """90 % of the images train, whoever they show."""
    faces = make_faces(people=10)
    split = split_faces(faces, DataConfig(split="image"))
    assert len(split.test) == 8 and len(split.train) == 72
    assert len(set(split.train.tolist()) | set(split.test.tolist())) == 80


@pytest.mark.parametrize("split", ["identity", "image"])
def test_a_set_without_classes_is_split_too(split):
    """Photos of any folder: a tenth is kept for the samples that training shows."""
    faces = make_faces(people=10)
    parts = split_faces(replace(faces, expression=torch.full_like(faces.expression, -1)), DataConfig(split=split))
    assert len(parts.test) == 8 and len(parts.train) == 72


@pytest.mark.parametrize("split", ["identity", "image"])
def test_a_single_photo_is_no_set(split):
    """Said in words; not an error from deep inside the training."""
    faces = make_faces(people=1)
    with pytest.raises(UserError, match=f"too small for the {split} split: 1 faces of 1 people"):
        split_faces(faces.subset(torch.arange(1)), DataConfig(split=split))


def test_split_depends_on_its_seed_only():
    """The same seed gives the same hash, another seed another."""
    faces = make_faces(people=10)
    one, same, other = (split_faces(faces, DataConfig(split_seed=s)) for s in (0, 0, 1))
    assert one.hash == same.hash != other.hash


def test_joined_sets_keep_people_apart_and_classes_by_name():
    """Faces, labels and names of both; classes are united, those that all sets evaluate are evaluated."""
    first = make_faces(people=3, unclassed=2)
    names = ("happy", "awed", "neutral", *(f"other_{k}" for k in range(5)))
    second = replace(make_faces(people=2), name="synthetic_cfeed", expression_names=names, evaluated=names[:3])
    joined = join_faces("synthetic_joint", [first, second])
    assert len(joined) == len(first) + len(second)
    assert not set(joined.identity[: len(first)].tolist()) & set(joined.identity[len(first) :].tolist())
    assert joined.evaluated == ("neutral", "happy")
    shown = [joined.expression_names[k] if k >= 0 else None for k in joined.expression.tolist()]
    expected = [
        part.expression_names[k] if k >= 0 else None for part in (first, second) for k in part.expression.tolist()
    ]
    assert shown == expected
    assert joined.names[-1] == f"synthetic_cfeed/{second.names[-1]}"


def test_both_embedded_sets_together(monkeypatch):
    """At most the people that RaFD's role has, its variants; one variant of the other set; the wild ones look other."""
    asked = []

    def render(dataset, *, identities, variants, random_aus):
        asked.append((dataset, identities, variants, random_aus))
        return replace(make_faces(), name=dataset)

    monkeypatch.setattr("efgan.data.synthetic.render_synthetic", render)
    config = DataConfig(dataset="synthetic_joint", image_size=64, identities=150, variants=2, random_aus=8)
    joint = data.load_faces(config)
    assert asked == [("synthetic_rafd", 67, 2, 8), ("synthetic_cfeed", 150, None, 8)]
    assert joint.name == "synthetic_joint" and joint.synthetic
    wild = data.load_faces(replace(config, dataset="synthetic_wild"))
    assert torch.equal(wild.aus, joint.aus) and not torch.equal(wild.images, joint.images)
