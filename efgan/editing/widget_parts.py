"""The parts of the notebook's panels: each shows a value and tells of clicks, none knows of models or sessions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from efgan.data.action_units import AU_NAMES, CFEED_CATEGORIES, MAX_INTENSITY, RAFD_EXPRESSIONS
from efgan.editing.edit_state import AU_GROUPS, MAX_STRENGTH, EditState, label_of
from efgan.editing.pictures import data_url, encode_jpeg

PICTURE_WIDTH, STRIP_WIDTH, THUMB_WIDTH = 512, 148, 64  # pixels sent to the browser, which fits them to its layout
COMPOUND = tuple(name for name in CFEED_CATEGORIES if name not in RAFD_EXPRESSIONS)
STYLE = Path(__file__).with_name("panel.css").read_text(encoding="utf-8")


def heading(text: str) -> widgets.HTML:
    """A small heading."""
    return widgets.HTML(f'<div class="efgan-heading">{text}</div>', layout=widgets.Layout(margin="0"))


def note(text: str = "") -> widgets.HTML:
    """A line of smaller text."""
    return widgets.HTML(f'<div class="efgan-note">{text}</div>', layout=widgets.Layout(margin="0"))


def box(kind: type[widgets.Box], css: str, *children: widgets.Widget) -> widgets.Box:
    """A box of that look."""
    return kind(list(children)).add_class(css)


def mark(widget: widgets.DOMWidget, name: str, on: bool) -> None:
    """Adds or removes a CSS class; nothing is sent when nothing changes."""
    if on != (name in widget._dom_classes):
        (widget.add_class if on else widget.remove_class)(name)


def move(slider: widgets.FloatSlider, value: float, low: float | None = None) -> None:
    """Moves a slider, and its lower end, without an answer from the browser.

    noUiSlider, which draws the sliders, rounds every value to a step, clips it to the range, and sends what differs
    from what it got as if a person had moved it; that answer can come after the next click and undo a part of it. So
    the range and the value go in one message, and the value is the one that noUiSlider's arithmetic leaves alone.

    Args:
        slider: whose steps and range count.
        value: brought to the nearest step in the range.
        low: the new lower end; None keeps it.
    """
    low = slider.min if low is None else low
    span = slider.max - low
    step = slider.step * 100 / span
    percent = min(max(round((value - low) * 100 / span / step), 0) * step, 100.0)
    with slider.hold_sync(), slider.hold_trait_notifications():
        slider.min, slider.value = low, percent * span / 100 + low


class Part:
    """A widget made of others; its text is short, as ipywidgets can only spell those without arguments."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class FaceGallery(Part, widgets.VBox):
    """Thumbnails to click.

    Args:
        on_choose: called with the position of the clicked face.
    """

    def __init__(self, on_choose: Callable[[int], None]) -> None:
        self._on_choose = on_choose
        self._style = widgets.HTML(layout=widgets.Layout(display="none"))
        self._faces = box(widgets.Box, "efgan-faces")
        super().__init__([self._style, self._faces])

    def show_faces(self, pictures: Sequence[np.ndarray], names: Sequence[str]) -> None:
        """Fills the gallery.

        Args:
            pictures: uint8 S×S×3 each.
            names: shown when the mouse rests on a face.
        """
        buttons, rules = [], []
        for k, (picture, name) in enumerate(zip(pictures, names, strict=True)):
            button = widgets.Button(tooltip=name).add_class(css := f"efgan-face-{id(self)}-{k}")
            button.on_click(lambda _, k=k: self._on_choose(k))
            rules.append(f'.{css} {{ background-image: url("{data_url(encode_jpeg(picture, THUMB_WIDTH))}") }}')
            buttons.append(button)
        self._style.value = f"<style>{' '.join(rules)}</style>"
        self._faces.children = buttons

    def show(self, chosen: int) -> None:
        """Frames the chosen face."""
        for k, button in enumerate(self._faces.children):
            mark(button, "efgan-on", k == chosen)


class Comparison(Part, widgets.VBox):
    """A large picture: hold the mouse on it to see the one before, or wipe between the two.

    Holding is done by the browser alone; the wipe is drawn here.
    """

    def __init__(self) -> None:
        self._before = widgets.Image(format="jpeg")
        self._after = widgets.Image(format="jpeg")
        self._pictures: tuple[np.ndarray, np.ndarray] | None = None
        self.wipe = widgets.FloatSlider(value=0, min=0, max=1, step=0.01, readout=False)
        self.wipe.observe(lambda _: self._draw(), "value")
        wipe = box(widgets.HBox, "efgan-wipe", note("edit"), self.wipe, note("original"))
        super().__init__([box(widgets.Box, "efgan-picture", self._before, self._after), wipe])

    @property
    def picture(self) -> bytes:
        """The JPEG that is seen."""
        return self._after.value

    def show(self, before: np.ndarray, after: np.ndarray) -> None:
        """Shows two pictures, uint8 S×S×3."""
        if self._pictures is None or self._pictures[0] is not before:
            self._before.value = encode_jpeg(before, PICTURE_WIDTH)
        self._pictures = before, after
        self._draw()

    def _draw(self) -> None:
        if self._pictures is not None:
            self._after.value = encode_jpeg(self._pictures[1], PICTURE_WIDTH, self._pictures[0], self.wipe.value)


class FilmStrip(Part, widgets.HBox):
    """Small pictures side by side with words below."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("efgan-strip")
        self._captions: list[str] = []
        self._images: list[widgets.Image] = []

    def show(self, pictures: dict[str, np.ndarray]) -> None:
        """Shows pictures (uint8 S×S×3) by caption; those in place are exchanged without a flicker."""
        if self._captions != list(pictures):
            self._captions = list(pictures)
            self._images = [widgets.Image(format="jpeg") for _ in pictures]
            self.children = [
                widgets.VBox([image, widgets.HTML(caption)])
                for image, caption in zip(self._images, self._captions, strict=True)
            ]
        for image, picture in zip(self._images, pictures.values(), strict=True):
            image.value = encode_jpeg(picture, STRIP_WIDTH)


class ExpressionButtons(Part, widgets.VBox):
    """The preset expressions, basic and compound, and their intensity.

    Args:
        on_press: called with the expression's name.
        on_strength: called with the intensity.
    """

    def __init__(self, on_press: Callable[[str], None], on_strength: Callable[[float], None]) -> None:
        self.buttons = {name: self._button(name, on_press) for name in (*RAFD_EXPRESSIONS, *COMPOUND)}
        self.strength = widgets.FloatSlider(min=0, max=MAX_STRENGTH, step=0.05, readout_format=".0%",
                                            description="intensity", layout=widgets.Layout(width="100%"),
                                            style={"description_width": "62px"})  # fmt: skip
        self.strength.observe(lambda change: on_strength(change["new"]), "value")
        basic = box(widgets.Box, "efgan-expressions", *(self.buttons[name] for name in RAFD_EXPRESSIONS))
        compound = box(widgets.Box, "efgan-expressions", *(self.buttons[name] for name in COMPOUND))
        super().__init__([basic, compound.add_class("efgan-small"), self.strength])

    def show(self, state: EditState) -> None:
        """Marks the expression that is asked for."""
        move(self.strength, state.strength)
        for name, button in self.buttons.items():
            mark(button, "efgan-on", name == state.expression)

    @staticmethod
    def _button(name: str, on_press: Callable[[str], None]) -> widgets.Button:
        button = widgets.Button(description=name.replace("_", " "))
        button.on_click(lambda _: on_press(name))
        return button


class AUSliders(Part, widgets.Box):
    """Seventeen sliders by region of the face, in two columns of equal height.

    Args:
        on_move: called with an AU's code and its new value.
    """

    def __init__(self, on_move: Callable[[str, float], None]) -> None:
        self.sliders = {code: self._slider(code, on_move) for code in AU_NAMES}
        columns = [
            widgets.VBox([part for region in regions for part in
                          (heading(region), *(self.sliders[code] for code in AU_GROUPS[region]))])
            for regions in (("brows", "eyes", "nose"), ("mouth",))
        ]  # fmt: skip
        super().__init__(columns)
        self.add_class("efgan-aus")

    def show(self, state: EditState, source_aus: np.ndarray) -> None:
        """Moves all sliders; those that change the face stand out.

        Args:
            state: what is asked for.
            source_aus: the face's own AUs, 17 in 0-5.
        """
        low = -MAX_INTENSITY if state.relative else 0.0
        target = state.target_aus(source_aus)
        for i, (slider, value) in enumerate(zip(self.sliders.values(), state.values, strict=True)):
            move(slider, value, low)
            mark(slider, "efgan-moved", bool(abs(target[i] - source_aus[i]) > 0.05))

    @staticmethod
    def _slider(code: str, on_move: Callable[[str, float], None]) -> widgets.FloatSlider:
        slider = widgets.FloatSlider(min=0, max=MAX_INTENSITY, step=0.1, readout_format=".1f",
                                     description=label_of(code), style={"description_width": "158px"})  # fmt: skip
        slider.observe(lambda change: on_move(code, change["new"]), "value")
        return slider
