"""Which pairs are edited, and with which Action Units."""

from dataclasses import replace

import pytest
import torch
from conftest import make_faces

from efgan.config import DataConfig, EvalConfig
from efgan.data.action_units import prototype_aus
from efgan.data.faces import to_uint8
from efgan.data.splits import Split, split_faces
from efgan.errors import UserError
from efgan.evaluation import protocol
from efgan.models.branch import BranchOutput, Edit


def as_set(pairs: protocol.Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True))


def toy_faces():
    """Six faces by hand: two people, two variants, three classes of which two are evaluated.

    row: person, variant, expression: 0: A0 neutral, 1: A0 angry, 2: A1 neutral, 3: B0 neutral, 4: B0 angry,
    5: B0 happy (not evaluated).
    """
    faces = make_faces(people=1).subset(torch.arange(6))
    return replace(
        faces, identity=torch.tensor([7, 7, 7, 9, 9, 9]), variant=torch.tensor([0, 0, 1, 0, 0, 0]),
        expression=torch.tensor([0, 1, 0, 0, 1, 5]), evaluated=("neutral", "angry"),
    )  # fmt: skip


def test_pairs_by_hand():
    """Same person, same variant, another evaluated class: the person without a partner has no pair."""
    pairs = protocol.test_pairs(toy_faces(), torch.arange(6))
    assert as_set(pairs) == {(0, 1), (1, 0), (3, 4), (4, 3)}


def test_targets_may_be_looked_for_elsewhere():
    """With the image split, the real target may be a training face; sources are test faces only."""
    faces = toy_faces()
    assert as_set(protocol.test_pairs(faces, torch.tensor([0, 3]))) == set()
    assert as_set(protocol.test_pairs(faces, torch.tensor([0, 3]), targets=torch.arange(6))) == {(0, 1), (3, 4)}


def test_complete_set_gives_every_other_class():
    """3 people × 2 variants × 8 classes × 7 others, and no face without a class."""
    faces = make_faces(people=3, variants=2, unclassed=5)
    pairs = protocol.test_pairs(faces, torch.arange(len(faces)))
    assert len(pairs) == len(as_set(pairs)) == 3 * 2 * 8 * 7
    assert (faces.identity[pairs.source] == faces.identity[pairs.target]).all()
    assert (faces.variant[pairs.source] == faces.variant[pairs.target]).all()
    assert (faces.expression[pairs.source] != faces.expression[pairs.target]).all()
    assert (faces.expression[pairs.target] >= 0).all()


def test_thinning_is_even_seeded_and_nested():
    """112 of 336 pairs: two of each of the 56 tasks; a smaller limit is a subset; the order is kept."""
    faces = make_faces(people=3, variants=2)
    every = torch.arange(len(faces))
    pairs = protocol.test_pairs(faces, every, max_pairs=112)
    tasks = faces.expression[pairs.source] * 8 + faces.expression[pairs.target]
    assert set(tasks.bincount().tolist()) == {0, 2}
    assert as_set(protocol.test_pairs(faces, every, max_pairs=30)) < as_set(pairs)
    assert as_set(protocol.test_pairs(faces, every, max_pairs=112)) == as_set(pairs)
    assert pairs.source.equal(pairs.source.sort().values)


def test_identity_split_pairs_only_test_faces():
    """Under the identity split, looking for targets everywhere finds test faces only."""
    faces = make_faces(people=6, unclassed=6)
    split = split_faces(faces, DataConfig(image_size=64, split="identity", test_fraction=0.34))
    pairs = protocol.evaluation_pairs(faces, split, EvalConfig())
    assert len(pairs) == 2 * 8 * 7
    assert torch.isin(torch.cat((pairs.source, pairs.target)), split.test).all()


def test_no_pair_is_a_user_error():
    """Faces without partners cannot be evaluated: said in one line."""
    faces = toy_faces().subset(torch.tensor([0, 2]))
    split = Split(train=torch.tensor([0]), test=torch.tensor([1]), hash="")
    with pytest.raises(UserError, match="nothing can be evaluated"):
        protocol.evaluation_pairs(faces, split, EvalConfig())


def test_training_pairs_leak_nothing():
    """One edit per classed training face, towards another class, all of them training faces; seeded."""
    faces = make_faces(people=6, unclassed=6)
    split = split_faces(faces, DataConfig(image_size=64, split="identity", test_fraction=0.34))
    pairs = protocol.training_pairs(faces, split.train, seed=1)
    assert pairs.source.tolist() == protocol.evaluated_rows(faces, split.train).tolist()
    assert torch.isin(pairs.target, split.train).all()
    assert (faces.expression[pairs.source] != faces.expression[pairs.target]).all()
    assert pairs.target.equal(protocol.training_pairs(faces, split.train, seed=1).target)
    assert not pairs.target.equal(protocol.training_pairs(faces, split.train, seed=2).target)


def test_labels_follow_the_evaluated_order():
    """Label k is the k-th evaluated class; a face of another class is refused."""
    faces = toy_faces()
    assert protocol.class_labels(faces, torch.arange(5)).tolist() == [0, 1, 0, 0, 1]
    with pytest.raises(ValueError, match="no evaluated expression"):
        protocol.class_labels(faces, torch.tensor([5]))


def test_target_aus():
    """Of the real target, the training mean of its class, or the prototype."""
    faces = make_faces(people=3)
    pairs = protocol.Pairs(source=torch.tensor([0, 0]), target=torch.tensor([1, 5]))
    assert protocol.target_aus(faces, pairs).equal(faces.aus[[1, 5]])
    train = torch.arange(8, 24)
    mean = protocol.target_aus(faces, pairs, "class_mean", train=train)
    torch.testing.assert_close(mean, (faces.aus[[9, 13]] + faces.aus[[17, 21]]) / 2)
    prototype = protocol.target_aus(faces, pairs, "prototype")
    assert prototype[1].tolist() == prototype_aus("happy").tolist()
    with pytest.raises(ValueError, match="class_mean"):
        protocol.target_aus(faces, pairs, "class_mean")


def test_edit_pairs_hands_over_what_a_method_needs():
    """The method gets images in [-1, 1], both AUs and the class, batch by batch; its image comes back as uint8."""
    faces = make_faces()
    pairs = protocol.test_pairs(faces, torch.arange(len(faces)), max_pairs=10)
    aus = protocol.target_aus(faces, pairs)
    calls = []

    def edit(images, source_aus, target_aus, target_expression):
        calls.append((to_uint8(images), source_aus, target_aus, target_expression))
        attention = torch.full((len(images), 1, 64, 64), 0.25)
        return Edit(image=-images, global_edit=BranchOutput(images, images, attention))

    edited = protocol.edit_pairs(edit, faces, pairs, aus, batch_size=4)
    given = [torch.cat(x) for x in zip(*calls, strict=True)]
    assert [len(c[0]) for c in calls] == [4, 4, 2]
    assert given[0].equal(faces.images[pairs.source]) and given[1].equal(faces.aus[pairs.source])
    assert given[2].equal(aus) and given[3].equal(faces.expression[pairs.target])
    assert edited.images.equal(255 - faces.images[pairs.source])
    assert edited.mean_attention == {"global": pytest.approx(0.25)}


def test_a_set_without_test_pairs_is_told_before_training():
    """Where nobody shows two expressions; other sets than the tables' need none."""
    faces = make_faces(people=8)
    parts = split_faces(faces, DataConfig(dataset="synthetic_rafd", split="identity"))
    protocol.require_test_pairs(replace(faces, name="rafd"), parts, "smoke")
    strangers = replace(faces, name="rafd", identity=torch.arange(len(faces)))
    with pytest.raises(UserError, match="nothing can be evaluated"):
        protocol.require_test_pairs(strangers, parts, "smoke")
    protocol.require_test_pairs(replace(strangers, name="affectnet"), parts, "smoke")
