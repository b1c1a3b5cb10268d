"""Photos of any size: zero edits change nothing, no edit reaches beyond the crop, requests become AUs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from conftest import BOXES
from PIL import Image, ImageCms
from skimage.data import astronaut

from efgan.cli import main
from efgan.config import EvalConfig, ModelConfig, to_json
from efgan.data.action_units import AU_NAMES
from efgan.data.crop import colour_profile, read_photo
from efgan.data.landmarks import detect_landmarks
from efgan.editing.editor import Editor
from efgan.editing.own_aus import estimate_aus, own_aus
from efgan.editing.wild import EditedPhoto, edit_photo, edit_sequence, save_photo
from efgan.errors import UserError
from efgan.experiments import run_config, run_folder
from efgan.models import build_generator
from efgan.models.classifiers import build_au_estimator
from efgan.training.checkpoint import save_tensors
from efgan.training.run import TrainedRun

NEUTRAL = np.zeros(17, np.float32)


def editor_of(folder, experiment: str = "baseline", *, attention: float | None = None) -> Editor:
    """An untrained editor of 64 px; `attention` fixes eq. (1)'s map, 0 = copy, 1 = repaint."""
    config = replace(run_config("smoke", "synthetic_rafd", experiment, 0), model=ModelConfig(width=4, blocks=1))
    torch.manual_seed(0)
    names = ("neutral", "angry", "contemptuous", "disgusted", "fearful", "happy", "sad", "surprised")
    generator = build_generator(experiment, config.model, image_size=64, num_classes=8, boxes=BOXES).eval()
    if attention is not None:
        generator.branch.backbone.register_forward_hook(
            lambda _, __, out: torch.cat([out[:, :3], torch.full_like(out[:, 3:], 200 * attention - 100)], 1)
        )
    state = {"expression_names": names, "boxes": {name: list(box) for name, box in BOXES.items()}}
    return Editor(TrainedRun(generator=generator, config=config, state=state), folder, torch.device("cpu"))


def photo_with_faces(*centres: tuple[float, float], scale: float = 1.0, size: tuple[int, int] = (200, 320)):
    """Noise, and the landmarks of upright faces at these places of it."""
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    face = np.zeros((68, 2))
    face[36:42], face[42:48], face[31:36], face[48:68] = (-14, -12), (14, -12), (0, 8), (0, 20)
    return photo, [face * scale + centre for centre in centres]


def inside(edited: EditedPhoto) -> np.ndarray:
    """H×W, True where a pixel's centre lies in a crop."""
    height, width = edited.photo.shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    points = np.stack([x.ravel(), y.ravel()], 1)
    covered = [((p := face.crop.transform(points)) > 0).all(1) & (p < face.crop.size).all(1) for face in edited.faces]
    return np.any(covered, 0).reshape(height, width)


PLACES = pytest.mark.parametrize(("centre", "scale"), [
    ((160, 100), 1.0), ((160, 100), 0.31), ((161.3, 99.2), 2.7), ((4, 6), 1.2), ((318, 195), 0.8), ((160, 100), 0.05),
])  # fmt: skip


@PLACES
def test_zero_attention_returns_the_photo_exactly(tmp_path, centre, scale):
    """Crop, edit with zero attention, paste back: every byte as it was, wherever and however large the face is."""
    photo, landmarks = photo_with_faces(centre, scale=scale)
    editor = editor_of(tmp_path, attention=0.0)
    edited = edit_photo(editor, photo, expression="happy", source_aus=NEUTRAL, landmarks=landmarks)
    assert np.array_equal(edited.image, photo)


def test_asking_for_what_is_there_changes_nothing(tmp_path):
    """Even a model that repaints everything is not heard when no AU is to move."""
    photo, landmarks = photo_with_faces((160, 100))
    own = np.linspace(0, 4, 17, dtype=np.float32)
    for request in ({"relative": {"AU12": 0.0}}, {"aus": {"AU01": 0.0}}):
        edited = edit_photo(editor_of(tmp_path, attention=1.0), photo, source_aus=own, landmarks=landmarks, **request)
        assert np.array_equal(edited.image, photo)


@PLACES
def test_any_edit_stays_inside_the_crop(tmp_path, centre, scale):
    """Even one that repaints everything leaves all bytes outside alone, and does change the inside."""
    photo, landmarks = photo_with_faces(centre, scale=scale)
    editor = editor_of(tmp_path, attention=1.0)
    edited = edit_photo(editor, photo, expression="happy", source_aus=NEUTRAL, landmarks=landmarks)
    changed = (edited.image != photo).any(2)
    assert not changed[~inside(edited)].any()
    assert changed.any() or scale < 0.1


def test_the_seam_fades(tmp_path):
    """The outermost pixels of the crop hardly change, the middle does: no edge is seen."""
    photo, landmarks = photo_with_faces((160, 100))
    photo[:] = 128
    editor = editor_of(tmp_path, attention=1.0)
    edited = edit_photo(editor, photo, expression="happy", source_aus=NEUTRAL, landmarks=landmarks)
    change = np.abs(edited.image.astype(int) - photo).max(2)
    crop = edited.faces[0].crop
    left, top, right, bottom = crop._bounds()
    rim = np.concatenate([change[top:bottom, left + 1], change[top + 1, left:right]])
    assert rim.max() <= 0.05 * change.max() + 1


def test_only_the_chosen_face_is_estimated(tmp_path, monkeypatch):
    """Its AUs, not those of the leftmost; the others cost no time."""
    seen = []
    monkeypatch.setattr(
        "efgan.editing.wild.estimate_aus", lambda _, images: seen.append(len(images)) or (np.ones((1, 17)), "ours")
    )
    photo, landmarks = photo_with_faces((80, 100), (240, 100), scale=0.8)
    edited = edit_photo(editor_of(tmp_path), photo, expression="sad", landmarks=landmarks, face=2)
    assert seen == [1] and len(edited.faces) == 1 and (edited.faces[0].source_aus == 1).all()
    given = np.stack([NEUTRAL, NEUTRAL + 2])
    edited = edit_photo(editor_of(tmp_path), photo, expression="sad", source_aus=given, landmarks=landmarks, face=2)
    assert (edited.faces[0].source_aus == 2).all()


def test_one_or_all_faces(tmp_path):
    """`face` counts from the left and edits that one alone; None edits all; another number is told."""
    photo, landmarks = photo_with_faces((80, 100), (240, 100), scale=0.8)
    editor = editor_of(tmp_path, attention=1.0)
    changed = {
        face: (edit_photo(editor, photo, expression="sad", source_aus=NEUTRAL, landmarks=landmarks, face=face).image
               != photo).any(2)
        for face in (1, 2, None)
    }  # fmt: skip
    assert changed[1][:, :160].any() and not changed[1][:, 160:].any()
    assert changed[2][:, 160:].any() and not changed[2][:, :160].any()
    assert (changed[None] == (changed[1] | changed[2])).all()
    with pytest.raises(UserError, match="there is no face 3: 2 found"):
        edit_photo(editor, photo, expression="sad", source_aus=NEUTRAL, landmarks=landmarks, face=3)


def test_requests_become_aus(tmp_path):
    """A preset sets all 17, `aus` sets single ones, `relative` adds to the result; what nothing names stays."""
    photo, landmarks = photo_with_faces((160, 100))
    own = np.full(17, 1.5, np.float32)
    editor = editor_of(tmp_path)

    def wanted(**request) -> dict[str, float]:
        edited = edit_photo(editor, photo, source_aus=own, landmarks=landmarks, **request)
        return edited.faces[0].edit.target_aus

    assert wanted(aus={"AU12": 4.0}) == dict.fromkeys(AU_NAMES, 1.5) | {"AU12": 4.0}
    assert wanted(relative={"AU04": 2.0, "AU25": -5.0}) == dict.fromkeys(AU_NAMES, 1.5) | {"AU04": 3.5, "AU25": 0.0}
    happy = wanted(expression="happy", intensity=1.0, aus={"AU01": 1.0}, relative={"AU12": 1.0})
    expected = dict.fromkeys(AU_NAMES, 0.0) | {"AU12": 4.0, "AU25": 3.0, "AU06": 1.5, "AU01": 1.0}
    assert happy == pytest.approx(expected, abs=1e-5)
    assert set(wanted(expression="neutral").values()) == {0.0}


@pytest.mark.parametrize(("request_", "message"), [
    ({}, "nothing to edit: name an expression or AUs"),
    ({"expression": "jolly"}, "unknown expression 'jolly': choose one of neutral, angry"),
    ({"expression": "happy", "intensity": 2.0}, "intensity 2 is out of range: 0 (neutral) to 1.67"),
    ({"aus": {"AU99": 1.0}}, "unknown Action Unit 'AU99': choose among AU01"),
    ({"aus": {"AU12": 6.0}}, "AU12=6 is out of range: 0 to 5"),
    ({"relative": {"AU12": -6.0}}, "AU12=-6 is out of range: -5 to 5"),
])  # fmt: skip
def test_a_wrong_request_is_told_before_any_work(tmp_path, request_, message):
    """What was wrong and what is accepted."""
    photo, landmarks = photo_with_faces((160, 100))
    with pytest.raises(UserError) as error:
        edit_photo(editor_of(tmp_path), photo, landmarks=landmarks, **request_)
    assert message in str(error.value)


def test_stargan_needs_an_expression(tmp_path):
    """It edits towards a class, without AUs; its animation is refused."""
    photo, landmarks = photo_with_faces((160, 100))
    editor = editor_of(tmp_path, "stargan")
    with pytest.raises(UserError, match="name one with --expression"):
        edit_photo(editor, photo, aus={"AU12": 3.0}, source_aus=NEUTRAL, landmarks=landmarks)
    with pytest.raises(UserError, match="leave out --au"):
        edit_photo(editor, photo, expression="happy", aus={"AU12": 3.0}, source_aus=NEUTRAL, landmarks=landmarks)
    edited = edit_photo(editor, photo, expression="happy", source_aus=NEUTRAL, landmarks=landmarks)
    with pytest.raises(UserError, match="no way between two expressions"):
        next(edit_sequence(editor, edited, 3))


def test_a_sequence_goes_from_the_photo_to_the_edit(tmp_path):
    """As many pictures as asked for; the first is the photo, the last the edit."""
    photo, landmarks = photo_with_faces((160, 100))
    editor = editor_of(tmp_path, attention=1.0)
    edited = edit_photo(editor, photo, expression="happy", source_aus=NEUTRAL, landmarks=landmarks)
    frames = list(edit_sequence(editor, edited, 4))
    assert len(frames) == 4
    assert np.array_equal(frames[0], photo) and np.array_equal(frames[-1], edited.image)
    with pytest.raises(UserError, match="at least 2"):
        next(edit_sequence(editor, edited, 1))


def test_a_face_that_stays_does_not_flicker(tmp_path):
    """Of two, only that which is asked for something else changes on the way, as in the edit."""
    photo, landmarks = photo_with_faces((80, 100), (240, 100))
    editor = editor_of(tmp_path, attention=1.0)
    own = np.stack([NEUTRAL, np.eye(17, dtype=np.float32)[0]])
    edited = edit_photo(editor, photo, aus={"AU01": 1.0}, source_aus=own, landmarks=landmarks)
    for frame in edit_sequence(editor, edited, 4):
        assert np.array_equal(frame[:, 160:], photo[:, 160:])
    assert not np.array_equal(edited.image[:, :160], photo[:, :160])


def trained_estimator(root, dataset: str = "synthetic_rafd"):
    """A `controls` run with an untrained estimator."""
    folder = run_folder(root, "smoke", dataset, "controls", 0)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(to_json(run_config("smoke", dataset, "controls", 0)))
    save_tensors(
        folder / "au_estimator.safetensors", build_au_estimator(EvalConfig(classifier="small")).state_dict(), {}
    )
    rows = {"AU01": {"correlation": 0.8}, "AU02": {"correlation": 0.6}, "AU04": {"correlation": None}}
    (folder / "metrics.json").write_text(json.dumps({"au_estimator": rows}))
    return folder


def test_unmeasured_faces_are_estimated_by_our_named_estimator(tmp_path):
    """Own AUs come from the run's `controls`, under efgan's name, with the quality it has on unseen people."""
    folder = run_folder(tmp_path, "smoke", "synthetic_rafd", "baseline", 0)
    editor = editor_of(folder)
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(UserError, match=r"no AU estimator.*efgan evaluate .*smoke/synthetic_rafd/controls/seed0`"):
        estimate_aus(editor, [image])
    trained_estimator(tmp_path)
    aus, name = estimate_aus(editor, [image, image])
    assert aus.shape == (2, 17) and (aus >= 0).all() and (aus <= 5).all()
    assert name == "efgan's AU estimator (synthetic-trained), mean r 0.70 on unseen people of synthetic_rafd"


def test_models_of_photos_without_labels_use_the_estimator_of_their_start(tmp_path):
    """`folder` has no judges of its own: fine-tuning began with a cascade on labelled faces, in another family."""
    folder = run_folder(tmp_path, "smoke", "folder", "cascade_ef_gan_wild", 0)
    folder.mkdir(parents=True)
    start = run_folder("../../../../../..", "smoke", "synthetic_joint", "cascade_ef_gan", 0) / "weights.safetensors"
    (folder / "manifest.json").write_text(json.dumps({"inputs": {start.as_posix(): ""}}))
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(UserError, match="results/synthetic/smoke/synthetic_joint/controls/seed0`"):
        estimate_aus(editor_of(folder), [image])
    trained_estimator(tmp_path, "synthetic_joint")
    assert "synthetic_joint" in estimate_aus(editor_of(folder), [image])[1]


def test_a_run_that_was_moved_has_no_estimator():
    """However short its path."""
    with pytest.raises(UserError, match="no AU estimator beside this run"):
        estimate_aus(editor_of(Path("/run")), [np.zeros((64, 64, 3), np.uint8)])


def test_a_damaged_estimator_is_told(tmp_path):
    """With the command that makes it anew."""
    (trained_estimator(tmp_path) / "au_estimator.safetensors").write_bytes(b"x")
    folder = run_folder(tmp_path, "smoke", "synthetic_rafd", "baseline", 0)
    with pytest.raises(UserError, match=r"au_estimator.safetensors is damaged.*efgan evaluate"):
        estimate_aus(editor_of(folder), [np.zeros((64, 64, 3), np.uint8)])


def openface_table(path, rows: list[dict[str, float]]):
    """A CSV of faces that differ from a usual one in what is said."""
    usual = {f"{axis}_{k}": k for axis in "xy" for k in range(68)} | {f"{code}_r": 1.0 for code in AU_NAMES}
    pd.DataFrame([usual | {"confidence": 0.9, "success": 1} | row for row in rows]).to_csv(path, index=False)
    return path


def test_what_openface_did_not_find_is_no_face(tmp_path):
    """Failed and doubtful rows are left out; none left, or a video, is refused."""
    path = tmp_path / "photo.csv"
    openface_table(path, [{"AU12_r": 3.0}, {"success": 0}, {"confidence": 0.05}, {"AU01_r": np.nan}])
    aus, landmarks = own_aus(path, neutral=False)
    assert len(aus) == len(landmarks) == 1 and aus[0, AU_NAMES.index("AU12")] == 3
    for rows, message in (([{"success": 0}], "found no face"), ([{"frame": 1}, {"frame": 2}], "several frames")):
        with pytest.raises(UserError, match=message):
            own_aus(openface_table(path, rows), neutral=False)


@pytest.mark.parametrize("separator", [",", ", "])
def test_openface_gives_aus_and_landmarks(tmp_path, separator):
    """Both vintages of header; faces from left to right, no detector needed."""
    names = [f"{axis}_{k}" for axis in "xy" for k in range(68)] + [f"{code}_r" for code in AU_NAMES] + ["confidence"]
    rows = [[offset + k for k in range(136)] + [value] * 17 + [0.9] for offset, value in ((100, 2.5), (0, 1.0))]
    path = tmp_path / "photo.csv"
    path.write_text("\n".join([separator.join(["face", *names]), *(",".join(map(str, [0, *row])) for row in rows)]))
    aus, landmarks = own_aus(path, neutral=False)
    assert aus.tolist() == [[1.0] * 17, [2.5] * 17]
    assert landmarks[1][67].tolist() == [167.0, 235.0]
    for given, message in ((tmp_path / "none.csv", "none.csv: .*make it with"), (path, "contradict each other")):
        with pytest.raises(UserError, match=message):
            own_aus(given, neutral=given == path)
    assert own_aus(None, neutral=False) == (None, None)
    assert own_aus(None, neutral=True)[0].tolist() == [0.0] * 17


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_saved_photos_are_read_back(tmp_path, suffix):
    """PNG to the byte, the others nearly; other kinds are refused."""
    path = save_photo(astronaut(), tmp_path / f"out{suffix}")
    difference = np.abs(read_photo(path).astype(int) - astronaut())
    assert difference.mean() < (1e-9 if suffix == ".png" else 4)
    with pytest.raises(UserError, match=r"choose \.png, \.jpg or \.webp"):
        save_photo(astronaut(), tmp_path / "out.bmp")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_colours_keep_their_profile(tmp_path, suffix):
    """The edit of a photo in wide colours looks like the photo; a grey photo's profile does not fit an RGB edit."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kept in (("RGB", profile), ("L", None)):
        source = tmp_path / f"{mode}.png"
        Image.fromarray(astronaut()).convert(mode).save(source, icc_profile=profile)
        path = save_photo(read_photo(source), tmp_path / f"out{suffix}", colour_profile(source))
        assert Image.open(path).info.get("icc_profile") == kept


@pytest.mark.parametrize("width", [200, 512, 3000])
def test_the_astronaut_is_found_at_any_size(width):
    """Small, usual and large: one face, its eyes and mouth where they are in the photo."""
    pytest.importorskip("dlib")
    photo = np.asarray(Image.fromarray(astronaut()).resize((width, width), Image.Resampling.LANCZOS))
    (landmarks,) = detect_landmarks(photo)
    found = [landmarks[group].mean(0) * 512 / width for group in (slice(36, 42), slice(42, 48), slice(48, 68))]
    for point, expected in zip(found, [(204, 102), (247, 105), (224, 146)], strict=True):
        assert np.abs(point - expected).max() < 4


def test_no_face_is_told():
    """Noise holds nobody."""
    pytest.importorskip("dlib")
    with pytest.raises(UserError, match="no face found"):
        detect_landmarks(photo_with_faces()[0])


def test_a_missing_extra_is_told(monkeypatch):
    """With the command that installs it."""
    from efgan.data import landmarks

    landmarks._load_models.cache_clear()
    monkeypatch.setattr(landmarks, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install .*'\.\[wild\]'"):
        detect_landmarks(astronaut())
    landmarks._load_models.cache_clear()


def turned_jpeg(path):
    """As a camera held upright stores it: lying, with a note to turn it."""
    lying, exif = Image.fromarray(astronaut()).transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    lying.save(path, "JPEG", quality=95, exif=exif)


def deep_grey_png(path):
    """16 bits per pixel."""
    Image.fromarray(np.asarray(Image.fromarray(astronaut()).convert("L")).astype(np.uint16) * 257).save(path, "PNG")


KINDS = {
    "turned.jpg": turned_jpeg,
    "deep.png": deep_grey_png,
    "grey.png": lambda path: Image.fromarray(astronaut()).convert("L").save(path),
    "clear.png": lambda path: Image.fromarray(astronaut()).convert("RGBA").save(path),
    "modern.webp": lambda path: Image.fromarray(astronaut()).save(path, quality=95),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_command_edits_photos_of_every_kind(tmp_path, monkeypatch, name):
    """From file to file: upright, of the photo's size, one face edited and named, the rest as it was."""
    pytest.importorskip("dlib")
    KINDS[name](tmp_path / name)
    monkeypatch.setattr("efgan.editing.editor.load_editor", lambda run: editor_of(tmp_path, attention=1.0))
    arguments = [str(tmp_path / name), "--au", "au12=4", "--neutral", "--out", str(tmp_path / "out.png")]
    if name == "turned.jpg":
        arguments += ["--gif", str(tmp_path / "out.gif"), "--steps", "3"]
    result = CliRunner().invoke(main, ["edit", "reference", *arguments])
    assert result.exit_code == 0, result.output
    assert "1 face(s); own AUs: given" in result.output
    before, after = read_photo(tmp_path / name), read_photo(tmp_path / "out.png")
    assert after.shape == before.shape == (512, 512, 3)
    changed = (before != after).any(2)
    assert changed[60:200, 150:300].mean() > 0.5 and not changed[300:].any()
    assert (tmp_path / "out.gif").exists() == (name == "turned.jpg")


def test_a_photo_without_a_face_is_one_line(tmp_path, monkeypatch):
    """And nothing is written."""
    pytest.importorskip("dlib")
    Image.new("RGB", (300, 300), "green").save(tmp_path / "lawn.png")
    monkeypatch.setattr("efgan.editing.editor.load_editor", lambda run: editor_of(tmp_path))
    result = CliRunner().invoke(
        main, ["edit", str(tmp_path / "lawn.png"), "--au", "AU12=4", "--out", str(tmp_path / "out.png")]
    )
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert "no face found" in result.stderr and not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("option", ["--out", "--gif"])
def test_the_photo_is_never_overwritten(tmp_path, option):
    """An edit under the photo's own name is refused before anything is opened."""
    photo = tmp_path / "me.jpg"
    photo.write_bytes(b"precious")
    result = CliRunner().invoke(
        main, ["edit", str(photo), "--expression", "happy", option, str(tmp_path / "." / "me.jpg")]
    )
    assert result.exit_code == 2 and "would be overwritten" in result.output
    assert photo.read_bytes() == b"precious"
