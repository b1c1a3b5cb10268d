"""Cropping a face out of a photo and back: closed forms, exactness where nothing is edited, every kind of file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from efgan.data.crop import FaceCrop, align_face, read_photo
from efgan.errors import UserError

# Eyes and nose base at the template's places (fractions of the side); all other points do not count.
POINTS = np.zeros((68, 2))
POINTS[36:42], POINTS[42:48], POINTS[31:36] = (0.362, 0.391), (0.638, 0.391), (0.5, 0.598)
similarities = st.tuples(st.floats(0.02, 3), st.floats(-3.1, 3.1), st.floats(-500, 500), st.floats(-500, 500))


def similar(points: np.ndarray, scale: float, angle: float, x: float, y: float) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + (x, y)


def ramp(width: int, height: int) -> np.ndarray:
    """Red rises by 1 per 4 pixels to the right, green by 1 per 4 downwards: a pixel's colour says where it lies."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.rint(np.stack([x / 4, y / 4, np.full_like(x, 77)], 2)).astype(np.uint8)


def test_a_face_at_the_template_is_left_where_it_is():
    """Landmarks at the template's places, scaled by the size: the crop is the photo itself."""
    crop = align_face(128 * POINTS, 128)
    np.testing.assert_allclose(crop.matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert np.array_equal(crop.apply(photo), photo)


def test_the_crop_does_not_follow_the_mouth_or_the_brows():
    """A person's faces with another expression are cut out alike, so that they can be compared pixel by pixel."""
    points = 128 * (POINTS + np.random.default_rng(3).normal(0, 0.02, POINTS.shape))
    other = points.copy()
    other[48:] += (0, 12)
    other[:27] -= (0, 9)
    assert np.array_equal(align_face(points, 128).matrix, align_face(other, 128).matrix)


@given(similarities)
def test_any_turned_scaled_and_shifted_face_comes_to_the_same_place(similarity):
    """The alignment undoes every similarity exactly, so all landmarks come to the same crop pixels."""
    scale, angle, x, y = similarity
    rng = np.random.default_rng(1)
    points = 128 * (POINTS + rng.normal(0, 0.02, POINTS.shape))
    straight = align_face(points, 128).transform(points)
    moved = similar(points, scale, angle, x, y)
    crop = align_face(moved, 128)
    np.testing.assert_allclose(crop.transform(moved), straight, atol=1e-6)
    assert crop.scale == pytest.approx(align_face(points, 128).scale / scale)


@pytest.mark.parametrize("scale", [0.6, 1.0, 2.7, 6.0])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_pixels_come_from_where_the_matrix_says(scale, angle):
    """A crop of a colour ramp shows each pixel's place in the photo, at any scale, within a level."""
    landmarks = similar(128 * POINTS, scale, angle, 320, 60)
    crop = align_face(landmarks, 128)
    picture = crop.apply(ramp(1020, 1020)).astype(float)
    x, y = np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5)
    where = FaceCrop(np.linalg.inv(np.vstack([crop.matrix, (0, 0, 1)]))[:2], 128).transform(
        np.stack([x.ravel(), y.ravel()], 1)
    )
    inside = ((where > 8) & (where < 1012)).all(1)
    assert inside.mean() > 0.5
    shown = picture[:, :, :2].reshape(-1, 2)[inside]
    assert abs(shown - where[inside] / 4).max() <= 1
    assert (picture[:, :, 2] == 77).all()


def test_beyond_the_photo_its_border_is_repeated():
    """A face at the edge: the crop is filled, not black."""
    photo = np.full((100, 100, 3), 200, np.uint8)
    assert (align_face(similar(128 * POINTS, 0.5, 0, -20, 60), 128).apply(photo) == 200).all()


@pytest.mark.parametrize("scale", [0.3, 1.7, 9.0])
def test_no_edit_changes_no_pixel_and_none_outside_the_crop(scale):
    """Pasting the same crop back returns the photo; another one leaves all outside the square as it was."""
    rng = np.random.default_rng(2)
    photo = rng.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    crop = align_face(similar(128 * POINTS, scale, 0.3, 200, 40), 128)
    before = crop.apply(photo)
    assert np.array_equal(crop.paste_back(photo, before, before), photo)
    edited = crop.paste_back(photo, before, rng.integers(0, 256, before.shape, dtype=np.uint8))
    x, y = np.meshgrid(np.arange(900) + 0.5, np.arange(700) + 0.5)
    place = crop.transform(np.stack([x.ravel(), y.ravel()], 1)).reshape(700, 900, 2)
    outside = ((place < 0) | (place > 128)).any(2)
    assert np.array_equal(edited[outside], photo[outside]) and not np.array_equal(edited, photo)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_an_even_edit_arrives_whole_in_the_middle(scale):
    """20 levels brighter everywhere: 20 in the middle of the face, fading to 0 at the seam."""
    photo = np.full((600, 600, 3), 100, np.uint8)
    crop = align_face(similar(128 * POINTS, scale, 0, 40, 40), 128)
    before = crop.apply(photo)
    change = crop.paste_back(photo, before, before + 20).astype(int) - 100
    x, y = np.rint(similar(np.array([[64.0, 64.0]]), scale, 0, 40, 40)[0]).astype(int)
    assert (change[y - 3 : y + 3, x - 3 : x + 3] == 20).all()
    assert change.min() == 0 and change.max() == 20 and (change[y, :40] == 0).all()


@pytest.mark.parametrize(
    "landmarks", [np.zeros((5, 2)), np.full((68, 2), np.nan), np.ones((68, 2))], ids=["five", "NaN", "one place"]
)
def test_impossible_landmarks_are_refused(landmarks):
    """The message says what was expected."""
    with pytest.raises(UserError, match="landmarks"):
        align_face(landmarks, 128)


def test_every_kind_of_picture_is_read_as_people_see_it(tmp_path):
    """Grey, 16 bits, transparent over white, turned by EXIF: always uint8 H×W×3."""
    Image.new("L", (40, 50), 99).save(tmp_path / "grey.png")
    Image.fromarray(np.full((50, 40), 99 * 257, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (40, 50), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # a camera held upright
    Image.new("RGB", (50, 40), (99, 99, 99)).save(tmp_path / "turned.jpg", exif=turned)
    for name, value in (("grey.png", 99), ("deep.png", 99), ("clear.png", 255), ("turned.jpg", 99)):
        photo = read_photo(tmp_path / name)
        assert photo.shape == (50, 40, 3) and photo.dtype == np.uint8 and (photo == value).all(), name


def test_unreadable_pictures_are_refused_by_name(tmp_path):
    """Missing, no picture, cut off, too small: the file and the remedy in one line."""
    (tmp_path / "text.jpg").write_text("hello")
    Image.new("RGB", (16, 200)).save(tmp_path / "thin.png")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:9000])
    refusals = {
        "gone.jpg": "no such file",
        "text.jpg": "not a picture",
        "thin.png": "at least 32",
        "cut.jpg": "damaged",
    }
    for name, message in refusals.items():
        with pytest.raises(UserError, match=rf"{name}.*{message}"):
            read_photo(tmp_path / name)
