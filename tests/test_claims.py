"""Claims are answered by paired differences with intervals over people, and never more surely than measured."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import make_faces
from fake_results import trained_run, write_run

from efgan.data.action_units import MAX_INTENSITY, prototype_aus
from efgan.data.faces import to_float
from efgan.editing.editor import Editor
from efgan.errors import UserError
from efgan.evaluation.protocol import evaluated_rows
from efgan.exhibits import claim_figures, claims, paired_differences
from efgan.exhibits import runs as runs_module
from efgan.exhibits.paired_differences import Claim, Comparison
from efgan.exhibits.runs import Runs
from efgan.models.branch import Edit
from efgan.models.interpolator import Interpolator


def measured(difference: float, low: float, high: float) -> Comparison:
    return Comparison(what="x", difference=difference, interval=(low, high), count=9)


@pytest.mark.parametrize(("found", "verdict"), [
    ([(1, 0.5, 2), (2, 1, 3)], "holds"), ([(-1, -2, -0.5)], "does not hold"),
    ([(0.1, -1, 1)], "not decided"), ([(float("nan"),) * 3], "not decided"),
    ([(1, 0.5, 2), (-1, -2, -0.5)], "1 yes, 1 no"),
    ([(0.1, -1, 1), (-1, -2, -0.5), (0.1, -1, 1)], "1 no, 2 not decided"),
])  # fmt: skip
def test_verdicts_follow_the_intervals(found, verdict):
    """An interval that holds zero decides nothing; where comparisons differ, all are counted."""
    assert Claim(says="", measured_on="", comparisons=tuple(measured(*one) for one in found)).verdict == verdict


def test_what_is_measured_beside_a_claim_does_not_decide_it():
    """As the quarters of smaller AU distances."""
    beside = Comparison(what="x", difference=-1, interval=(-2, -0.5), count=9, decides=False)
    claim = Claim(says="", measured_on="", comparisons=(beside, measured(1, 0.5, 2)))
    assert claim.verdict == "holds" and claim.table()["decides"].tolist() == [False, True]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs whose networks edit at random, on faces of noise."""
    for experiment in ("baseline", "local_focus", "cascade_ef_gan"):
        trained_run(tmp_path, experiment)
    monkeypatch.setattr(runs_module, "load_faces", lambda config: make_faces(people=32))
    monkeypatch.setattr(claims, "compute_features", lambda images, *_, **__: to_float(images).mean((2, 3)))
    return Runs(tmp_path, "synthetic", "smoke")


def test_edits_ask_for_what_the_evaluation_asks_for(runs: Runs):
    """Here the prototypes of the target expressions; a pair's gap is its way there."""
    config = runs.run("rafd", "cascade_ef_gan").folder / "config.json"
    config.write_text(config.read_text().replace('"same_identity"', '"prototype"'))
    edits = claims.load_test_edits(runs, limit=16)
    names = [edits.faces.expression_names[e] for e in edits.faces.expression[edits.pairs.target].tolist()]
    wanted = torch.stack([torch.as_tensor(prototype_aus(name)) for name in names]).float()
    torch.testing.assert_close(edits.aus, wanted)
    asked = []
    editor = SimpleNamespace(edit_batch=lambda images, source, target, expression: asked.append((source, target)))
    edits.subset(torch.tensor([3])).edit(editor)
    ((source, target),) = asked
    torch.testing.assert_close(target, wanted[3:4])
    torch.testing.assert_close((target - source).norm(dim=1), edits.gap[3:4])


def test_every_claim_is_measured_on_the_same_edits(runs: Runs):
    """Regions, quarters of AU distance, intermediate stages; a table and a figure each."""
    edits = claims.load_test_edits(runs, limit=16)
    assert len(edits.pairs) == 16
    focuses = claims.claim_local_focuses(runs, edits)
    assert [c.what for c in focuses.comparisons] == [
        f"PSNR inside the box of the {region}, dB" for region in ("eyes", "nose", "mouth")
    ]
    attention = claims.claim_attention(runs, edits)
    cascade = claims.claim_cascade(runs, edits)
    assert sum(c.count for c in cascade.comparisons[:4]) == 16
    path = claims.claim_interpolator(runs, edits)
    assert len(path.comparisons) == 4
    for claim in (focuses, attention, cascade, path):
        assert len(claim.table()) == len(claim.comparisons) and claim.verdict in claim._repr_html_()
        assert claim_figures.claim_figure(claim).get_label() == f"{claim.says} {claim.measured_on}"
        assert "synthetic_rafd (embedded synthetic faces" in claim._repr_html_()


def write_hits(runs: Runs, right: torch.Tensor, better: torch.Tensor, classifiers: int, seed: int = 0) -> None:
    """What the evaluation leaves of R and R+G: how many of the classifiers are right about each real test face."""
    if not (runs.results_folder / f"synthetic_rafd/controls/seed{seed}").exists():
        write_run(Path(runs.root), "synthetic_rafd", "controls", seed)
    runs.run("rafd", "controls", seed).metrics.update(
        accuracy_R_per_face=right.tolist(), accuracy_R_per_seed=[float(right.mean())] * classifiers
    )
    runs.run("rafd", "cascade_ef_gan", seed).metrics["accuracy_RG_per_face"] = better.tolist()


def test_edits_that_mend_the_classifier_are_seen(runs: Runs):
    """R+G against R, paired over the real test faces; with fewer than three classifiers nothing is decided."""
    faces, split = runs.test_faces("rafd")
    people = faces.identity[evaluated_rows(faces, split.test)]
    gains = {person: 0.1 * k for k, person in enumerate(people.unique().tolist(), 1)}
    right = torch.rand(len(people), generator=torch.Generator().manual_seed(0))
    gain = torch.tensor([gains[person] for person in people.tolist()])
    write_hits(runs, right, right + gain, classifiers=3)
    found = claims.claim_generated_images(runs).comparisons[0]
    assert found.verdict == "yes" and found.count == len(people)
    assert found.difference == pytest.approx(100 * float(gain.mean()))  # points
    write_hits(runs, right, right + gain, classifiers=2)
    assert claims.claim_generated_images(runs).verdict == "not decided"


def test_the_gain_over_several_seeds_names_them(runs: Runs):
    """R+G is averaged over classifiers and seeds."""
    write_run(Path(runs.root), "synthetic_rafd", "cascade_ef_gan", seed=1)
    faces, split = runs.test_faces("rafd")
    right = torch.zeros(len(evaluated_rows(faces, split.test)))
    for seed, better in enumerate((right, right + 1)):
        write_hits(runs, right, better, classifiers=3, seed=seed)
    claim = claims.claim_generated_images(runs, seeds=2)
    assert claim.comparisons[0].difference == 50
    assert "6 classifiers" in claim.comparisons[0].what and "seeds 0, 1." in claim.measured_on
    runs_of_seed_1 = Runs(runs.root, "synthetic", "smoke", seed=1)
    write_hits(runs_of_seed_1, right, right + 1, classifiers=3, seed=1)
    claim = claims.claim_generated_images(runs_of_seed_1)
    assert claim.comparisons[0].difference == 100 and "seed 1." in claim.measured_on


def test_runs_evaluated_before_say_what_to_do(runs: Runs):
    """Their numbers lack the single test faces."""
    write_run(Path(runs.root), "synthetic_rafd", "controls")
    with pytest.raises(UserError, match="efgan evaluate"):
        claims.claim_generated_images(runs)


def test_few_people_decide_nothing(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """However sure each of their faces is."""
    monkeypatch.setattr(runs_module, "load_faces", lambda config: make_faces(people=8))
    edits = claims.load_test_edits(runs, limit=16)
    assert len(edits.people.unique()) == 2
    assert edits.compare("x", torch.ones(16)).verdict == "not decided"


def test_attention_outside_the_boxes_counts_against(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Of EF-GAN's branches the larger counts at each pixel: half inside the boxes, against none of the Baseline's."""
    edits = claims.load_test_edits(runs, limit=16)
    boxes = runs.run("rafd", "local_focus").editor.focus_boxes
    inside = torch.zeros(64, 64)
    for box in boxes.values():
        inside[box.slices] = 1
    outside = (1 - inside) * inside.sum() / (1 - inside).sum()  # as much in all
    maps = iter([{"global": outside, "local": inside}, {"global": outside}])
    monkeypatch.setattr(Edit, "strongest_attention", property(
        lambda self: {name: one.expand(16, 64, 64) for name, one in next(maps).items()}))  # fmt: skip
    found = claims.claim_attention(runs, edits).comparisons[0]
    assert found.difference == pytest.approx(50) and found.verdict == "yes"


def test_a_gain_at_wide_gaps_alone_is_seen(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Cascade edits that are perfect in the widest quarter and EF-GAN's elsewhere gain there and nowhere else."""
    monkeypatch.setattr(paired_differences, "LEAST_PEOPLE", 4)  # the smallest preset tests no more in a quarter
    edits = claims.load_test_edits(runs, limit=64)
    single = edits.edit(runs.run("rafd", "local_focus").editor).image
    gap = (edits.faces.aus[edits.pairs.target] - edits.faces.aus[edits.pairs.source]).norm(dim=1)
    widest = gap.argsort().tensor_split(4)[-1]
    better = single.clone()
    better[widest] = (better[widest] + to_float(edits.targets[widest])) / 2
    images = iter((better, single))
    monkeypatch.setattr(claims.TestEdits, "edit", lambda self, editor: Edit(image=next(images)))
    claim = claims.claim_cascade(runs, edits)
    assert [c.verdict for c in claim.comparisons[:4]] == ["not decided"] * 3 + ["yes"]
    steeper = claim.comparisons[4]  # two people have edits in both quarters: too few to decide
    assert steeper.difference > 0 and steeper.count == 2 and steeper.verdict == "not decided"


def test_gains_are_averaged_over_trainings(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of every seed's own pair of runs, and the claim names the seeds."""
    for experiment in ("local_focus", "cascade_ef_gan"):
        trained_run(tmp_path, experiment, seed=1)
    edits = claims.load_test_edits(runs, limit=16)
    better = {("local_focus", 0): 0.0, ("cascade_ef_gan", 0): 1.0, ("local_focus", 1): 2.0, ("cascade_ef_gan", 1): 6.0}
    monkeypatch.setattr(claims, "compute_psnr", lambda images, targets: images.flatten(1)[:, 0].double())
    monkeypatch.setattr(claims, "to_uint8", lambda images: images)
    monkeypatch.setattr(claims.TestEdits, "edit", lambda self, editor: Edit(image=torch.full(
        (16, 3, 4, 4), better[editor.config.experiment, editor.config.seed])))  # fmt: skip
    claim = claims.claim_cascade(runs, edits, seeds=2)
    assert all(c.difference == 2.5 for c in claim.comparisons[:4]) and "seeds 0, 1." in claim.measured_on


def test_a_face_that_no_stage_edits_is_not_the_nearest_to_itself(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Both ways end at the source; its distance is that to real faces of other people or other pictures."""
    edits = claims.load_test_edits(runs, limit=16)
    sources = to_float(edits.faces.images[edits.pairs.source])
    stages = [Edit(image=sources)] * 3
    aus = edits.faces.aus[edits.pairs.source, None].expand(-1, 3, -1)
    unedited = Edit(image=sources, stages=stages, stage_aus=aus)
    monkeypatch.setattr(claims.TestEdits, "edit", lambda self, editor: unedited)
    faces = [c for c in claims.claim_interpolator(runs, edits).comparisons if c.what.startswith("faces")]
    assert all(c.difference == 0 and "line: 0 away" not in c.what for c in faces)


def test_faces_of_a_stage_that_edits_next_to_nothing_do_not_decide(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Here stage 1 goes 1 % of the way of the pixels and stage 2 half of it; AUs always decide."""
    edits = claims.load_test_edits(runs, limit=16)
    source, target = (to_float(edits.faces.images[i]) for i in (edits.pairs.source, edits.pairs.target))
    stages = [Edit(image=torch.lerp(source, target, way)) for way in (0.01, 0.5, 1.0)]
    aus = edits.faces.aus[edits.pairs.source, None].expand(-1, 3, -1)
    edited = Edit(image=target, stages=stages, stage_aus=aus)
    monkeypatch.setattr(claims.TestEdits, "edit", lambda self, editor: edited)
    found = [(c.what.split(" ")[0], c.decides) for c in claims.claim_interpolator(runs, edits).comparisons]
    assert found == [("AUs", True), ("faces", False), ("AUs", True), ("faces", True)]


def test_the_interpolator_is_judged_over_trainings(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Intermediate AUs on a real face's are worth what the straight line lacks, in the mean over the seeds."""
    trained_run(tmp_path, "cascade_ef_gan", seed=1)
    edits = claims.load_test_edits(runs, limit=16)
    faces, split = runs.test_faces("rafd")
    real = faces.aus[evaluated_rows(faces, split.train)][0]
    stages = [Edit(image=to_float(edits.faces.images[edits.pairs.source]))] * 3

    def edit(self, editor: Editor | int) -> Edit:
        """The Interpolator's stages have a real face's AUs; the straight line's are off by as much as said."""
        off = editor if isinstance(editor, int) else 0
        return Edit(image=stages[-1].image, stages=stages, stage_aus=(real + off / 17**0.5).expand(16, 3, -1))

    monkeypatch.setattr(claims, "linear_twin", lambda editor: {0: 100, 1: 300}[editor.config.seed])
    monkeypatch.setattr(claims.TestEdits, "edit", edit)
    claim = claims.claim_interpolator(runs, edits, seeds=2)
    by_aus = [c.difference / MAX_INTENSITY for c in claim.comparisons if c.what.startswith("AUs")]
    assert by_aus == pytest.approx([200, 200], abs=5) and "seeds 0, 1." in claim.measured_on


def test_the_linear_twin_takes_the_straight_line(runs: Runs):
    """Same stages, at the Interpolator's pace: each point is the foot of the perpendicular from the Interpolator's."""
    editor = runs.run("rafd", "cascade_ef_gan").editor
    edits = claims.load_test_edits(runs, limit=4)
    source, target = (edits.faces.aus[i] for i in (edits.pairs.source, edits.pairs.target))
    way = (target - source)[:, None]
    ours, straight = (edits.edit(one).stage_aus for one in (editor, claims.linear_twin(editor)))
    progress = ((straight - source[:, None]) * way).sum(2, keepdim=True) / way.square().sum(2, keepdim=True)
    torch.testing.assert_close(straight, source[:, None] + progress * way)
    torch.testing.assert_close(((ours - straight) * way).sum(2), torch.zeros(4, ours.shape[1]))
    assert not torch.allclose(ours, straight)


def test_a_path_that_lingers_at_its_ends_gains_nothing(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """It is nearer to real faces than an even pace, for its ends are real; but not than the line at its own pace."""
    monkeypatch.setattr(Interpolator, "between", lambda self, start, end, alpha: torch.lerp(start, end, alpha**4))
    claim = claims.claim_interpolator(runs, claims.load_test_edits(runs, limit=16))
    assert [c.difference for c in claim.comparisons] == pytest.approx([0] * len(claim.comparisons), abs=1e-6)


def test_what_does_not_decide_has_an_open_dot():
    """And the axis says so."""
    beside = Comparison(what="x", difference=-1, interval=(-2, -0.5), count=9, decides=False)
    (axes,) = claim_figures.claim_figure(Claim(says="", measured_on="", comparisons=(beside, measured(1, 0.5, 2)))).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", dots[1].get_color()]
    assert "open dot" in axes.get_xlabel()


def test_the_widest_changes_are_shown_one_per_person(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Input, the methods, the target; the first row has the widest change of AUs of all pairs."""
    seen: dict = {}
    monkeypatch.setattr(claim_figures, "image_grid", lambda rows, **layout: seen.update(layout, rows=rows))
    edits = claims.load_test_edits(runs)
    claim_figures.pairs_figure(runs, edits, ["local_focus", "cascade_ef_gan"], rows=2)
    assert seen["column_labels"] == ["input", "Baseline +\nLocal Focuses", "Cascade EF-GAN", "target"]
    gap = (edits.faces.aus[edits.pairs.target] - edits.faces.aus[edits.pairs.source]).norm(dim=1)
    widest = edits.pairs.subset(gap.argmax()[None])
    assert torch.equal(seen["rows"][0][0], to_float(edits.faces.images[widest.source])[0])
    assert torch.equal(seen["rows"][0][-1], to_float(edits.faces.images[widest.target])[0])
    assert len(seen["rows"]) == 2
