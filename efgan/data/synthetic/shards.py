"""Renders the embedded sets once per machine and keeps them in small cache files.

One file per (identity, variant) and per block of random-AU faces, so that a smaller request is a subset of a larger
one and an interrupted rendering goes on where it stopped.
"""

import errno
import hashlib
import os
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efgan.data.faces import FaceSet
from efgan.data.synthetic.identities import sample_identity
from efgan.data.synthetic.recipes import NO_EXPRESSION, RANDOM_BLOCK, RECIPES, expression_plan, random_plan
from efgan.data.synthetic.render import render_face
from efgan.data.synthetic.views import sample_view
from efgan.errors import UserError
from efgan.progress import track
from efgan.provenance import write_atomic

SIZE = 128  # pixels; smaller presets shrink by area average
IN_PROCESS = 48  # so few missing faces are rendered without starting worker processes
_FIELDS = ("images", "aus", "landmarks", "expression", "variant")
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


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


def cache_folder() -> Path:
    """`EFGAN_CACHE`, or efgan's folder in the user's cache directory."""
    if folder := os.environ.get("EFGAN_CACHE"):
        return Path(folder)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "efgan"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "efgan"


@cache
def renderer_version() -> str:
    """Hash of everything a picture depends on: this folder's sources, the AU prototypes and the head's data."""
    here = Path(__file__).parent
    files = sorted(p for p in here.glob("*.py") if p.name not in ("__init__.py", "shards.py"))
    digest = hashlib.sha256()
    for path in (*files, here.parent / "action_units.py", here / "head.npz"):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


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


def _write(shard: Shard) -> int:
    """Renders a shard into its file; returns its number of faces."""
    arrays = render_shard(shard)
    path = shard.path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomic(path, "wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise UserError(
                f"cannot write rendered faces to {path.parent}: {error.strerror}; "
                "make room there or point EFGAN_CACHE to another folder"
            ) from error
        raise
    return len(shard)


def _write_all(shards: list[Shard]) -> int:
    return sum(_write(shard) for shard in shards)


def _read(shard: Shard) -> dict[str, Any] | None:
    """The shard's arrays; None when it is missing, or broken (which is said and mended)."""
    path = shard.path()
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in _FIELDS}
        if arrays["images"].shape != (len(shard), SIZE, SIZE, 3):
            raise ValueError("wrong shape")
    except FileNotFoundError:
        return None
    except _BROKEN:
        warnings.warn(f"cached faces {path} are damaged and are rendered again", stacklevel=3)
        return None
    return arrays


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keeps worker processes from importing the caller's script: they need nothing of it, and it may have no guard."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _render_missing(missing: list[Shard], jobs: int) -> None:
    people: dict[int, list[Shard]] = {}
    for shard in missing:
        people.setdefault(shard.identity, []).append(shard)
    total = sum(len(shard) for shard in missing)
    description = f"rendering {missing[0].dataset}"
    # The first person is drawn here: it fills numba's on-disk cache before the workers start.
    first, *rest = people.values()
    with_pool = jobs > 1 and total > IN_PROCESS and rest

    def counts() -> Iterator[int]:
        yield from map(_write, first)
        if not with_pool:
            for shards in rest:
                yield from map(_write, shards)
            return
        with ProcessPoolExecutor(min(jobs, len(rest)), mp_context=get_context("spawn")) as pool:
            try:
                with _no_main_module():
                    futures = [pool.submit(_write_all, shards) for shards in rest]
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def faces() -> Iterator[None]:
        for count in counts():
            yield from (None for _ in range(count))

    for _ in track(faces(), total=total, description=description):
        pass


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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    read = {shard: _read(shard) for shard in shards}
    if missing := [shard for shard, arrays in read.items() if arrays is None]:
        _render_missing(missing, jobs or _cores())
        read.update({shard: _read(shard) for shard in missing})
    recipe = RECIPES[dataset]
    kept, names, identity = [], [], []
    for shard in shards:
        arrays = read[shard]
        if arrays is None:
            raise UserError(
                f"rendered faces cannot be read back from {shard.path()}; check the disk or set EFGAN_CACHE"
            )
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
