"""The editor's state: every click is a pure function; values are OpenFace's 0-5."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efgan.data.action_units import AU_NAMES, CFEED_CATEGORIES, MAX_INTENSITY, RAFD_EXPRESSIONS, prototype_aus
from efgan.editing.edit_state import AU_GROUPS, MAX_STRENGTH, EditState, label_of
from efgan.errors import UserError

SMILING = np.zeros(17, np.float32)
SMILING[AU_NAMES.index("AU12")], SMILING[AU_NAMES.index("AU06")] = 3.0, 2.0
NEUTRAL = np.zeros(17, np.float32)
intensities = st.lists(st.floats(0, 5, width=32), min_size=17, max_size=17).map(lambda v: np.array(v, np.float32))


def test_every_au_has_one_slider_in_one_group():
    """Seventeen sliders, grouped brows, eyes, nose, mouth, named by code and plain words."""
    assert sorted(code for group in AU_GROUPS.values() for code in group) == list(AU_NAMES)
    assert list(AU_GROUPS) == ["brows", "eyes", "nose", "mouth"]
    assert label_of("AU12") == "AU12 lip corner puller"


def test_absolute_sliders_are_the_target():
    """Whatever the face shows."""
    target = EditState().with_au("AU12", 4.0).target_aus(SMILING)
    assert target[AU_NAMES.index("AU12")] == 4 and target.sum() == 4


def test_relative_sliders_add_to_the_face_and_stay_in_range():
    """3 + 1.5 = 4.5; 3 + 4 is cut at 5; 2 - 5 at 0."""
    state = EditState(relative=True)
    index = AU_NAMES.index("AU12")
    assert state.with_au("AU12", 1.5).target_aus(SMILING)[index] == 4.5
    assert state.with_au("AU12", 4).target_aus(SMILING)[index] == 5
    assert state.with_au("AU06", -5).target_aus(SMILING)[AU_NAMES.index("AU06")] == 0


@given(source=intensities, wanted=intensities)
def test_changing_the_meaning_of_the_sliders_changes_no_target(source, wanted):
    """Absolute → relative → absolute asks for the same AUs all along."""
    state = EditState().with_target(wanted, source)
    relative = state.with_relative(True, source)
    np.testing.assert_allclose(relative.target_aus(source), wanted, atol=2e-4)
    np.testing.assert_allclose(relative.with_relative(False, source).target_aus(source), wanted, atol=4e-4)


@pytest.mark.parametrize("name", sorted({*RAFD_EXPRESSIONS, *CFEED_CATEGORIES}))
def test_every_preset_is_its_prototype_times_the_strength(name):
    """Contempt and the compound ones too; the strongest never leaves 0-5."""
    state = EditState().with_expression(name, 0.5)
    np.testing.assert_allclose(state.target_aus(SMILING), prototype_aus(name) * 2.5, atol=1e-4)
    assert max(state.with_strength(MAX_STRENGTH).values) <= MAX_INTENSITY


def test_strength_follows_the_preset_until_a_slider_is_moved():
    """Then it waits for the next preset."""
    happy = EditState().with_expression("happy", 1.0)
    assert happy.with_strength(0.5).values[AU_NAMES.index("AU12")] == 1.5
    moved = happy.with_au("AU26", 2.0)
    assert moved.expression is None and moved.with_strength(0.5).values == moved.values
    assert moved.with_strength(0.5).with_expression("happy").values[AU_NAMES.index("AU12")] == 1.5


@pytest.mark.parametrize("relative", [False, True])
def test_reset_asks_for_the_face_as_it_is(relative):
    """In both meanings of the sliders."""
    state = EditState(relative=relative).with_au("AU04", 3.0)
    assert not state.is_untouched(SMILING)
    assert state.reset(SMILING).is_untouched(SMILING) and not state.reset(SMILING).changes(SMILING)


@pytest.mark.parametrize("relative", [False, True])
def test_another_faces_expression_is_copied_exactly(relative):
    """Transfer: the target is the other face's AUs."""
    state = EditState(relative=relative).with_target(SMILING, NEUTRAL + 1)
    np.testing.assert_allclose(state.target_aus(NEUTRAL + 1), SMILING)


def test_another_source_keeps_the_request_but_an_untouched_face_stays_untouched():
    """Choosing a face never edits it by itself."""
    asked = EditState().with_expression("angry").with_face(3, NEUTRAL, SMILING)
    assert asked.face == 3 and asked.expression == "angry"
    assert EditState().reset(NEUTRAL).with_face(3, NEUTRAL, SMILING).is_untouched(SMILING)


def test_random_requests_are_sparse_in_range_and_repeatable():
    """Two to five AUs; the same generator state gives the same."""
    for seed in range(20):
        target = EditState().with_random(np.random.default_rng(seed), NEUTRAL).target_aus(NEUTRAL)
        assert 2 <= (target > 0).sum() <= 5 and target.max() <= 5
        again = EditState().with_random(np.random.default_rng(seed), NEUTRAL).target_aus(NEUTRAL)
        assert (again == target).all()


def test_a_command_names_what_differs_from_the_face():
    """Absolute intensities, or signed changes; what stays is not named."""
    state = EditState().with_target(SMILING, SMILING).with_au("AU12", 4.5)
    assert state.changes(SMILING) == {"AU12": 4.5}
    assert state.with_relative(True, SMILING).changes(SMILING) == {"AU12": 1.5}


@pytest.mark.parametrize(("code", "value", "words"), [
    ("AU99", 1.0, "unknown Action Unit 'AU99'"), ("AU12", 5.1, "out of range: 0 to 5"),
    ("AU12", -1.0, "out of range: 0 to 5"),
])  # fmt: skip
def test_bad_requests_are_refused_in_words(code, value, words):
    """An unknown AU, or an intensity beyond OpenFace's scale."""
    with pytest.raises(UserError, match=words):
        EditState().with_au(code, value)


def test_an_unknown_expression_is_told():
    """What was asked for, and what there is."""
    with pytest.raises(UserError, match="unknown expression 'jolly': choose one of neutral, angry"):
        EditState().with_expression("jolly")
