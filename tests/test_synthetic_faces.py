"""The embedded faces: same seed same picture, AUs move what they name, landmarks lie on the face, CC0 head."""

import hashlib
import json

import numpy as np
import pytest

from efgan.data.action_units import AU_NAMES, CFEED_CATEGORIES, NUM_AUS, RAFD_EXPRESSIONS
from efgan.data.synthetic import View, expression_sides, render_face, sample_identity, sample_view, wild_view
from efgan.data.synthetic.expressions import AU_FACE_UNITS, face_unit_weights
from efgan.data.synthetic.head import HEAD_FILE, load_head
from efgan.data.synthetic.rasteriser import box_blur, rasterise, vertex_normals
from efgan.data.synthetic.recipes import JITTER, RECIPES, expression_plan, jittered, random_plan

PERSON = sample_identity(1, 0)
NEUTRAL = np.zeros(NUM_AUS, np.float32)


def only(code: str, intensity: float = 1.0) -> np.ndarray:
    """AUs with one of them active."""
    aus = NEUTRAL.copy()
    aus[AU_NAMES.index(code)] = intensity
    return aus


def change(code: str) -> np.ndarray:
    """Mean absolute change per pixel (128×128) that one AU makes in the same view."""
    neutral, _ = render_face(PERSON, NEUTRAL)
    moved, _ = render_face(PERSON, only(code))
    return np.abs(moved.astype(float) - neutral).mean(2)


def test_head_file_is_the_one_in_the_provenance_record():
    """The embedded data's SHA-256, licence and sources are on record."""
    record = json.loads(HEAD_FILE.with_name("head_provenance.json").read_text())
    assert hashlib.sha256(HEAD_FILE.read_bytes()).hexdigest() == record["sha256"]
    assert record["licence"] == "CC0-1.0"
    assert record["package"]["wheel_sha256"].startswith("bad70bdc2be0dfa9")
    assert len(record["sources_sha256"]) >= len(load_head().targets)
    assert HEAD_FILE.stat().st_size < 1.2e6


def test_every_face_unit_of_every_au_exists():
    """Each of the 17 AUs moves face units that the head has."""
    assert tuple(AU_FACE_UNITS) == AU_NAMES
    for code in AU_NAMES:
        assert set(face_unit_weights(np.stack([only(code)] * 2))) <= set(load_head().targets)


def test_same_input_gives_the_same_picture():
    """Rendering is deterministic, picture and landmarks."""
    view = sample_view(3, 1, 2)
    first, points = render_face(PERSON, only("AU12"), view=view)
    second, again = render_face(sample_identity(1, 0), only("AU12"), view=view)
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8 and points.shape == (68, 2)
    assert np.array_equal(first, second) and np.array_equal(points, again)


def test_people_differ_between_numbers_and_families():
    """Identities are drawn from (seed, number): neither repeats the other."""
    faces = [render_face(sample_identity(s, n), NEUTRAL)[0].astype(float) for s, n in ((1, 0), (1, 2), (2, 0))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(faces[a] - faces[b]).mean() > 5


def test_any_prefix_of_people_is_balanced():
    """Sexes alternate, and every six people hold light, medium and dark skin of both sexes."""
    people = [sample_identity(1000, n) for n in range(60)]
    assert [p.female for p in people] == [n % 2 == 0 for n in range(60)]
    for start in range(0, 60, 6):
        tones = sorted((p.melanin, p.female) for p in people[start : start + 6])
        assert tones[1][0] < 0.35 and tones[4][0] > 0.4


@pytest.mark.parametrize(
    ("code", "rows"),
    [("AU45", (38, 64)), ("AU05", (38, 64)), ("AU01", (8, 56)), ("AU12", (60, 115)), ("AU26", (66, 128))],
)
def test_an_au_changes_its_own_region(code, rows):
    """At least 90 % of an AU's change lies in the rows of the face that it names."""
    difference = change(code)
    assert difference[rows[0] : rows[1]].sum() > 0.9 * difference.sum()


@pytest.mark.parametrize("code", AU_NAMES)
def test_every_au_is_visible_at_64_pixels(code):
    """Full intensity changes some 64-px pixels by at least 20 grey levels."""
    difference = change(code).reshape(64, 2, 64, 2).mean((1, 3))
    assert np.sort(difference.ravel())[-12:].mean() > 20


def test_one_sided_au_moves_one_side():
    """Row 0 of 2×17 AUs is the subject's left: the image's right half."""
    sides = np.zeros((2, NUM_AUS), np.float32)
    sides[0, AU_NAMES.index("AU12")] = 1
    difference = np.abs(render_face(PERSON, sides)[0].astype(float) - render_face(PERSON, NEUTRAL)[0]).mean(2)
    assert difference[:, 64:].sum() > 3 * difference[:, :64].sum()


@pytest.mark.parametrize("aus", [np.zeros(16), np.full(17, 1.5), np.full(17, -0.1), np.zeros((3, 17))])
def test_wrong_aus_are_refused(aus):
    """Shape and range of AUs are checked."""
    with pytest.raises(ValueError, match="AUs must be"):
        render_face(PERSON, aus)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("expression", ["neutral", "surprised"])
def test_landmarks_lie_in_the_frame_and_in_anatomical_order(number, expression):
    """68 points inside the picture: brows over eyes over nose over mouth over chin; left is left; jaw goes round."""
    view = sample_view(1, number, 0)
    _, points = render_face(sample_identity(1, number), expression_sides(expression), view=view)
    assert points.min() >= 0 and points.max() < 128
    rows = [points[i, 1].mean() for i in (slice(17, 27), slice(36, 48), slice(30, 36), slice(48, 68), slice(7, 10))]
    assert rows == sorted(rows)
    assert np.all(np.diff(points[0:17, 0]) > -1) and np.all(np.diff(points[17:27, 0]) > 0)
    assert points[36:42, 0].max() < points[42:48, 0].min()
    assert np.all(points[[37, 38, 43, 44], 1] < points[[41, 40, 47, 46], 1])
    assert np.all(np.diff(points[27:31, 1]) > 0) and points[48, 0] < points[51, 0] < points[54, 0]


def test_faces_are_framed_alike():
    """Eye line at 0.37-0.42 of the side, mouth at most at 0.75, for neutral faces without pose."""
    for number in range(12):
        _, points = render_face(sample_identity(1, number), NEUTRAL)
        assert 0.37 < points[36:48, 1].mean() / 128 < 0.42
        assert 0.62 < points[60:68, 1].mean() / 128 < 0.75


def test_landmarks_scale_with_size():
    """The same face at twice the size has twice the coordinates."""
    _, small = render_face(PERSON, NEUTRAL, size=64)
    _, large = render_face(PERSON, NEUTRAL, size=128)
    np.testing.assert_allclose(large, 2 * small, atol=1e-3)


def test_wild_views_differ_from_the_studio():
    """A wild view has a structured background; a studio view a plain one."""

    def roughness(view):
        return render_face(sample_identity(7, 3), NEUTRAL, view=view)[0][:30, :8].std((0, 1)).mean()

    wild = [roughness(wild_view(k)) for k in range(4)]
    studio = [roughness(sample_view(1, 3, k)) for k in range(3)]
    assert np.mean(wild) > 2 * np.mean(studio)


def test_jitter_stays_within_twenty_per_cent():
    """Per-image intensities: the mean of both sides is within ± 20 % of the recipe, clipped to [0, 1]."""
    sides = expression_sides("angry")
    for seed in range(20):
        mean = jittered(sides, np.random.default_rng(seed)).mean(0)
        assert np.all(mean <= np.minimum(sides.mean(0) * (1 + JITTER), 1) + 1e-6)
        assert np.all(mean >= sides.mean(0) * (1 - JITTER) * 0.9)


def test_recipes_name_the_papers_classes():
    """RaFD's eight and CFEED's 22 classes at the papers' counts; every class but neutral has AUs; all differ."""
    for dataset, people, names, variants in (
        ("synthetic_rafd", 67, RAFD_EXPRESSIONS, 3), ("synthetic_cfeed", 230, CFEED_CATEGORIES, 1),
    ):  # fmt: skip
        recipe = RECIPES[dataset]
        assert (recipe.people, recipe.expressions, recipe.variants) == (people, names, variants)
        vectors = {name: tuple(expression_sides(name).mean(0).round(4).tolist()) for name in names}
        assert not any(vectors["neutral"]) and len(set(vectors.values())) >= len(names) - 1
    assert RECIPES["synthetic_rafd"].family != RECIPES["synthetic_cfeed"].family


def test_contempt_is_one_sided_and_labelled_by_the_mean():
    """A person shows contempt on one side, always the same one."""
    number = RAFD_EXPRESSIONS.index("contemptuous")
    column = AU_NAMES.index("AU14")
    plans = [expression_plan(RECIPES["synthetic_rafd"], 0, 5, v)[number][1] for v in range(3)]
    assert all((sides[:, column] > 0).sum() == 1 for sides in plans)
    assert len({int(sides[:, column].argmax()) for sides in plans}) == 1


def test_random_combinations_use_every_au_equally_often():
    """2-5 AUs each; over 1,000 faces every AU comes within 15 % of the mean count; shorter plans are prefixes."""
    recipe = RECIPES["synthetic_rafd"]
    active = np.concatenate([np.stack(random_plan(recipe, 0, n, 20)) for n in range(50)]).mean(1) > 0
    assert active.sum(1).min() >= 2 and active.sum(1).max() <= 5
    counts = active.sum(0)
    assert np.all(np.abs(counts / counts.mean() - 1) < 0.15)
    long, short = random_plan(recipe, 0, 3, 16), random_plan(recipe, 0, 3, 5)
    assert all(np.array_equal(a, b) for a, b in zip(long[:5], short, strict=True))


def test_rasteriser_fills_a_square_without_holes_and_keeps_the_nearest():
    """Two triangles cover every pixel centre of a square once; a nearer triangle wins."""
    points = np.array([[2, 2, 5], [2, 12, 5], [12, 12, 5], [12, 2, 5], [0, 0, 1], [0, 9, 1], [9, 9, 1]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    triangle, weight = np.full((16, 16), -1, np.int32), np.zeros((16, 16, 2), np.float32)
    depth = np.full((16, 16), np.inf, np.float32)
    rasterise(points, triangles, triangle, weight, depth)
    assert (triangle >= 0).sum() == 100 and (triangle[2:12, 2:12] >= 0).all() and np.allclose(depth[2:12, 2:12], 5)
    rasterise(points, np.array([[4, 5, 6]], np.int32), triangle, weight, depth)
    assert depth[6, 3] == pytest.approx(1) and depth[3, 6] == pytest.approx(5)


def test_vertex_normals_of_a_flat_patch():
    """A patch in the xy-plane, counter-clockwise, faces +z."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(vertex_normals(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32)), [[0, 0, 1]] * 4)


def test_box_blur_is_two_means():
    """Against a direct computation of two box filters per axis with clamped edges."""
    image = np.random.default_rng(0).random((9, 11)).astype(np.float32)
    expected = image.astype(float)
    for _ in range(2):
        for axis, n in ((1, 11), (0, 9)):
            index = np.clip(np.arange(n)[:, None] + np.arange(-2, 3), 0, n - 1)
            expected = np.take(expected, index, axis).mean(axis + 1)
    np.testing.assert_allclose(box_blur(image, 2), expected, atol=1e-5)


def test_default_view_is_frontal():
    """Without a view the face looks straight at the camera: landmarks are nearly symmetric."""
    _, points = render_face(PERSON, NEUTRAL, view=View())
    assert abs((points[0, 0] + points[16, 0]) / 2 - 64) < 2
