"""The editing session: requests become edits, photos become faces, and the words it gives repeat the edit."""

import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from conftest import BOXES, make_faces
from fake_results import trained_run
from PIL import Image

from efgan.data.crop import align_face, aligned_landmarks, read_photo
from efgan.editing import repeat, sources
from efgan.editing.attention import attention_mass, colour_limit, stage_maps
from efgan.editing.editor import load_editor
from efgan.editing.own_aus import own_aus
from efgan.editing.pictures import FRAME_MS, HOLD_MS, save_animation
from efgan.editing.repeat import edit_command, python_call
from efgan.editing.session import EditSession
from efgan.errors import UserError

METHODS = ("stargan", "local_focus", "cascade_ef_gan")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {name: trained_run(root, name) for name in METHODS}


@pytest.fixture
def session(runs, tmp_path):
    return EditSession(runs, make_faces(), tmp_path, method="cascade_ef_gan", shipped=False)


def as_png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_it_opens_on_an_untouched_face(session):
    """Nothing is asked for but what the face shows."""
    np.testing.assert_allclose(session.edited().target_aus, session.face.aus, atol=1e-4)
    assert session.state.is_untouched(session.face.aus) and len(session.edited().steps) == 3


def test_a_request_is_what_the_editor_is_asked(session):
    """The session's edit equals the editor's own, for the same face, AUs and parts."""
    session.state = replace(session.state.with_expression("happy"), stages=2, local_branches=False)
    direct = session.editor().edit(session.face.image, source_aus=session.face.aus, stages=2, local_branches=False,
                                   **session.state.changes(session.face.aus))  # fmt: skip
    assert (session.edited().image == direct.image).all() and len(session.edited().steps) == 2


def test_stargan_wants_an_expression(session):
    """Sliders alone say nothing to it; side by side it is then left out."""
    session.state = session.state.with_method("stargan")
    with pytest.raises(UserError, match="press one of the expressions"):
        session.edited()
    for words in (edit_command, python_call):
        with pytest.raises(UserError, match="press one of the expressions"):
            words(session)
    assert [name for name, _ in session.compared()] == ["Baseline + Local Focuses", "Cascade EF-GAN"]
    session.state = session.state.with_expression("happy")
    assert len(dict(session.compared())) == 3


@pytest.mark.parametrize("method", ["cascade_ef_gan", "local_focus", "stargan"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_python_call_repeats_the_edit(session, monkeypatch, method, relative):
    """Run as it is printed, it gives the session's picture (AUs are written with four decimals)."""
    state = session.state.with_face(2, session.face.aus, session.faces[2].aus).with_method(method)
    session.state = state.with_relative(relative, session.faces[2].aus).with_expression("sad")
    monkeypatch.setattr(repeat, "load_gallery", make_faces)
    monkeypatch.setattr("efgan.editing.reference.load_gallery", make_faces)
    names: dict = {}
    exec(python_call(session), names)
    assert np.abs(names["edited"].image.astype(int) - session.edited().image).max() <= 1


def test_the_command_finds_face_landmarks_and_aus(session):
    """What is written for it is read back exactly, and the crop is the face as it was."""
    session.state = session.state.with_au("AU12", 4.0)
    words = edit_command(session).split()
    table = words[words.index("--openface") + 1]
    aus, landmarks = own_aus(Path(table), neutral=False)
    np.testing.assert_array_equal(aus[0], session.face.aus)
    photo = read_photo(words[words.index("--openface") - 1])
    assert (align_face(landmarks[0], 64).apply(photo) == session.face.image).all()
    assert "AU12=4" in words and words[:2] == ["efgan", "edit"]
    session.state = replace(session.state, stages=1)
    with pytest.raises(UserError, match="the Python call"):
        edit_command(session)
    session.state = replace(session.state, stages=None).reset(session.face.aus)
    with pytest.raises(UserError, match="nothing is asked for"):
        edit_command(session)


def test_aligned_landmarks_change_nothing():
    """A picture that is a crop already stays it."""
    np.testing.assert_allclose(align_face(aligned_landmarks(64), 64).matrix, np.eye(2, 3), atol=1e-12)


def test_a_photo_becomes_a_face(session, monkeypatch):
    """Without a face finder its middle is taken, which is said; its edit is put back into the photo."""

    def none_installed(photo):
        raise UserError("finding faces in photos needs the extra 'wild'")

    monkeypatch.setattr(sources, "detect_landmarks", none_installed)
    photo = np.random.default_rng(0).integers(0, 256, (100, 160, 3), np.uint8)
    index = session.add_photo(as_png(photo), "me at home.png")
    face = session.faces[index]
    assert face.name == "me_at_home_png" and "middle of the photo" in face.remark and "taken as zero" in face.remark
    session.state = replace(session.state, face=index).reset(face.aus).with_expression("happy")
    saved = np.asarray(Image.open(session.save_picture()))
    assert saved.shape == photo.shape
    assert (saved[:, :30] == photo[:, :30]).all() and (saved != photo).any()


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", as_png(make_faces().images[0].permute(1, 2, 0).numpy())[:900]],
    ids=["empty", "text", "cut"],
)
def test_a_broken_photo_changes_nothing(session, content):
    """It is said in words which file it was."""
    before = len(session.faces)
    with pytest.raises(UserError, match=r"broken\.png"):
        session.add_photo(content, "broken.png")
    assert len(session.faces) == before


def test_saved_files_never_overwrite(session):
    """Every one has a new name; the animation goes to the target and back."""
    session.state = session.state.with_expression("surprised")
    paths = [session.save_picture(), session.save_picture(), session.save_animation(frames=4)]
    assert len(set(paths)) == 3
    assert Image.open(paths[2]).n_frames == 6


def test_a_video_shows_the_pictures_there_and_back(session):
    """The first and the last picture stand for as long as in the GIF; colours survive the codec; odd sizes too."""
    session.state = session.state.with_expression("surprised")
    with av.open(session.save_animation("mp4", frames=4)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 2 * round(HOLD_MS / FRAME_MS) + 4
    assert frames[0].shape == (256, 256, 3)
    assert abs(frames[0].mean((0, 1)) - session.face.photo.mean((0, 1))).max() < 3
    path = save_animation([np.zeros((31, 45, 3), np.uint8)] * 2, session.out / "odd.mp4", width=45)
    with av.open(path) as video:
        assert next(video.decode(video=0)).width == 44
    with pytest.raises(UserError, match=r"\.gif or \.mp4"):
        save_animation([], session.out / "video.avi")
    assert not (session.out / "video.avi").exists()


def test_every_stage_is_taken_apart(session):
    """Input, both branches, Refiner and output of each; one stage's output is the next one's input."""
    session.state = session.state.with_expression("happy")
    edited = session.edited()
    stages = stage_maps(edited, session.editor().focus_boxes)
    assert len(stages) == 3 and "input" in stages[0].columns and len(stages[0].columns) == 9
    assert (stages[0].after == stages[1].before).all() and (stages[-1].after == edited.image).all()
    blended = stages[0].global_attention[..., None] * stages[0].global_colour.astype(float) + (
        1 - stages[0].global_attention[..., None]) * stages[0].before  # fmt: skip
    np.testing.assert_allclose(blended, stages[0].global_image, atol=1.5)  # eq. (1)
    first, refiner = edited.edit.stages[0], session.editor()._generator.stages[0].refiner
    correction = refiner.backbone(torch.cat([first.stitched, first.global_edit.image], 1))
    strongest = torch.maximum(first.stitched_attention, first.global_edit.attention)
    expected = (strongest.sqrt() * correction).abs().mean(1)[0] / 2
    np.testing.assert_allclose(stages[0].refiner_change, expected, atol=1e-5)
    session.state = session.state.with_method("stargan").with_expression("happy")
    with pytest.raises(UserError, match="StarGAN has no attention"):
        stage_maps(session.edited(), session.editor().focus_boxes)


def test_the_strongest_of_all_stages(session):
    """At each pixel the largest; a cascade's maps are never below one of its stages'."""
    edit = session.edited().edit
    found = edit.strongest_attention
    assert all((found["global"] >= stage.global_edit.attention[:, 0]).all() for stage in edit.stages)
    assert set(found) == {"global", "local"}


def test_attention_mass_is_a_share():
    """Uniform attention: each box has its share of the picture; overlaps count twice, elsewhere is the rest."""
    shares = attention_mass(torch.ones(2, 64, 64), BOXES)
    assert shares["eyes"] == pytest.approx(20 * 48 / 4096) and shares["mouth"] == pytest.approx(20 * 32 / 4096)
    mouth_only = torch.zeros(64, 64)
    mouth_only[BOXES["mouth"].slices] = 0.5
    assert attention_mass(mouth_only, BOXES)["mouth"] == pytest.approx(1)
    assert attention_mass(mouth_only, BOXES)["elsewhere"] == 0


@pytest.mark.parametrize(("highest", "limit"), [(0.0, 0.2), (0.21, 0.4), (0.59, 0.6), (1.0, 1.0)])
def test_one_colour_scale_that_does_not_jump(highest, limit):
    """The next fifth, so that a moving slider keeps it."""
    assert colour_limit([np.full((4, 4), highest)]) == pytest.approx(limit)


def test_the_editors_answers_are_the_models(session):
    """A run opened by itself edits as in the session."""
    again = load_editor(session.runs["local_focus"], torch.device("cpu"))
    session.state = session.state.with_method("local_focus").with_au("AU26", 3.0)
    own = again.edit(session.face.image, source_aus=session.face.aus, **session.state.changes(session.face.aus))
    assert np.abs(own.image.astype(int) - session.edited().image).max() <= 1
