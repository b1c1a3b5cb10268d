"""The rendered sets on disk: subsets, resuming, repair, the same faces on every CPU, clear refusals."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from efgan.data import cache as faces_cache
from efgan.data.synthetic import RECIPES, render_synthetic, shards
from efgan.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("EFGAN_CACHE", str(tmp_path))
    return tmp_path


def files(folder):
    """All cache files, sorted."""
    return sorted(folder.rglob("*.npz"))


def test_contents_follow_the_contract(cache):
    """One person: 8 expressions, then the random faces; AUs are the labels; names tell what is what."""
    faces = render_synthetic("synthetic_rafd", identities=1, variants=1, random_aus=3, jobs=1)
    assert faces.images.shape == (11, 3, 128, 128) and faces.images.dtype == torch.uint8
    assert faces.synthetic and faces.expression.tolist() == [*range(8), -1, -1, -1]
    assert faces.variant.tolist() == [0] * 8 + [0, 1, 2] and faces.identity.unique().tolist() == [0]
    assert faces.aus[0].sum() == 0 and torch.all(faces.aus[1:].sum(1) > 0)
    assert faces.names[5] == "synthetic_rafd_000_v0_happy" and faces.names[-1] == "synthetic_rafd_000_v2_random002"
    assert len(files(cache)) == 2


def test_smaller_requests_are_subsets(cache):
    """Fewer identities, variants or random faces select from the same faces, bit for bit."""
    large = render_synthetic("synthetic_rafd", identities=2, variants=2, random_aus=9, jobs=1)
    written = {path: path.stat().st_mtime_ns for path in files(cache)}
    small = render_synthetic("synthetic_rafd", identities=1, variants=1, random_aus=2, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in files(cache)} == written
    place = {name: k for k, name in enumerate(large.names)}
    index = torch.tensor([place[name] for name in small.names])
    assert large.subset(index).data_hash() == small.data_hash()


def test_second_call_renders_nothing(cache, monkeypatch):
    """Cached faces are only read."""
    first = render_synthetic("synthetic_cfeed", identities=1, jobs=1)
    monkeypatch.setattr(shards, "render_shard", lambda shard: pytest.fail("rendered again"))
    assert render_synthetic("synthetic_cfeed", identities=1, jobs=1).data_hash() == first.data_hash()
    assert len(first) == 22 == len(RECIPES["synthetic_cfeed"].expressions)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_damaged_file_is_rendered_again(cache, damage):
    """A broken cache file is named in a warning and mended; the faces are as before."""
    before = render_synthetic("synthetic_rafd", identities=1, variants=1, jobs=1)
    path = files(cache)[0]
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        np.savez(path, images=np.zeros((1, 2)))
    with pytest.warns(UserWarning, match="damaged"):
        after = render_synthetic("synthetic_rafd", identities=1, variants=1, jobs=1)
    assert after.data_hash() == before.data_hash()


@pytest.mark.slow
def test_worker_processes_give_the_same_faces(cache, monkeypatch):
    """Two workers and one process render identical faces."""
    alone = render_synthetic("synthetic_rafd", identities=3, variants=1, jobs=1)
    monkeypatch.setenv("EFGAN_CACHE", str(cache / "second"))
    monkeypatch.setattr(faces_cache, "IN_PROCESS", 0)
    assert render_synthetic("synthetic_rafd", identities=3, variants=1, jobs=2).data_hash() == alone.data_hash()


@pytest.mark.slow
def test_other_cpus_render_the_same_faces(cache):
    """Code compiled for the plainest CPU, NumPy and BLAS without their vector units: the hash stays, so runs can move
    between machines."""
    call = "render_synthetic('synthetic_cfeed', identities=2, jobs=1).data_hash()"
    vectors = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    plain = {
        "EFGAN_CACHE": str(cache / "plain"), "NUMBA_CACHE_DIR": str(cache / "compiled"), "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "", "NPY_DISABLE_CPU_FEATURES": " ".join(vectors), "OPENBLAS_CORETYPE": "Nehalem",
    }  # fmt: skip
    script = f"from efgan.data.synthetic import render_synthetic; print({call})"
    run = [sys.executable, "-c", script]
    there = subprocess.run(run, env=os.environ | plain, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    assert there == render_synthetic("synthetic_cfeed", identities=2, jobs=1).data_hash()


def test_sets_and_seeds_share_nobody(cache):
    """The two roles and other seeds show other people."""
    faces = [
        render_synthetic(name, identities=1, variants=1, seed=seed, jobs=1).images[0].float()
        for name, seed in (("synthetic_rafd", 0), ("synthetic_rafd", 1), ("synthetic_cfeed", 0))
    ]
    assert all((faces[a] - faces[b]).abs().mean() > 5 for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("rafd", {}, "synthetic_rafd, synthetic_cfeed"),
        ("synthetic_rafd", {"identities": 68}, "between 1 and 67"),
        ("synthetic_cfeed", {"variants": 2}, "between 1 and 1"),
        ("synthetic_rafd", {"random_aus": -1}, "0 or more"),
    ],
)
def test_impossible_requests_are_refused(cache, dataset, options, message):
    """The message says what is accepted."""
    with pytest.raises(UserError, match=message):
        render_synthetic(dataset, **options)


def test_unwritable_cache_is_explained(cache, monkeypatch):
    """No room or no right to write: one line with the remedy."""

    def refuse(path, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(faces_cache, "write_atomic", refuse)
    with pytest.raises(UserError, match="EFGAN_CACHE"):
        render_synthetic("synthetic_rafd", identities=1, variants=1, jobs=1)
    assert not files(cache)
