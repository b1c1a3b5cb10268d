"""Files are whole or absent, hashes and seeds are what they say, and every run leaves a manifest."""

import hashlib
import json
import random

import numpy as np
import pytest
import torch

from efgan import provenance
from efgan.config import DataConfig
from efgan.provenance import (
    COMMAND,
    Manifest,
    code_hash,
    environment,
    package_files,
    seed_everything,
    sha256_of,
    write_atomic,
)


def test_a_file_appears_whole_under_its_name(tmp_path):
    """The text is there, in UTF-8, and nothing else is left in the folder."""
    with write_atomic(tmp_path / "new" / "a.txt") as file:
        file.write("λ = 1\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "λ = 1\n".encode()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_half_written(tmp_path):
    """Who reads later sees the last whole version."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), write_atomic(path, "wb") as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_the_file_before_it_is_whole(tmp_path):
    """While it is being written, the name does not exist."""
    with write_atomic(tmp_path / "a.txt") as file:
        file.write("x")
        file.flush()
        assert not (tmp_path / "a.txt").exists()


def test_appending_is_refused(tmp_path):
    """Only whole files are written this way."""
    with pytest.raises(ValueError, match="whole files"), write_atomic(tmp_path / "a.txt", "a"):
        pass


@pytest.mark.parametrize("pattern", [*provenance.RENDERER, *provenance.JUDGES])
def test_code_that_results_depend_on_is_there(pattern):
    """A file that was renamed would silently drop out of the hash."""
    assert all(path.is_file() for path in package_files([pattern])) and package_files([pattern])


def test_code_hash_tells_contents_apart_and_counts_a_file_once(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    for name, text in (("a.py", "1"), ("b.py", "2")):
        (tmp_path / name).write_text(text)
    before = code_hash(["a.py", "b.py"])
    assert before == code_hash(["b.py", "*.py"]) == hashlib.sha256(b"12").hexdigest()
    (tmp_path / "b.py").write_text("3")
    assert before != code_hash(["a.py", "b.py"]) and code_hash(["a.py"]) == hashlib.sha256(b"1").hexdigest()


def test_sha256_agrees_with_hashlib(tmp_path):
    """The oracle is the hash of the bytes in memory."""
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_the_same_seed_gives_the_same_numbers():
    """Python, NumPy and torch alike."""

    def draw():
        return random.random(), float(np.random.rand()), torch.rand(3).tolist()  # noqa: NPY002  # the global state is meant

    seed_everything(7)
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert draw() != first


def test_a_manifest_is_there_before_and_after_a_run(tmp_path, monkeypatch):
    """It says "running" first, "finished" at the end, and holds config, hashes, environment and notes."""
    monkeypatch.setenv(COMMAND, "efgan train baseline")
    start, end = tmp_path / "start.bin", tmp_path / "run" / "weights.bin"
    start.write_bytes(b"start")
    manifest = Manifest.start(
        tmp_path / "run", config=DataConfig(image_size=64), data_hash="d", split_hash="s", device="cpu",
        inputs=[start], notes={"precision": "fp32"},
    )  # fmt: skip
    before = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert before["status"] == "running"
    assert before["command"] == "efgan train baseline"
    assert before["config"]["image_size"] == 64
    assert before["inputs"] == {"../start.bin": hashlib.sha256(b"start").hexdigest()}
    assert before["environment"]["packages"]["torch"] == torch.__version__

    end.write_bytes(b"end")
    manifest.finish(outputs=[end], notes={"iterations": 3})
    after = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert after["status"] == "finished"
    assert after["outputs"] == {"weights.bin": hashlib.sha256(b"end").hexdigest()}
    assert after["notes"] == {"precision": "fp32", "iterations": 3}
    assert after["seconds"] >= 0
    assert {name: after[name] for name in ("started", "data_hash", "split_hash", "device")} == {
        name: before[name] for name in ("started", "data_hash", "split_hash", "device")
    }


def test_a_failed_run_says_why(tmp_path):
    """The manifest keeps the error and the status "failed"."""
    Manifest.start(tmp_path).fail(ValueError("a loss is not finite"))
    record = json.loads((tmp_path / "manifest.json").read_text())
    assert (record["status"], record["error"]) == ("failed", "ValueError: a loss is not finite")


def test_the_environment_names_what_matters():
    """Python, platform, cores and threads."""
    record = environment()
    assert record["torch_threads"] == torch.get_num_threads()
    assert {"python", "platform", "cores", "packages", "gpu"} <= record.keys()
