"""Renders the embedded sets once per machine and keeps them in small cache files.

One file per (identity, variant) and per block of random-AU faces, so that a smaller request is a subset of a larger
one and an interrupted rendering goes on where it stopped.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efgan.data.cache import cache_folder, load_shards
from efgan.data.faces import FaceSet
from efgan.data.synthetic.identities import sample_identity
from efgan.data.synthetic.recipes import NO_EXPRESSION, RANDOM_BLOCK, RECIPES, expression_plan, random_plan
from efgan.data.synthetic.render import render_face
from efgan.data.synthetic.views import sample_view
from efgan.errors import UserError
from efgan.provenance import RENDERER, code_hash

SIZE = 128  # pixels; smaller presets shrink by area average
_FIELDS = ("images", "aus", "landmarks", "expression", "variant")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One cache file: all expressions of one person's variant `number`, or block `number` of random-AU faces."""

    dataset: str
    seed: int
    identity: int
    random: bool
    number: int

    def path(self) -> Path:
        """Where the file lies."""
        folder = cache_folder() / "synthetic" / renderer_version() / self.dataset / f"seed{self.seed}"
        return folder / f"{self.identity:03d}_{'r' if self.random else 'v'}{self.number:02d}.npz"

    def __len__(self) -> int:
        return RANDOM_BLOCK if self.random else len(RECIPES[self.dataset].expressions)

    def make(self) -> dict[str, Any]:
        """Draws its faces."""
        return render_shard(self)

    def check(self, arrays: dict[str, Any]) -> None:
        """Raises ValueError or KeyError where arrays are not those of `render_shard`."""
        if {name: len(arrays[name]) for name in _FIELDS} != dict.fromkeys(_FIELDS, len(self)):
            raise ValueError("wrong length")
        if arrays["images"].shape[1:] != (SIZE, SIZE, 3):
            raise ValueError("wrong shape")


@cache
def renderer_version() -> str:
    """Hash of everything a picture depends on: this folder's sources, the AU prototypes and the head's data."""
    return code_hash(RENDERER)[:16]


def render_shard(shard: Shard) -> dict[str, Any]:
    """Draws the faces of one shard; the arrays are named as in `FaceSet`."""
    recipe, family = RECIPES[shard.dataset], RECIPES[shard.dataset].family + shard.seed
    if shard.random:
        start = shard.number * RANDOM_BLOCK
        combinations = random_plan(recipe, shard.seed, shard.identity, start + RANDOM_BLOCK)[start:]
        plan = [(NO_EXPRESSION, (start + k) % recipe.variants, aus) for k, aus in enumerate(combinations)]
    else:
        expressions = expression_plan(recipe, shard.seed, shard.identity, shard.number)
        plan = [(number, shard.number, aus) for number, aus in expressions]
    person = sample_identity(family, shard.identity)
    rendered = [
        render_face(person, aus, view=sample_view(family, shard.identity, variant), size=SIZE)
        for _, variant, aus in plan
    ]
    return {
        "images": np.stack([image for image, _ in rendered]),
        "aus": np.stack([aus.mean(0) for _, _, aus in plan]),
        "landmarks": np.stack([landmarks for _, landmarks in rendered]),
        "expression": np.array([number for number, _, _ in plan], np.int64),
        "variant": np.array([variant for _, variant, _ in plan], np.int64),
    }


def _wanted(dataset: str, identities: int | None, variants: int | None, random_aus: int, seed: int) -> list[Shard]:
    if dataset not in RECIPES:
        raise UserError(f"unknown synthetic dataset {dataset!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[dataset]
    people = recipe.people if identities is None else identities
    per_person = recipe.variants if variants is None else variants
    for name, value, most in (("identities", people, recipe.people), ("variants", per_person, recipe.variants)):
        if not 1 <= value <= most:
            raise UserError(f"{dataset}: {name} must be between 1 and {most}, not {value}")
    if random_aus < 0:
        raise UserError(f"{dataset}: random_aus must be 0 or more, not {random_aus}")
    shards = []
    for identity in range(people):
        shards += [
            Shard(dataset=dataset, seed=seed, identity=identity, random=False, number=v) for v in range(per_person)
        ]
        blocks = -(-random_aus // RANDOM_BLOCK)
        shards += [Shard(dataset=dataset, seed=seed, identity=identity, random=True, number=b) for b in range(blocks)]
    return shards


def render_synthetic(
    dataset: str,
    *,
    identities: int | None = None,
    variants: int | None = None,
    random_aus: int = 0,
    seed: int = 0,
    jobs: int | None = None,
) -> FaceSet:
    """An embedded set at 128 px, rendered on first use and cached (see `cache_folder`).

    Fewer identities, variants or random faces give a subset of the same faces.

    Args:
        dataset: "synthetic_rafd" or "synthetic_cfeed".
        identities: number of people; None = all of the recipe.
        variants: renders per person and expression; None = all of the recipe.
        random_aus: extra faces per person with random AU combinations (expression -1, for training only).
        seed: another seed gives other people.
        jobs: worker processes; None = one per core.

    Raises:
        UserError: an unknown dataset, a number outside the recipe, or a cache that cannot be written.
    """
    shards = _wanted(dataset, identities, variants, random_aus, seed)
    loaded = load_shards(shards, description=f"rendering {dataset}", jobs=jobs)
    recipe = RECIPES[dataset]
    kept, names, identity = [], [], []
    for shard, arrays in zip(shards, loaded, strict=True):
        count = min(len(shard), random_aus - shard.number * RANDOM_BLOCK) if shard.random else len(shard)
        kept.append({name: arrays[name][:count] for name in _FIELDS})
        identity += [shard.identity] * count
        for k in range(count):
            what = f"random{shard.number * RANDOM_BLOCK + k:03d}"
            if not shard.random:
                what = recipe.expressions[int(arrays["expression"][k])]
            names.append(f"{dataset}_{shard.identity:03d}_v{int(arrays['variant'][k])}_{what}")
    joined = {name: torch.from_numpy(np.concatenate([arrays[name] for arrays in kept])) for name in _FIELDS}
    return FaceSet(
        name=dataset,
        images=joined["images"].permute(0, 3, 1, 2).contiguous(),
        aus=joined["aus"],
        landmarks=joined["landmarks"],
        identity=torch.tensor(identity),
        expression=joined["expression"],
        variant=joined["variant"],
        expression_names=recipe.expressions,
        evaluated=recipe.evaluated,
        names=tuple(names),
        synthetic=True,
    )
