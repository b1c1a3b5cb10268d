"""What a run looks at: figures of any session, means over the test set, the way through AU space."""

import pytest
from conftest import make_faces
from fake_results import trained_run

from efgan.editing.session import EditSession
from efgan.errors import UserError
from efgan.exhibits import attention
from efgan.exhibits.attention import mean_attention, mean_attention_figure, path_figure, stages_figure, sweep_figure


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    runs = {name: trained_run(root, name) for name in ("stargan", "local_focus", "cascade_ef_gan")}
    session = EditSession(runs, make_faces(), root, method="cascade_ef_gan", shipped=False)
    session.state = session.state.with_expression("happy")
    return session


@pytest.fixture(scope="module")
def means(session):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "load_faces", lambda config: make_faces(people=8))
        return mean_attention(session.editor(), limit=16)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text")))


def test_every_stage_and_its_means_are_shown(session):
    """Three rows of nine, with the mean of every map."""
    words = texts(stages_figure(session))
    assert all(f"stage {k}" in words for k in (1, 2, 3)) and "global 0." in words and "Refiner 0." in words


def test_a_sweep_leaves_the_session_as_it_was(session):
    """It shows the edit and both attentions for every intensity."""
    before = session.state
    assert "AU12 lip corner puller" in texts(sweep_figure(session, "AU12"))
    assert session.state == before


def test_means_are_over_all_expressions_and_both_branches(means):
    """Shares of a branch lie in [0, 100]; stitched local attention lies inside the boxes alone."""
    table = means.table()
    assert set(table["branch"]) == {"local", "global"} and table["edits"].sum() == 2 * 16
    assert table.filter(like="%").stack().between(0, 100).all()
    assert (table.loc[table["branch"] == "local", "elsewhere %"] == 0).all()
    assert "surprised" in texts(mean_attention_figure(means))


def test_the_way_through_au_space_needs_an_interpolator(session, means):
    """A cascade's is drawn against the straight line; a single stage has none, which is said."""
    words = texts(path_figure(session, means.natural))
    assert "Interpolator" in words and "straight line" in words
    before, session.state = session.state, session.state.with_method("local_focus")
    with pytest.raises(UserError, match="has no Interpolator"):
        path_figure(session, means.natural)
    session.state = before


def test_stargan_has_no_attention(session):
    """In words, not with an empty picture."""
    with pytest.raises(UserError, match="no attention"):
        mean_attention(session.editor("stargan"))
