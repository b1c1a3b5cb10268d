"""Sets of photographs from disk to faces: labels, crops, AUs, cache, bad files, and what the check says of them."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fake_photos import face_row, rafd_name, rendered, write_csv, write_measured_photo, write_photo, write_rafd
from PIL import Image

from efgan import load_faces
from efgan.cli import main
from efgan.config import DataConfig
from efgan.data import cache as faces_cache
from efgan.data import decode as decoding
from efgan.data.check import check_photos
from efgan.data.crop import align_face
from efgan.data.licensed import find_sets, load_photos, survey_photos
from efgan.errors import UserError

PEOPLE = 3


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A data root with a small RaFD; read only."""
    root = tmp_path_factory.mktemp("faces")
    write_rafd(root / "RaFD", PEOPLE)
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache for decoded photos; faces stay few enough to be decoded in this process."""
    monkeypatch.setenv("EFGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def copy(tree, tmp_path) -> Path:
    """A copy of the tree that a test may spoil."""
    shutil.copytree(tree, tmp_path / "faces")
    return tmp_path / "faces"


def config_of(root: Path, dataset: str = "rafd") -> DataConfig:
    return DataConfig(dataset=dataset, data_root=str(root), split="image")


def original(root: Path, person: int = 0, expression: str = "happy") -> tuple[Path, Path]:
    """The photo and the CSV of one face."""
    name = rafd_name(person, expression)
    return root / "RaFD" / f"{name}.jpg", root / "RaFD" / "openface" / f"{name}.csv"


def excluded(root: Path) -> dict[str, str]:
    """Reason by file name."""
    return {item.path.name: item.reason for item in load_photos(config_of(root)).excluded}


def test_photos_become_faces_like_the_embedded_ones(tree, monkeypatch):
    """Labels from the names, AUs ÷ 5 from the CSVs; the crop shows the rendered face aligned, within a few levels."""
    faces = load_faces(config_of(tree))
    monkeypatch.undo()  # the rendered faces are in the machine's own cache
    truth = rendered("synthetic_rafd", PEOPLE)
    assert not faces.synthetic and faces.name == "rafd" and len(faces) == 8 * PEOPLE and faces.size == 128
    assert faces.names == tuple(sorted(faces.names)) and faces.identity.unique().tolist() == list(range(PEOPLE))
    names = [rafd_name(p, truth.expression_names[e]) for p, e in zip(truth.identity, truth.expression, strict=True)]
    order = torch.tensor([names.index(name) for name in faces.names])
    assert torch.equal(faces.expression, truth.expression[order])
    torch.testing.assert_close(faces.aus, truth.aus[order], atol=0.0011, rtol=0)
    for k, i in enumerate(order.tolist()):
        crop = align_face(truth.landmarks[i].numpy(), 128)
        expected = crop.apply(truth.images[i].permute(1, 2, 0).numpy()).astype(float)
        got = faces.images[k].permute(1, 2, 0).numpy().astype(float)
        middle = slice(24, 104)
        assert abs(expected - got)[middle, middle].mean() < 4
        np.testing.assert_allclose(faces.landmarks[k], crop.transform(truth.landmarks[i].numpy()), atol=0.1)


def test_smaller_images_and_fewer_people_come_from_the_same_cache(tree, monkeypatch):
    """Decoded once, whatever preset asks."""
    full = load_faces(config_of(tree))
    monkeypatch.setattr(decoding, "decode_face", lambda *_: pytest.fail("decoded again"))
    small = load_faces(replace(config_of(tree), image_size=64, identities=2))
    assert small.size == 64 and small.identity.unique().tolist() == [0, 1]
    assert torch.equal(small.images, full.subset(full.identity < 2).resized(64).images)
    assert load_faces(config_of(tree)).data_hash() == full.data_hash()


def test_a_changed_file_is_decoded_again_and_no_other(copy, monkeypatch):
    """A new CSV counts at once; cache files of other people stay."""
    before = load_faces(config_of(copy))
    written = {path: path.stat().st_mtime_ns for path in (copy.parent / "cache").rglob("*.npz")}
    _, csv = original(copy)
    csv.write_text(csv.read_text().replace("0.98", "0.99"))
    os.utime(csv, ns=(1, 1))
    after = load_faces(config_of(copy))
    assert after.data_hash() == before.data_hash()
    now = {path: path.stat().st_mtime_ns for path in (copy.parent / "cache").rglob("*.npz")}
    assert len(now) == len(written) + 1 and written.items() <= now.items()


def test_an_interrupted_decoding_goes_on(tree, monkeypatch):
    """What is on disk stays; only the rest is decoded."""
    decode_face, calls = decoding.decode_face, []

    def stop_at_twelve(*job):
        calls.append(job)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return decode_face(*job)

    monkeypatch.setattr(decoding, "decode_face", stop_at_twelve)
    with pytest.raises(KeyboardInterrupt):
        load_faces(config_of(tree))
    load_faces(config_of(tree))
    assert len(calls) == 12 + 8 * (PEOPLE - 1)


@pytest.mark.slow
def test_worker_processes_give_the_same_faces(tree, monkeypatch):
    """Two workers and one process decode identical faces."""
    alone = load_photos(config_of(tree), jobs=1).faces.data_hash()
    shutil.rmtree(os.environ["EFGAN_CACHE"])
    monkeypatch.setattr(faces_cache, "IN_PROCESS", 0)
    assert load_photos(config_of(tree), jobs=2).faces.data_hash() == alone


def test_one_bad_file_never_costs_another(copy):
    """Every kind of damage is counted under its reason, names the file and the remedy; all other faces are there."""
    spoilt = [original(copy, 0, e) for e in ("happy", "sad", "angry", "fearful", "neutral", "disgusted")]
    spoilt[0][0].write_bytes(spoilt[0][0].read_bytes()[:3000])
    spoilt[1][0].write_text("not a picture")
    spoilt[2][1].unlink()
    spoilt[3][1].write_text("no,csv\n1")
    points = np.random.default_rng(0).normal(100, 30, (68, 2))
    write_csv(spoilt[4][1], [face_row(np.zeros(17), points, confidence=0.3)])
    write_csv(spoilt[5][1], [face_row(np.zeros(17), points + 5000)])
    (copy / "RaFD" / "holiday.jpg").write_text("x")
    shutil.copy(original(copy, 1)[0], copy / "RaFD" / f"{rafd_name(1, 'happy', camera=45)}.jpg")
    found = load_photos(config_of(copy))
    assert len(found.faces) == 8 * PEOPLE - 6
    reasons = {item.path.name: item.reason for item in found.excluded}
    expected = ["photo not readable", "photo not readable", "no OpenFace CSV", "not an OpenFace CSV",
                "OpenFace confidence below 0.8", "landmarks outside the photo"]  # fmt: skip
    assert [reasons[photo.name] for photo, _ in spoilt] == expected
    assert reasons["holiday.jpg"] == "no RaFD file name"
    assert reasons[f"{rafd_name(1, 'happy', camera=45)}.jpg"] == "camera 045"
    assert all(len(item.remedy) > 10 for item in found.excluded)
    assert excluded(copy) == reasons  # read from the cache, the second time


def test_a_set_without_any_usable_photo_says_what_to_do(tmp_path):
    """The exact OpenFace command, and where to run it."""
    faces = rendered_somewhere()
    write_photo(tmp_path / "rafd" / f"{rafd_name(0, 'happy')}.jpg", faces, 0)
    with pytest.raises(UserError, match=r"no OpenFace CSV.*cd .*rafd && FaceLandmarkImg -fdir \. -out_dir openface"):
        load_faces(config_of(tmp_path))
    shutil.rmtree(tmp_path / "rafd")
    (tmp_path / "rafd").mkdir()
    with pytest.raises(UserError, match="no pictures in"):
        load_faces(config_of(tmp_path))


def rendered_somewhere():
    """One rendered person, without rendering anew into a test's own cache."""
    place = os.environ.pop("EFGAN_CACHE")
    try:
        return rendered("synthetic_rafd", 1)
    finally:
        os.environ["EFGAN_CACHE"] = place


@pytest.mark.parametrize(("root", "message"), [
    (None, "--data-root DIR"), ("nowhere", "no such folder"), (".", "has no subfolder rafd"),
])  # fmt: skip
def test_a_missing_data_root_or_set_is_explained(root, message, tmp_path, monkeypatch):
    """What is wanted and where."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load_faces(DataConfig(dataset="rafd", data_root=root))


def test_unlabelled_photos_make_a_set_too(tmp_path):
    """Any folder: no classes, everybody a person of their own."""
    faces = rendered_somewhere()
    for k in range(3):
        write_measured_photo(tmp_path / f"img{k}.png", tmp_path / f"img{k}.csv", faces, k)
    found = load_faces(config_of(tmp_path, "folder"))
    assert found.expression.tolist() == [-1] * 3 and found.identity.tolist() == [0, 1, 2] and found.evaluated == ()


def test_sets_are_found_by_their_names(tree, tmp_path):
    """Under a root, as a folder of their own, by RaFD's file names, else any photos."""
    assert find_sets(tree) == {"rafd": tree / "RaFD"} == find_sets(tree / "RaFD")
    shutil.copytree(tree / "RaFD", tmp_path / "download")
    assert find_sets(tmp_path / "download") == {"rafd": tmp_path / "download"}
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "all").symlink_to(tmp_path / "download", target_is_directory=True)
    assert find_sets(tmp_path / "links") == {"rafd": tmp_path / "links"}
    (tmp_path / "photos").mkdir()
    assert find_sets(tmp_path / "photos") == {"folder": tmp_path / "photos"}
    assert find_sets(tmp_path / "photos", "cfeed") == {"cfeed": tmp_path / "photos"}
    with pytest.raises(UserError, match="unknown dataset"):
        find_sets(tree, "mnist")


def test_the_check_counts_and_warns(copy):
    """Classes, people, groups, reasons; AUs that are all zero, above 5 or constant."""
    for expression in ("happy", "sad"):
        for person in range(PEOPLE):
            _, csv = original(copy, person, expression)
            header, row = csv.read_text().splitlines()
            cells = dict(zip(header.split(","), row.split(","), strict=True))
            write_csv(csv, [cells | {"AU12_r": 6.5 if person else 1, "AU26_r": 2}])
    original(copy, 0, "angry")[1].unlink()
    for expression in ("neutral", "fearful", "disgusted", "contemptuous", "surprised", "angry"):
        for person in range(PEOPLE):
            if (csv := original(copy, person, expression)[1]).exists():
                header, row = csv.read_text().splitlines()
                write_csv(csv, [dict(zip(header.split(","), row.split(","), strict=True)) | {"AU26_r": 2}])
    check = check_photos(load_photos(config_of(copy)))
    assert "23 faces of 3 people from 24 photos, 1 left out" in check.summary
    assert check.counts.loc["all", "all"] == 23 and check.counts.loc["01", "angry"] == 0
    assert check.groups["people"].sum() == PEOPLE
    assert check.excluded.loc["no OpenFace CSV", "photos"] == 1
    text = check.text()
    for words in ("always 0: AU45", "the same in every photo: AU26", "4 intensities above 5, e.g. AU12 = 6.50 of",
                  "without OpenFace CSV: 1 photo(s); cd", "the complete set has 1608", "person 01: angry"):  # fmt: skip
        assert words in text


def test_the_check_does_not_miss_people_that_were_not_asked_for(tree):
    """The preset `smoke` takes the first eight."""
    text = check_photos(load_photos(replace(config_of(tree), identities=2))).text()
    assert "not of the first 2 people" in text and "the complete set" not in text


def test_nobody_is_asked_to_measure_whom_they_do_not_need(copy):
    """Of the first two people one photo lacks its CSV; the others' need none."""
    for path in (*copy.glob("*/openface/*090_0[3-9]*.csv"), *copy.glob("*/openface/*090_01*angry*.csv")):
        path.unlink()
    excluded = load_photos(replace(config_of(copy), identities=2)).excluded
    found = Counter(item.reason for item in excluded)
    assert found["no OpenFace CSV"] == 1 and found["not of the first 2 people"] == 8 * (PEOPLE - 2)


def test_the_check_speaks_of_all_zero_and_of_nothing(copy, tmp_path):
    """OpenFace without its AU models; a set with no usable photo."""
    for csv in (copy / "RaFD" / "openface").glob("*.csv"):
        header, row = csv.read_text().splitlines()
        cells = dict(zip(header.split(","), row.split(","), strict=True))
        write_csv(csv, [{k: 0 if k.startswith("AU") else v for k, v in cells.items()}])
    assert any("all Action Units are 0" in line for line in check_photos(load_photos(config_of(copy))).warnings)
    (tmp_path / "empty").mkdir()
    check = check_photos(survey_photos(tmp_path / "empty", config_of(tmp_path)))
    assert "no face can be used" in check.text()


def test_efgan_data_check_writes_tables_and_crops(tree, tmp_path):
    """One line names every file; the crops are a picture; a usable set exits with 0."""
    result = CliRunner().invoke(main, ["data", "check", str(tree), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "rafd"
    assert {path.name for path in folder.iterdir()} == {"counts.csv", "action_units.csv", "excluded.csv", "crops.png",
                                                        "crops.pdf"}  # fmt: skip
    assert all(str(path) in result.output for path in folder.iterdir())
    with Image.open(folder / "crops.png") as picture:
        assert picture.width > 1000 and "photographs" in picture.info["Description"]


def test_efgan_data_check_goes_on_after_a_bad_set(tree, tmp_path, monkeypatch):
    """A set that cannot be read at all is told in a line, the others are checked, and the exit code is 1."""
    monkeypatch.setattr("efgan.exhibits.dataset.save_figure", lambda *_: ())
    shutil.copytree(tree, tmp_path / "faces")
    (tmp_path / "faces" / "cfeed").mkdir()
    (tmp_path / "faces" / "cfeed" / "manifest.csv").write_text("path\na.jpg\n")
    result = CliRunner().invoke(main, ["data", "check", str(tmp_path / "faces"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert (
        "cfeed:" in result.output and "no column subject" in result.output and "24 faces of 3 people" in result.output
    )


def test_efgan_data_openface_without_openface_says_what_to_run(tree, monkeypatch):
    """The command for the machine that has it."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = CliRunner().invoke(main, ["data", "openface", str(tree)])
    assert result.exit_code == 2 and "FaceLandmarkImg -fdir" in result.stderr
