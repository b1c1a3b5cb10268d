"""The paper's claims, each answered with numbers: paired over test edits, with 95 % intervals over test people.

Which numbers decide a claim is our decision; the paper states them in words (abstract, 3.1, 3.2, 4.3-4.5).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from efgan.data.action_units import MAX_INTENSITY
from efgan.data.faces import FaceSet, to_float, to_uint8
from efgan.editing.attention import attention_mass
from efgan.editing.editor import Editor
from efgan.errors import UserError
from efgan.evaluation.features import compute_features
from efgan.evaluation.image_quality import compute_psnr
from efgan.evaluation.protocol import Pairs, evaluated_rows, evaluation_pairs, target_aus, thin
from efgan.exhibits.paired_differences import Claim, Comparison, compare
from efgan.exhibits.runs import Runs
from efgan.models.branch import Edit
from efgan.models.interpolator import StraightLine
from efgan.provenance import write_atomic
from efgan.training.run import load_run

LEAST_CLASSIFIERS = 3  # fewer decide nothing; our decision
LEAST_CHANGE = 0.05  # of the whole edit: faces of a stage that changed less tell nothing of its AUs; our decision
QUARTERS = ("smallest", "second", "third", "largest")


@dataclass(frozen=True, kw_only=True)
class TestEdits:
    """The P test pairs in RaFD's role, which every claim edits, and the AUs that each asks for, P×17."""

    __test__ = False  # pytest must not take it for a test

    faces: FaceSet
    pairs: Pairs
    aus: Tensor

    @property
    def people(self) -> Tensor:
        """int64 P, whose face each pair edits."""
        return self.faces.identity[self.pairs.source]

    @property
    def targets(self) -> Tensor:
        """The real faces with the wanted expressions, uint8 P×3×S×S."""
        return self.faces.images[self.pairs.target]

    @property
    def gap(self) -> Tensor:
        """How far the AUs that are asked for lie from the source's, P."""
        return (self.aus - self.faces.aus[self.pairs.source]).norm(dim=1)

    def edit(self, editor: Editor) -> Edit:
        """All pairs, edited."""
        source, target = self.pairs.source, self.pairs.target
        return editor.edit_batch(self.faces.images[source], self.faces.aus[source], self.aus,
                                 self.faces.expression[target])  # fmt: skip

    def subset(self, index: Tensor) -> "TestEdits":
        """The pairs at `index`."""
        return TestEdits(faces=self.faces, pairs=self.pairs.subset(index), aus=self.aus[index])

    def compare(self, what: str, gain: Tensor, *, decides: bool = True) -> Comparison:
        """A paired difference, per edit P."""
        return compare(what, gain, self.people, decides=decides)


def load_test_edits(runs: Runs, *, limit: int | None = None) -> TestEdits:
    """The evaluation's pairs of the set in RaFD's role, which ask for what the evaluation asks for.

    Args:
        runs: where the runs are.
        limit: at most so many, evenly over the expressions; None = all that the evaluation edits.
    """
    faces, split = runs.test_faces("rafd")
    config = runs.run("rafd", "cascade_ef_gan").config.evaluation
    pairs = evaluation_pairs(faces, split, config)
    aus = target_aus(faces, pairs, config.targets, train=split.train)
    return TestEdits(faces=faces, pairs=pairs, aus=aus).subset(thin(faces, pairs, limit))


def claim_local_focuses(runs: Runs, edits: TestEdits, seeds: int = 1) -> Claim:
    """Local focuses keep the regions around eyes, nose and mouth better, and look there.

    PSNR inside each focus box, EF-GAN against the Baseline, over the runs of so many seeds.

    Source: paper 3.1 and 4.4.
    """
    boxes = runs.run("rafd", "local_focus").editor.focus_boxes

    def psnr_inside(editor: Editor) -> Tensor:
        images = to_uint8(edits.edit(editor).image)
        return torch.stack([compute_psnr(images, edits.targets, box=box) for box in boxes.values()])

    gains = _gain(runs, "local_focus", "baseline", psnr_inside, seeds)
    return Claim(
        says="Local focuses on eyes, nose and mouth reduce artefacts there: EF-GAN against the Baseline.",
        measured_on=_measured_on(runs, "baseline", "local_focus", seeds=seeds),
        comparisons=tuple(
            edits.compare(f"PSNR inside the box of the {region}, dB", gain)
            for region, gain in zip(boxes, gains, strict=True)
        ),
    )


def claim_attention(runs: Runs, edits: TestEdits, seeds: int = 1) -> Claim:
    """With local focuses attention lies on eyes, nose and mouth, and not elsewhere.

    The share of each edit's attention inside the boxes, EF-GAN against the Baseline, over the runs of so many seeds.
    Of EF-GAN's branches the largest attention at each pixel counts; the local ones see nothing outside the boxes, so
    only the global one can lose.

    Source: paper 3.1, Figure 3.
    """
    boxes = runs.run("rafd", "local_focus").editor.focus_boxes

    def share_inside(editor: Editor) -> Tensor:
        largest = torch.stack([*edits.edit(editor).strongest_attention.values()]).amax(0)
        return torch.tensor([100 * (1 - attention_mass(attention, boxes)["elsewhere"]) for attention in largest])

    gain = _gain(runs, "local_focus", "baseline", share_inside, seeds)
    return Claim(says="With local focuses attention lies on eyes, nose and mouth: EF-GAN against the Baseline.",
                 measured_on=_measured_on(runs, "baseline", "local_focus", seeds=seeds),
                 comparisons=(edits.compare("share of the attention inside the boxes, points", gain),))  # fmt: skip


def claim_cascade(runs: Runs, edits: TestEdits, seeds: int = 1) -> Claim:
    """The cascade helps where the expression changes most.

    PSNR of Cascade EF-GAN against EF-GAN, over the runs of so many seeds, by quarter of the distance between source
    and target AUs, and how much more it gains in the largest quarter than in the smallest, person by person. The
    largest quarter and this slope decide.

    Source: paper 3.2 and 4.4.
    """

    def psnr(editor: Editor) -> Tensor:
        return compute_psnr(to_uint8(edits.edit(editor).image), edits.targets)

    gain = _gain(runs, "cascade_ef_gan", "local_focus", psnr, seeds)
    order = edits.gap.argsort()
    quarters = order.tensor_split(4)
    by_person = []
    for person in edits.people.unique():
        small, large = (gain[rows[edits.people[rows] == person]] for rows in (quarters[0], quarters[-1]))
        if len(small) and len(large):
            by_person.append(large.mean() - small.mean())
    steeper = torch.stack(by_person) if by_person else torch.zeros(0)
    return Claim(
        says="The cascade reduces overlap artefacts of large expression gaps: Cascade EF-GAN against EF-GAN.",
        measured_on=_measured_on(runs, "local_focus", "cascade_ef_gan", seeds=seeds),
        comparisons=(
            *(
                compare(f"PSNR, {quarter} quarter of AU distances, dB", gain[rows], edits.people[rows],
                         decides=quarter == QUARTERS[-1])
                for quarter, rows in zip(QUARTERS, quarters, strict=True)
            ),
            compare("gain of the largest less the smallest quarter, dB", steeper, torch.arange(len(steeper))),
        ),
    )  # fmt: skip


def linear_twin(editor: Editor) -> Editor:
    """The same cascade along the straight line in AU space, at the pace of its Interpolator."""
    assert editor.interpolator is not None
    run = load_run(editor.folder, editor.device)
    run.generator.interpolator = StraightLine(editor.interpolator)
    return Editor(run, editor.folder, editor.device)


def claim_interpolator(runs: Runs, edits: TestEdits, seeds: int = 1) -> Claim:
    """The Interpolator's intermediate AUs are more natural than linear ones, and so are the faces made with them.

    Both have come equally far at each stage: nearer to an end is nearer to a real face, by whatever path. Distance to
    the nearest AUs of a real training face, and of each intermediate face to the nearest real test face in the
    features of the Fréchet distance; but not to the faces of the same person in the same light, among which is the
    source: a face that no stage had edited would be the nearest of all. Faces that are nearly unchanged do not
    decide. Averaged over the runs of so many seeds.

    Source: paper 3.2 and 4.5.
    """
    extractor = runs.run("rafd", "cascade_ef_gan").config.evaluation.extractor
    faces, split = runs.test_faces("rafd")
    natural = faces.aus[evaluated_rows(faces, split.train)]
    gallery = evaluated_rows(faces, split.test)
    real = compute_features(faces.images[gallery], extractor, description="real faces")
    own = torch.stack([values[edits.pairs.source, None] == values[gallery]
                       for values in (faces.identity, faces.variant)]).all(0)  # fmt: skip

    def away(edit: Edit) -> Tensor:
        """How far the AUs and the faces of each stage but the last are from real ones, (K-1)×2×P."""
        assert edit.stage_aus is not None
        distances = []
        for k, stage in enumerate(edit.stages[:-1]):
            features = compute_features(to_uint8(stage.image), extractor, description=f"faces of stage {k + 1}")
            to_faces = torch.cdist(features, real).masked_fill(own, torch.inf).amin(1)
            to_aus = MAX_INTENSITY * torch.cdist(edit.stage_aus[:, k], natural).amin(1)
            distances.append(torch.stack([to_aus, to_faces]))
        return torch.stack(distances)

    def change(edit: Edit) -> Tensor:
        """How much of the whole change of pixels is there after each stage but the last, K-1."""
        start = to_float(edits.faces.images[edits.pairs.source])
        parts = torch.stack([(stage.image - start).abs().mean() for stage in edit.stages])
        return parts[:-1] / parts[-1].clamp(min=1e-6)

    def measure(editor: Editor) -> tuple[Tensor, Tensor]:
        edit = edits.edit(editor)  # gigabytes, which end with this call
        return away(edit), change(edit)

    editors = [runs.run("rafd", "cascade_ef_gan", seed).editor for seed in _trainings(runs, seeds)]
    measured = [measure(editor) for editor in editors]
    ours, changed = (torch.stack(values).mean(0) for values in zip(*measured, strict=True))
    line = torch.stack([away(edits.edit(linear_twin(editor))) for editor in editors]).mean(0)
    comparisons = tuple(
        edits.compare(
            f"{what} of stage {k}, nearer to real ones by (line: {line[k - 1, i].mean():.3g} away), {unit}",
            line[k - 1, i] - ours[k - 1, i],
            decides=i == 0 or bool(changed[k - 1] >= LEAST_CHANGE),
        )
        for k in range(1, len(ours) + 1)
        for i, (what, unit) in enumerate((("AUs", "0-5"), ("faces", extractor)))
    )
    return Claim(says="The Interpolator's intermediate expressions are more natural than linear ones.",
                 measured_on=_measured_on(runs, "cascade_ef_gan", seeds=seeds), comparisons=comparisons)  # fmt: skip


def claim_generated_images(runs: Runs, seeds: int = 1) -> Claim:
    """Edits help to train a classifier: R+G against R on the same real test faces, over classifiers and runs' seeds.

    Source: paper 4.3, Table 1.
    """
    gains, classifiers = [], 0
    for seed in _trainings(runs, seeds):
        edits, real = (runs.run("rafd", name, seed).metrics for name in ("cascade_ef_gan", "controls"))
        if "accuracy_RG_per_face" not in edits or "accuracy_R_per_face" not in real:
            raise UserError("these runs were evaluated by an older version: run `efgan evaluate` on controls and "
                            "cascade_ef_gan again")  # fmt: skip
        gains.append(100 * (torch.tensor(edits["accuracy_RG_per_face"]) - torch.tensor(real["accuracy_R_per_face"])))
        classifiers += len(real["accuracy_R_per_seed"])
    gain = torch.stack(gains).mean(0)
    faces, split = runs.test_faces("rafd")
    people = faces.identity[evaluated_rows(faces, split.test)]
    comparison = compare(f"accuracy R+G - R on real test faces, {classifiers} classifiers each, points", gain, people)
    if classifiers < LEAST_CLASSIFIERS:  # two trainings differ by chance, whoever is tested
        comparison = replace(comparison, interval=None)
    return Claim(says="Images by Cascade EF-GAN improve the training of an expression classifier.",
                 measured_on=_measured_on(runs, "cascade_ef_gan", seeds=seeds),
                 comparisons=(comparison,))  # fmt: skip


def _trainings(runs: Runs, seeds: int) -> Sequence[int]:
    """The seeds that are averaged: the first so many, or of one training that of `runs`."""
    return range(seeds) if seeds > 1 else [runs.seed]


def _gain(runs: Runs, ours: str, theirs: str, measure: Callable[[Editor], Tensor], seeds: int) -> Tensor:
    """What `measure` finds more of one experiment than of another, averaged over trainings with so many seeds."""
    return torch.stack([
        measure(runs.run("rafd", ours, seed).editor) - measure(runs.run("rafd", theirs, seed).editor)
        for seed in _trainings(runs, seeds)
    ]).mean(0)  # fmt: skip


def _measured_on(runs: Runs, *experiments: str, seeds: int = 1) -> str:
    """The runs in words."""
    return runs.describe(*(("rafd", name) for name in experiments), seeds=range(seeds) if seeds > 1 else None)


def save_claims(answers: Mapping[str, Claim], runs: Runs) -> pd.DataFrame:
    """Writes results/<family>/<preset>/claims.csv, one row per comparison, and returns it."""
    table = pd.concat([
        claim.table().assign(claim=name, verdict=claim.verdict, measured_on=claim.measured_on)
        for name, claim in answers.items()
    ])  # fmt: skip
    with write_atomic(runs.results_folder / "claims.csv") as file:
        table.to_csv(file, index=False, float_format="%.6g")
    return table
