"""OpenFace CSVs of every vintage: by column name, largest face, confidence, and which CSV belongs to which photo."""

from pathlib import Path

import numpy as np
import pytest
from fake_photos import IMAGE_MODE, VIDEO_MODE, face_row, write_csv

from efgan.data.openface import Source, UnusableError, find_sources, how_to_measure, measure
from efgan.data.openface_run import find_openface, run_openface
from efgan.data.photos import Photo
from efgan.errors import UserError

AUS = np.arange(17) / 4
POINTS = np.stack([np.arange(68) + 100.0, np.arange(68) * 2 + 50.0], 1)


def photos_in(folder: Path, *names: str) -> list[Photo]:
    """Empty files under these names, as photos."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    stems = [name.rsplit(".", 1)[0] for name in names]
    return [Photo(path=folder / name, name=stem, person=stem, expression=0)
            for name, stem in zip(names, stems, strict=True)]  # fmt: skip


@pytest.mark.parametrize(("columns", "separator"), [
    (IMAGE_MODE, ","), (IMAGE_MODE, ", "), (VIDEO_MODE, ", "), (VIDEO_MODE, ","),
    (["frame", "face_id", *VIDEO_MODE[1:]], ", "), ([f" {name} " for name in IMAGE_MODE], ","),
], ids=["2.2 image", "2.0 image", "2.0 video", "2.2 video", "2.1 video with face_id", "stray spaces"])  # fmt: skip
def test_every_vintage_gives_the_same_measurements(tmp_path, columns, separator):
    """With or without `success`, spaces and 3-D points; x_0 is not taken for X_0."""
    row = face_row(AUS, POINTS) | {f"X_{k}": -1 for k in range(68)}
    spaced = {f" {name} ": value for name, value in row.items()}
    write_csv(tmp_path / "a.csv", [row | spaced], columns=columns, separator=separator)
    found = measure(Source(path=tmp_path / "a.csv"))
    np.testing.assert_allclose(found.aus, AUS, atol=1e-6)
    np.testing.assert_allclose(found.landmarks, POINTS, atol=1e-4)


def test_of_several_faces_the_largest_counts(tmp_path):
    """Even if a smaller one is surer; if the largest is not sure, no other person takes its place."""
    small = face_row(AUS, POINTS / 3, face=0, confidence=0.99)
    write_csv(tmp_path / "a.csv", [small, face_row(AUS / 2, POINTS, face=1, confidence=0.85)])
    np.testing.assert_allclose(measure(Source(path=tmp_path / "a.csv")).aus, np.round(AUS / 2, 2), atol=0.006)
    write_csv(tmp_path / "b.csv", [small, face_row(AUS, POINTS, face=1, confidence=0.5)])
    with pytest.raises(UnusableError, match=r"confidence below 0\.8"):
        measure(Source(path=tmp_path / "b.csv"))


@pytest.mark.parametrize(("rows", "columns", "reason"), [
    ([], IMAGE_MODE, "no face"),
    ([face_row(AUS, POINTS, confidence=0.79)], IMAGE_MODE, "confidence"),
    ([face_row(AUS, POINTS, confidence="nan")], IMAGE_MODE, "confidence"),
    ([face_row(AUS, POINTS, success=0)], VIDEO_MODE, "no face"),
    ([face_row(AUS, 0 * POINTS)], IMAGE_MODE, "no face"),
    ([face_row(AUS, POINTS, AU12_r="-nan(ind)")], IMAGE_MODE, "no numbers"),
    ([face_row(AUS, POINTS, x_5="what")], IMAGE_MODE, "no numbers"),
    ([face_row(AUS, POINTS, frame=k) for k in (1, 2)], VIDEO_MODE, "of a video"),
    ([face_row(AUS, POINTS)], IMAGE_MODE[:400], "without Action Units"),
    ([face_row(AUS, POINTS)], [c for c in IMAGE_MODE if c[:2] != "x_"], "without landmarks"),
], ids=["empty", "unsure", "NaN sure", "failed", "zeros", "NaN", "text", "video", "no AUs", "no points"])  # fmt: skip
def test_what_cannot_be_used_is_refused_with_reason_file_and_remedy(tmp_path, rows, columns, reason):
    """The reason is short, to be counted; the remedy names the file."""
    write_csv(tmp_path / "a.csv", rows, columns=columns)
    with pytest.raises(UnusableError) as caught:
        measure(Source(path=tmp_path / "a.csv"))
    assert reason in caught.value.args[0] and str(tmp_path / "a.csv") in caught.value.args[1]


def test_a_file_that_is_no_csv_is_refused(tmp_path):
    """Whatever its bytes."""
    (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(UnusableError, match="OpenFace CSV"):
        measure(Source(path=tmp_path / "a.csv"))


def test_a_photo_has_the_csv_of_its_stem(tmp_path):
    """Beside it, in openface/ or processed/, whatever the case; of equal stems, that of the photo's folder."""
    photos = photos_in(tmp_path, "A.JPG", "happy/1.png", "sad/1.png", "sad/2.png", "b.jpg")
    places = ["openface/a.csv", "openface/happy/1.csv", "processed/sad/1.csv", "elsewhere/2.csv"]
    for place in places:
        write_csv(tmp_path / place, [face_row(AUS, POINTS)])
    found = find_sources(photos, tmp_path)
    expected = dict(zip(["A", "happy/1", "sad/1", "sad/2"], places, strict=True))
    assert {name: source.path.relative_to(tmp_path).as_posix() for name, source in found.items()} == expected


def test_a_csv_of_an_ambiguous_stem_belongs_to_nobody(tmp_path):
    """Two photos, two CSVs of one stem, none in the photos' folders: rather no AUs than somebody else's."""
    photos = photos_in(tmp_path, "happy/1.png", "sad/1.png")
    for place in ("x/1.csv", "y/1.csv"):
        write_csv(tmp_path / place, [face_row(AUS, POINTS)])
    assert find_sources(photos, tmp_path) == {}


def test_a_lone_csv_is_not_given_to_namesakes(tmp_path):
    """After OpenFace stopped half way: the photos of the other folders stay unmeasured."""
    photos = photos_in(tmp_path, "happy/S001.jpg", "sad/S001.jpg", "angry/S002.jpg")
    write_csv(tmp_path / "openface/sad/S001.csv", [face_row(AUS, POINTS)])
    write_csv(tmp_path / "openface/S002.csv", [face_row(AUS, POINTS)])
    assert set(find_sources(photos, tmp_path)) == {"sad/S001", "angry/S002"}


def test_pictures_outside_the_list_are_namesakes_too(tmp_path):
    """The reader leaves out what has no class; its CSV belongs to nobody else."""
    photos_in(tmp_path, "unknown_class/S001.jpg")
    photos = photos_in(tmp_path, "happy/S001.jpg")
    write_csv(tmp_path / "openface/unknown_class/S001.csv", [face_row(AUS, POINTS)])
    assert find_sources(photos, tmp_path) == {}


def test_frames_of_namesake_folders_come_from_their_own_csv(tmp_path):
    """FeatureExtraction on every folder of person/expression: the CSV lies where the folder does."""
    photos = photos_in(tmp_path, "S001/happy/a.jpg", "S002/happy/b.jpg")
    for person, k in (("S001", 1), ("S002", 2)):
        write_csv(tmp_path / f"openface/{person}/happy/happy.csv", [face_row(AUS / k, POINTS, frame=1)],
                  columns=VIDEO_MODE)  # fmt: skip
    found = find_sources(photos, tmp_path)
    np.testing.assert_allclose(measure(found["S001/happy/a"]).aus, AUS, atol=0.006)
    np.testing.assert_allclose(measure(found["S002/happy/b"]).aus, AUS / 2, atol=0.006)


def test_rows_for_namesakes_come_from_their_own_folders_csv(tmp_path):
    """1.png of two folders, one CSV for each."""
    photos = photos_in(tmp_path, "happy/1.png", "sad/1.png")
    for name in ("happy", "sad"):
        write_csv(tmp_path / f"openface/{name}.csv", [face_row(AUS, POINTS) | {"file": "1.png"}],
                  columns=["file", *IMAGE_MODE])  # fmt: skip
    found = find_sources(photos, tmp_path)
    assert {name: source.path.stem for name, source in found.items()} == {"happy/1": "happy", "sad/1": "sad"}


def test_one_csv_per_folder_by_file_name(tmp_path):
    """A column of file names says whose row it is; with several faces per file the largest counts."""
    photos = photos_in(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = [face_row(AUS, POINTS, file="C:\\faces\\a.jpg"), face_row(AUS / 2, POINTS, file="b.jpg"),
            face_row(AUS, POINTS / 4, file="b.jpg")]  # fmt: skip
    write_csv(tmp_path / "all.csv", rows, columns=["file", *IMAGE_MODE])
    found = find_sources(photos, tmp_path)
    assert found.keys() == {"a", "b"}
    np.testing.assert_allclose(measure(found["b"]).aus, AUS / 2, atol=0.006)


def test_one_csv_per_folder_by_frame(tmp_path):
    """FeatureExtraction -fdir: frame k is the folder's k-th picture in sorted order, if there are as many."""
    photos = photos_in(tmp_path, "set/b.jpg", "set/a.jpg")
    rows = [face_row(AUS / k, POINTS, frame=k) for k in (1, 2)]
    write_csv(tmp_path / "openface" / "set.csv", rows, columns=VIDEO_MODE, separator=", ")
    found = find_sources(photos, tmp_path)
    np.testing.assert_allclose(measure(found["set/b"]).aus, AUS / 2, atol=0.006)
    np.testing.assert_allclose(measure(found["set/a"]).aus, AUS, atol=0.006)
    (tmp_path / "set" / "c.jpg").touch()
    assert find_sources(photos, tmp_path) == {}


def test_the_command_says_where_and_how(tmp_path):
    """One folder: one call; several: a loop that keeps their names apart."""
    flat = photos_in(tmp_path / "flat", "a.jpg")
    assert how_to_measure(tmp_path / "flat", flat).endswith("FaceLandmarkImg -fdir . -out_dir openface -2Dfp -aus")
    deep = photos_in(tmp_path / "deep", "x/a.jpg", "y/a.jpg")
    assert f"cd {tmp_path / 'deep'} &&" in how_to_measure(tmp_path / "deep", deep)
    assert "-fdir {} -out_dir openface/{}" in how_to_measure(tmp_path / "deep", deep)


@pytest.fixture
def fake_openface(tmp_path, monkeypatch):
    """A program on the PATH that copies a CSV for every -f, as FaceLandmarkImg does, but fails on bad.jpg."""
    write_csv(tmp_path / "template.csv", [face_row(AUS, POINTS)])
    program = tmp_path / "bin" / "FaceLandmarkImg"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/sh
files=""
while [ $# -gt 0 ]; do
  case "$1" in
    -f) files="$files $2"; shift ;;
    -out_dir) out="$2"; shift ;;
  esac
  shift
done
mkdir -p "$out"
for file in $files; do
  name=$(basename "$file" .jpg)
  [ "$name" = bad ] || cp {tmp_path / "template.csv"} "$out/$name.csv"
done
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_openface_is_run_on_what_lacks_a_csv(tmp_path, fake_openface):
    """Into openface/, folder by folder; a photo that fails is counted, and a second run asks for it alone."""
    folder = tmp_path / "set"
    photos = photos_in(folder, "happy/1.jpg", "sad/1.jpg", "sad/bad.jpg")
    assert find_openface() == fake_openface
    assert run_openface(fake_openface, photos, folder) == 1
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.csv")) == [
        "openface/happy/1.csv", "openface/sad/1.csv"]  # fmt: skip
    with pytest.raises(UserError, match="wrote no CSV for any of 1"):
        run_openface(fake_openface, photos, folder)


def test_openface_is_found_by_path_folder_or_name(tmp_path, fake_openface, monkeypatch):
    """A wrong name is refused; nothing on the PATH is no error."""
    assert find_openface(fake_openface) == find_openface(fake_openface.parent) == fake_openface
    with pytest.raises(UserError, match="is no OpenFace program"):
        find_openface(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_openface() is None
