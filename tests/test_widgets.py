"""The notebook's panels: a control's value becomes an edit, and what goes wrong is told in the panel."""

import asyncio
import math
from datetime import UTC, datetime

import ipywidgets as widgets
import numpy as np
import pytest
from conftest import make_faces
from fake_results import trained_run

from efgan.data.action_units import AU_NAMES
from efgan.editing.attention import stage_maps
from efgan.editing.attention_panel import AttentionPanel, draw_page
from efgan.editing.editor import Editor
from efgan.editing.session import EditSession
from efgan.editing.widget_parts import move
from efgan.editing.widgets import TRANSFER, EditPanel


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {name: trained_run(root, name) for name in ("stargan", "local_focus", "cascade_ef_gan")}


@pytest.fixture
def panel(runs, tmp_path):
    return EditPanel(EditSession(runs, make_faces(), tmp_path, method="cascade_ef_gan", shipped=False))


@pytest.fixture
def asked(monkeypatch):
    """Target AUs (0-5) of every call of the editor."""
    calls = []
    original = Editor.edit_batch

    def noted(self, images, source_aus, target_aus, *args, **options):
        calls.append(5 * target_aus[0].numpy())
        return original(self, images, source_aus, target_aus, *args, **options)

    monkeypatch.setattr(Editor, "edit_batch", noted)
    return calls


def test_setting_a_slider_calls_the_editor_once_and_changes_the_picture(panel, asked):
    """The AU goes to the model as set; one movement, one edit."""
    before = panel.picture.picture
    panel.sliders.sliders["AU12"].value = 4.2
    assert len(asked) == 1 and asked[0][AU_NAMES.index("AU12")] == pytest.approx(4.2)
    assert panel.picture.picture != before and panel.picture.picture[:2] == b"\xff\xd8"


def test_a_preset_moves_all_sliders_with_one_edit(panel, asked):
    """Contempt, then a compound one; moving the sliders ourselves edits nothing again."""
    panel.expressions.buttons["contemptuous"].click()
    panel.expressions.buttons["happily_surprised"].click()
    assert len(asked) == 2
    shown = [slider.value for slider in panel.sliders.sliders.values()]
    np.testing.assert_allclose(shown, asked[-1], atol=1e-3)
    assert "efgan-on" in panel.expressions.buttons["happily_surprised"]._dom_classes


def test_intensity_follows_the_preset(panel, asked):
    """Half the strength, half the AUs."""
    panel.expressions.buttons["happy"].click()
    panel.expressions.strength.value = 0.7
    np.testing.assert_allclose(asked[1], asked[0] / 2, atol=1e-3)


def test_reset_shows_the_first_picture_again(panel):
    """Byte by byte, after all kinds of changes."""
    first = panel.picture.picture
    panel.meaning.value = True
    panel.random.click()
    panel.overlay.value = True
    panel.overlay.value = False
    panel.meaning.value = False
    assert panel.picture.picture != first
    panel.reset.click()
    assert panel.picture.picture == first


def test_sliders_relative_to_the_face_ask_for_the_same(panel, asked):
    """Only their meaning and range change."""
    panel.sliders.sliders["AU04"].value = 3.0
    panel.meaning.value = True
    np.testing.assert_allclose(asked[1], asked[0], atol=1e-3)
    assert panel.sliders.sliders["AU04"].min == -5
    panel.meaning.value = False
    assert panel.sliders.sliders["AU04"].min == 0 and panel.sliders.sliders["AU04"].value == pytest.approx(3.0)


def rounded_by_the_browser(value, low, high, step):
    """noUiSlider 15: toStepping, getStep, fromStepping, in JavaScript's doubles, which are Python's."""
    value = min(max(value, low), high)
    shifted = value + abs(low) if low < 0 else value - low
    percent = shifted * 100 / (high - low)
    percent_step = step * 100 / (high - low)
    percent = 100.0 if percent == 100 else math.floor(percent / percent_step + 0.5) * percent_step
    return high if percent >= 100 else percent * (high - low) / 100 + low


@pytest.mark.parametrize(("low", "high", "step"), [(0, 5, 0.1), (-5, 5, 0.1), (0, 1.6, 0.05)])
def test_the_browser_agrees_with_every_slider_we_move(low, high, step):
    """What it would change, it would send back, as if a person had."""
    slider = widgets.FloatSlider(min=0, max=high, step=step)
    for value in np.linspace(low, high, 997):
        move(slider, float(value), low)
        assert slider.value == rounded_by_the_browser(slider.value, low, high, step)
        assert slider.value == pytest.approx(value, abs=step / 2 + 1e-9)


def test_range_and_value_of_a_slider_go_in_one_message(monkeypatch):
    """A range alone would clip the old value in the browser, and that would come back."""
    slider, sent = widgets.FloatSlider(min=-5, max=5, value=-2, step=0.1), []
    monkeypatch.setattr(slider, "send_state", lambda key=None: sent.append(set(key)))
    move(slider, 3.0, low=0.0)
    assert sent == [{"min", "value"}] and (slider.min, slider.value) == (0, 3)


def test_a_click_on_a_face_edits_it_or_copies_its_expression(panel, asked):
    """As the switch above the faces says."""
    panel.gallery._faces.children[3].click()
    assert panel.session.state.face == 3
    panel.click.value = TRANSFER
    panel.gallery._faces.children[5].click()
    assert panel.session.state.face == 3
    np.testing.assert_allclose(asked[-1], panel.session.faces[5].aus, atol=1e-3)


def test_parts_of_the_model_and_its_stages_are_chosen(panel):
    """Two stages show two pictures after the source; all stages are the whole model."""
    panel.stages.value = 2
    assert len(panel.strip.children) == 3 and panel.session.state.stages == 2
    panel.stages.value = 3
    assert len(panel.strip.children) == 4 and panel.session.state.stages is None
    panel.local.value = False
    assert not panel.session.state.local_branches
    panel.method.value = "local_focus"
    assert panel.stages.disabled and len(panel.strip.children) == 2 and panel.local.value


def test_the_wipe_needs_no_edit(panel, asked):
    """It redraws the picture alone."""
    panel.sliders.sliders["AU12"].value = 5.0
    before = panel.picture.picture
    panel.picture.wipe.value = 0.5
    assert len(asked) == 1 and panel.picture.picture != before


def test_errors_are_told_in_the_panel(panel):
    """StarGAN without an expression; then the panel goes on."""
    panel.method.value = "stargan"
    assert "press one of the expressions" in panel.message.value
    panel.expressions.buttons["happy"].click()
    assert panel.message.value == ""


def test_a_broken_upload_harms_nothing(panel):
    """The panel says which file; the face, the picture and the sliders stay."""
    before = panel.picture.picture
    panel.upload.value = ({"name": "broken.png", "type": "image/png", "size": 3, "content": memoryview(b"abc"),
                           "last_modified": datetime.now(UTC)},)  # fmt: skip
    assert "broken" in panel.message.value and panel.picture.picture == before
    panel.path.value = "no/such/file.png"
    assert "no such file" in panel.message.value
    panel.sliders.sliders["AU25"].value = 5.0
    assert panel.message.value == "" and panel.picture.picture != before


def test_an_unexpected_error_is_told_too(panel, monkeypatch):
    """A bug in one request must not end the session."""
    monkeypatch.setattr(EditSession, "edited", lambda self: 1 / 0)
    panel.sliders.sliders["AU01"].value = 2.0
    assert "ZeroDivisionError" in panel.message.value


def test_all_methods_side_by_side(panel):
    """The source and every method that can do it, by its name in the paper."""
    panel.compare.value = True
    names = [cell.children[1].value for cell in panel.methods.children]
    assert names == ["source", "Baseline + Local Focuses", "Cascade EF-GAN"]
    panel.compare.value = False
    assert not panel.methods.children


def test_while_a_person_goes_on_no_comparison_is_begun(panel):
    """In a notebook it waits for a pause; a newer request cancels the older one."""

    async def play():
        panel.compare.value = True
        for value in (1.0, 2.0, 3.0):
            panel.sliders.sliders["AU12"].value = value
            await asyncio.sleep(0.01)
        assert not panel.methods.children
        await panel._comparing

    asyncio.run(play())
    assert len(panel.methods.children) == 3


def test_what_is_saved_is_shown(panel):
    """File, download and the words that repeat it."""
    panel.expressions.buttons["happy"].click()
    panel.save.click()
    assert "download=" in panel.saved.value and ".png" in panel.saved.value
    panel.animate.click()
    assert ".gif" in panel.saved.value and panel.message.value == ""
    panel.film.click()
    assert "<video" in panel.saved.value and ".mp4" in panel.saved.value


def test_the_attention_panel_follows_its_slider(runs, tmp_path):
    """Every movement draws the page anew; face, method and expression too."""
    session = EditSession(runs, make_faces(), tmp_path, method="cascade_ef_gan", shipped=False)
    panel = AttentionPanel(session, "AU26")
    pages = [panel.page.value]
    panel.value.value = 4.0
    pages.append(panel.page.value)
    panel.expression.value = "surprised"
    pages.append(panel.page.value)
    panel.method.value = "local_focus"
    pages.append(panel.page.value)
    assert len(set(pages)) == 4 and panel.message.value == ""


def test_the_page_carries_every_maps_values(runs, tmp_path):
    """Nine columns for three stages; three maps a stage, each with its mean and its values to point at."""
    session = EditSession(runs, make_faces(), tmp_path, method="cascade_ef_gan", shipped=False)
    page = draw_page(stage_maps(session.edited(), session.editor().focus_boxes))
    assert page.count("<figure") == 27 and page.count('data-side="64"') == 9 and page.count("mean 0.") >= 9
    assert "data-data=" not in page and page.count('data-values="') == 9
