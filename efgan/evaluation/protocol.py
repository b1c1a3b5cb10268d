"""Which (source, target) pairs are edited, with which Action Units, and the edited set.

Source: spec 4; the paper states no pair list, so the rules below are our decision.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efgan.config import EvalConfig, find_preset
from efgan.data.action_units import prototype_aus
from efgan.data.faces import FaceSet, to_float, to_uint8
from efgan.data.splits import Split
from efgan.errors import UserError
from efgan.experiments import datasets_of, family_of
from efgan.models.branch import Edit
from efgan.progress import track

EditFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Edit]
"""(images B×3×S×S in [-1, 1], source AUs B×17, target AUs B×17, target expressions B) → Edit."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """P edits to make: positions in the face set of the source and of the real face that shows the target."""

    source: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.source)

    def subset(self, index: Tensor) -> "Pairs":
        """The pairs at `index`."""
        return Pairs(source=self.source[index], target=self.target[index])


@dataclass(frozen=True, kw_only=True)
class EditedPairs:
    """The edits of some pairs: uint8 images P×3×S×S and the mean attention of every branch."""

    images: Tensor
    mean_attention: dict[str, float]


def evaluated_rows(faces: FaceSet, index: Tensor) -> Tensor:
    """Those positions of `index` whose face has one of the evaluated expressions."""
    index = index.cpu()
    return index[torch.isin(faces.expression.cpu()[index], faces.evaluated_index)]


def class_labels(faces: FaceSet, index: Tensor) -> Tensor:
    """Labels 0…K-1 in the order of `faces.evaluated`, for positions of evaluated faces.

    Raises:
        ValueError: a face there has no evaluated expression.
    """
    match = faces.expression.cpu()[index][:, None] == faces.evaluated_index
    if not bool(match.any(1).all()):
        raise ValueError("class_labels: some faces have no evaluated expression; take evaluated_rows first")
    return match.int().argmax(1)


def test_pairs(
    faces: FaceSet,
    test: Tensor,
    *,
    targets: Tensor | None = None,
    max_pairs: int | None = None,
    seed: int = 0,
) -> Pairs:
    """Every test face of an evaluated class with every other class that the same person shows in the same
    variant.

    Args:
        faces: the whole set.
        test: positions of the test faces: the sources.
        targets: positions where real target faces are looked for; the test faces by default.
        max_pairs: limit; see `thin`.
        seed: of the thinning.

    Returns:
        pairs in the order of the sources, then of `faces.evaluated`. Where a person has several faces of a
        class in one variant, the first is taken.
    """
    sources = evaluated_rows(faces, test)
    shown: dict[tuple[int, int, int], int] = {}
    candidates = sources if targets is None else evaluated_rows(faces, targets)
    identity, variant, expression = (x.tolist() for x in (faces.identity, faces.variant, faces.expression))
    for row in candidates.sort().values.tolist():
        shown.setdefault((identity[row], variant[row], expression[row]), row)
    found = [
        (row, shown[key])
        for row in sources.tolist()
        for wanted in faces.evaluated_index.tolist()
        if wanted != expression[row] and (key := (identity[row], variant[row], wanted)) in shown
    ]
    table = torch.tensor(found, dtype=torch.int64).reshape(-1, 2)
    pairs = Pairs(source=table[:, 0], target=table[:, 1])
    return pairs.subset(thin(faces, pairs, max_pairs, seed=seed))


test_pairs.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test where imported


def evaluation_pairs(faces: FaceSet, split: Split, config: EvalConfig) -> Pairs:
    """The pairs every method and every exhibit of a dataset uses.

    Real target faces are looked for among all faces, as the paper's image split leaves hardly any within its
    10 % (spec 4). Under an identity split that makes no difference: a test person has test faces only.

    Raises:
        UserError: there is no pair.
    """
    pairs = test_pairs(faces, split.test, targets=torch.arange(len(faces)), max_pairs=config.max_pairs)
    if len(pairs) == 0:
        raise UserError(
            f"{faces.name}: no test face has a real face of the same person and variant with another of the "
            f"expressions {', '.join(faces.evaluated)}: nothing can be evaluated; use more faces"
        )
    return pairs


def require_test_pairs(faces: FaceSet, split: Split, preset: str) -> None:
    """Nothing for a set that can be evaluated or stands in no table: a batch asks before hours of training.

    Raises:
        UserError: as `evaluation_pairs`.
    """
    if faces.name in datasets_of(family_of(faces.name)):
        evaluation_pairs(faces, split, find_preset(preset).evaluation)


def thin(faces: FaceSet, pairs: Pairs, limit: int | None, *, seed: int = 0) -> Tensor:
    """Positions of at most `limit` pairs: a seeded choice, even over (source expression, target expression).

    A smaller limit gives a subset of a larger one; the order of the pairs is kept.
    """
    if limit is None or len(pairs) <= limit:
        return torch.arange(len(pairs))
    expression = faces.expression.cpu()
    cells = list(zip(expression[pairs.source].tolist(), expression[pairs.target].tolist(), strict=True))
    taken: dict[tuple[int, int], int] = defaultdict(int)
    ranked = []  # (how many of its cell come before it, random position, pair)
    for position, row in enumerate(np.random.default_rng(seed).permutation(len(pairs)).tolist()):
        ranked.append((taken[cells[row]], position, row))
        taken[cells[row]] += 1
    return torch.tensor(sorted(row for _, _, row in sorted(ranked)[:limit]))


def training_pairs(faces: FaceSet, train: Tensor, *, seed: int = 0) -> Pairs:
    """One edit per evaluated training face, for R+G: a random other class, shown by a random training face of
    it.

    Only training faces take part, so that nothing of the test set leaks into the R+G classifier.
    """
    sources = evaluated_rows(faces, train)
    labels = class_labels(faces, sources)
    rng = np.random.default_rng(seed)
    present = labels.unique().tolist()
    rows_of = {label: sources[labels == label].numpy() for label in present}
    targets = []
    for label in labels.tolist():
        others = [other for other in present if other != label]
        targets.append(int(rng.choice(rows_of[int(rng.choice(others))])))
    return Pairs(source=sources, target=torch.tensor(targets, dtype=torch.int64))


def target_aus(faces: FaceSet, pairs: Pairs, how: str = "same_identity", *, train: Tensor | None = None) -> Tensor:
    """The AUs each edit asks for, P×17 in [0, 1].

    Args:
        how: "same_identity": those of the pair's real target face (of R+G's pairs, a training face of anybody);
            "class_mean": the mean over the training faces of the target expression; "prototype": the FACS prototype.
            The paper is silent; our decision.
        train: positions of the training faces, for "class_mean".

    Raises:
        ValueError: "class_mean" without `train`, or an unknown `how`.
    """
    if how == "same_identity":
        return faces.aus[pairs.target]
    wanted = faces.expression[pairs.target]
    table = torch.zeros(len(faces.expression_names), faces.aus.shape[1], device=faces.aus.device)
    for expression in wanted.unique().tolist():
        if how == "prototype":
            row = torch.from_numpy(prototype_aus(faces.expression_names[expression]))
        elif how == "class_mean" and train is not None:
            row = faces.aus[train[faces.expression.cpu()[train] == expression]].mean(0)
        else:
            raise ValueError(f"target_aus: how = {how!r}; same_identity, class_mean (with train) or prototype")
        table[expression] = row
    return table[wanted]


@torch.no_grad()
def edit_pairs(
    edit: EditFunction,
    faces: FaceSet,
    pairs: Pairs,
    aus: Tensor,
    *,
    batch_size: int = 32,
    description: str = "editing",
) -> EditedPairs:
    """Edits the source of every pair towards `aus` (P×17) and its target expression.

    Returns:
        the edits as uint8 on the CPU, and the mean attention of every branch over all of them.
    """
    images = []
    totals: dict[str, float] = defaultdict(float)
    batches = list(torch.arange(len(pairs)).split(batch_size))
    for rows in track(batches, total=len(batches), description=description):
        source, target = pairs.source[rows], pairs.target[rows]
        result = edit(to_float(faces.images[source]), faces.aus[source], aus[rows], faces.expression[target])
        images.append(to_uint8(result.image).cpu())
        for branch, attention in result.attentions.items():
            totals[branch] += float(attention.float().mean()) * len(rows)
    shape = (0, *faces.images.shape[1:])
    return EditedPairs(
        images=torch.cat(images) if images else torch.empty(shape, dtype=torch.uint8),
        mean_attention={branch: total / len(pairs) for branch, total in totals.items()},
    )
