"""Items pass through unchanged; the bar or the progress file says how far it is."""

import json

import pytest

from efgan.progress import PROGRESS_FILE, read_progress, track


@pytest.fixture
def progress_file(tmp_path, monkeypatch):
    path = tmp_path / "job.json"
    monkeypatch.setenv(PROGRESS_FILE, str(path))
    return path


def test_a_bar_passes_items_on(monkeypatch, capsys):
    """Without a progress file a bar goes to stderr."""
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    assert list(track([3, 1, 2], description="reading")) == [3, 1, 2]
    assert "reading" in capsys.readouterr().err


def test_a_progress_file_says_how_far_it_is(progress_file, capsys):
    """It is there before the first item and complete after the last; no bar is drawn."""
    states = [(item, read_progress(progress_file)["done"]) for item in track("ab", description="reading")]
    assert states == [("a", 0), ("b", 0)]  # at most one update a second
    record = json.loads(progress_file.read_text())
    assert record.pop("elapsed_s") >= 0
    assert record == {"description": "reading", "done": 2, "total": 2, "initial": 0}
    assert capsys.readouterr().err == ""


def test_a_resumed_loop_counts_what_was_done_before(progress_file):
    """`initial` items were done by the interrupted run."""
    assert list(track(range(7, 10), total=10, initial=7, description="training")) == [7, 8, 9]
    assert read_progress(progress_file)["done"] == 10
    assert read_progress(progress_file)["initial"] == 7


def test_an_unknown_length_is_no_problem(progress_file):
    """A generator has no total."""
    assert list(track((i for i in range(3)), description="reading")) == [0, 1, 2]
    assert read_progress(progress_file)["total"] is None


def test_a_full_disk_does_not_stop_the_work(tmp_path, monkeypatch):
    """Where the file cannot be written, items still pass."""
    (tmp_path / "taken").write_text("a file, no folder")
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "taken" / "job.json"))
    assert list(track([1, 2], description="reading")) == [1, 2]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"done": 1'])
def test_an_unreadable_progress_file_counts_as_none(tmp_path, text):
    """A reader may come while there is nothing whole to read."""
    (tmp_path / "job.json").write_text(text)
    assert read_progress(tmp_path / "job.json") is None
    assert read_progress(tmp_path / "absent.json") is None
