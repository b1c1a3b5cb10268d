"""Claims are answered by paired differences with intervals over people, and never more surely than measured."""

from pathlib import Path

import pytest
import torch
from conftest import make_faces
from fake_results import trained_run, write_run

from efgan.data.faces import to_float
from efgan.evaluation.protocol import evaluated_rows
from efgan.exhibits import claims
from efgan.exhibits import runs as runs_module
from efgan.exhibits.claims import Claim, Comparison
from efgan.exhibits.runs import Runs
from efgan.models.branch import Edit
from efgan.models.local_focus import Box


def comparison(difference: float, low: float, high: float) -> Comparison:
    return Comparison(what="x", difference=difference, interval=(low, high), count=9)


@pytest.mark.parametrize(("found", "verdict"), [
    ([(1, 0.5, 2), (2, 1, 3)], "holds"), ([(-1, -2, -0.5), (0.1, -1, 1)], "does not hold"),
    ([(0.1, -1, 1)], "not decided"), ([(float("nan"),) * 3], "not decided"),
    ([(1, 0.5, 2), (-1, -2, -0.5)], "holds in part (1 of 2 comparisons)"),
])  # fmt: skip
def test_verdicts_follow_the_intervals(found, verdict):
    """An interval that holds zero decides nothing."""
    assert Claim(says="", measured_on="", comparisons=tuple(comparison(*one) for one in found)).verdict == verdict


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs whose networks edit at random, on faces of noise."""
    for experiment in ("baseline", "local_focus", "cascade_ef_gan"):
        trained_run(tmp_path, experiment)
    monkeypatch.setattr(runs_module, "load_faces", lambda config: make_faces(people=8))
    monkeypatch.setattr(claims, "compute_features", lambda images, *_, **__: to_float(images).mean((2, 3)))
    return Runs(tmp_path, "synthetic", "smoke")


def test_every_claim_is_measured_on_the_same_edits(runs: Runs):
    """Regions, quarters of AU distance, intermediate stages; a table and a figure each."""
    edits = claims.load_test_edits(runs, limit=16)
    assert len(edits.pairs) == 16
    focuses = claims.claim_local_focuses(runs, edits)
    assert [c.what.split()[-2] for c in focuses.comparisons] == ["eyes,", "nose,", "mouth,", "the"]
    cascade = claims.claim_cascade(runs, edits)
    assert sum(c.count for c in cascade.comparisons[:4]) == 16
    path = claims.claim_interpolator(runs, edits)
    assert len(path.comparisons) == 4
    for claim in (focuses, cascade, path):
        assert len(claim.table()) == len(claim.comparisons) and claim.verdict in claim._repr_html_()
        assert claims.claim_figure(claim).get_label() == f"{claim.says} {claim.measured_on}"
        assert "synthetic_rafd (embedded synthetic faces" in claim._repr_html_()


def test_edits_that_mend_the_classifier_are_seen(runs: Runs):
    """R+G against R, paired over the real test faces; the interval is over people."""
    faces, split = runs.test_faces("rafd")
    people = faces.identity[evaluated_rows(faces, split.test)]
    shift = {person: 0.1 * k for k, person in enumerate(people.unique().tolist(), 1)}
    right = torch.full((len(people),), 0.5)
    better = right + torch.tensor([shift[person] for person in people.tolist()])
    write_run(runs.root, "synthetic_rafd", "controls")
    runs.run("rafd", "controls").metrics["accuracy_R_per_face"] = right.tolist()
    runs.run("rafd", "cascade_ef_gan").metrics["accuracy_RG_per_face"] = better.tolist()
    claim = claims.claim_generated_images(runs)
    found = claim.comparisons[0]
    assert claim.verdict == "holds" and found.count == len(people)
    assert found.difference == pytest.approx(float((better - right).mean()))
    assert found.interval == pytest.approx((0.1, 0.1 * len(shift)), abs=1e-6)


def test_attention_in_overlapping_boxes_counts_once():
    """Half the maps' rows lie in two overlapping boxes; no attention at all is no share."""
    boxes = {"eyes": Box(0, 0, 4, 8), "mouth": Box(2, 0, 2, 8)}
    maps = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])
    assert claims.share_inside(maps, boxes).tolist() == [0.5, 0.0]


def test_a_gain_at_wide_gaps_alone_is_seen(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Cascade edits that are perfect in the widest quarter and EF-GAN's elsewhere gain there and nowhere else."""
    edits = claims.load_test_edits(runs, limit=64)
    single = edits.edit(runs.run("rafd", "local_focus").editor).image
    gap = (edits.faces.aus[edits.pairs.target] - edits.faces.aus[edits.pairs.source]).norm(dim=1)
    widest = gap.argsort().tensor_split(4)[-1]
    better = single.clone()
    better[widest] = (better[widest] + to_float(edits.targets[widest])) / 2
    images = iter((single, better))
    monkeypatch.setattr(claims.TestEdits, "edit", lambda self, editor: Edit(image=next(images)))
    claim = claims.claim_cascade(runs, edits)
    assert [c.verdict for c in claim.comparisons[:4]] == ["not decided"] * 3 + ["yes"]
    steeper = claim.comparisons[4]  # over two test people: too few to decide
    assert steeper.difference > 0 and steeper.count == 2 and steeper.verdict == "not decided"


def test_the_linear_twin_takes_the_straight_line(runs: Runs):
    """Same stages, intermediate AUs by linear interpolation."""
    editor = runs.run("rafd", "cascade_ef_gan").editor
    twin = claims.linear_twin(editor)
    edits = claims.load_test_edits(runs, limit=4)
    source, target = (edits.faces.aus[i] for i in (edits.pairs.source, edits.pairs.target))
    straight = edits.edit(twin).stage_aus
    n = twin.num_stages
    for k in range(n):
        torch.testing.assert_close(straight[:, k], torch.lerp(source, target, (k + 1) / n))
    assert not torch.allclose(edits.edit(editor).stage_aus, straight)


def test_the_widest_changes_are_shown_one_per_person(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Input, the methods, the target; the first row has the widest change of AUs of all pairs."""
    seen: dict = {}
    monkeypatch.setattr(claims, "image_grid", lambda rows, **layout: seen.update(layout, rows=rows))
    edits = claims.load_test_edits(runs)
    claims.pairs_figure(runs, edits, ["local_focus", "cascade_ef_gan"], rows=2)
    assert seen["column_labels"] == ["input", "Baseline +\nLocal Focuses", "Cascade EF-GAN", "target"]
    gap = (edits.faces.aus[edits.pairs.target] - edits.faces.aus[edits.pairs.source]).norm(dim=1)
    widest = edits.pairs.subset(gap.argmax()[None])
    assert torch.equal(seen["rows"][0][0], to_float(edits.faces.images[widest.source])[0])
    assert torch.equal(seen["rows"][0][-1], to_float(edits.faces.images[widest.target])[0])
    assert len(seen["rows"]) == 2
