"""The notebook's view into the branches: attention, colours and initial outputs of every stage, live."""

import base64
from functools import cache
from pathlib import Path

import ipywidgets as widgets
import jinja2
import numpy as np

from efgan.data.action_units import AU_NAMES
from efgan.editing.attention import StageMaps, colour_limit, stage_maps
from efgan.editing.edit_state import EXPRESSIONS, label_of
from efgan.editing.panel import Panel
from efgan.editing.pictures import colour_map, data_url, encode_jpeg, encode_png
from efgan.editing.session import EditSession
from efgan.editing.widget_parts import STYLE, FaceGallery, box, heading, move
from efgan.errors import UserError
from efgan.experiments import find_experiment

_STOPS = 9  # of the colour scale's gradient


class AttentionPanel(Panel):
    """Choose a face and an expression, move one Action Unit, and watch every map follow.

    Args:
        session: see `efgan.editing.session.open_session`; its state is shown first.
        sweep: the Action Unit of the slider.
    """

    def __init__(self, session: EditSession, sweep: str = "AU12") -> None:
        if session.state.method == "stargan":
            raise UserError("StarGAN has no attention: choose a run of another method")
        super().__init__(session)
        self.gallery = FaceGallery(self._choose)
        names = [(find_experiment(name).method, name) for name in session.runs if name != "stargan"]
        self.method = widgets.Dropdown(options=names, value=session.state.method, layout={"width": "170px"})
        options = [("as chosen by the sliders", None), *((name.replace("_", " "), name) for name in EXPRESSIONS)]
        self.expression = widgets.Dropdown(options=options, value=session.state.expression, layout={"width": "170px"})
        self.code = widgets.Dropdown(options=[(label_of(code), code) for code in AU_NAMES], value=sweep,
                                     layout={"width": "210px"})  # fmt: skip
        self.value = widgets.FloatSlider(min=0, max=5, step=0.1, readout_format=".1f", layout={"width": "300px"})
        self.page = widgets.HTML().add_class("efgan-live")
        self.on_value(self.method, lambda state, value: state.with_method(value))
        self.on_value(self.expression, lambda state, value: state.with_expression(value) if value else state)
        self.on_value(self.value, lambda state, value: state.with_au(self.code.value, value))
        self.code.observe(lambda _: self.show(), "value")
        self.children = [
            widgets.HTML(f"<style>{STYLE}</style>", layout=widgets.Layout(display="none")),
            box(widgets.HBox, "efgan-actions", heading("method"), self.method, heading("target"), self.expression,
                heading("then move"), self.code, self.value),
            self.gallery.add_class("efgan-wide"), self.message, self.page,
        ]  # fmt: skip
        self.gallery.show_faces([face.image for face in session.faces], [face.name for face in session.faces])
        self.show()

    def show_edit(self) -> None:
        """Draws all maps of what the state asks for."""
        maps = stage_maps(self.session.edited(), self.session.editor().focus_boxes)
        self.page.value = draw_page(maps)

    def show_controls(self) -> None:
        """Moves the controls to the state."""
        state = self.session.state
        self.gallery.show(state.face)
        self.method.value, self.expression.value = state.method, state.expression
        move(self.value, float(state.target_aus(self.session.face.aus)[AU_NAMES.index(self.code.value)]))

    def _choose(self, index: int) -> None:
        own, aus = self.session.face.aus, self.session.faces[index].aus
        self.change(lambda state: state.with_face(index, own, aus))


def draw_page(stages: list[StageMaps]) -> str:
    """HTML with all pictures and maps of an edit, one row per stage; pointing at a pixel reads every map there.

    Args:
        stages: see `stage_maps`.
    """
    limit = colour_limit([picture for stage in stages for picture in stage.columns.values() if picture.ndim == 2])
    names = [f"stage {k}" for k in range(1, len(stages) + 1)] if len(stages) > 1 else [""]
    rows = [{"name": name, "cells": [_cell(heading, picture, limit) for heading, picture in stage.columns.items()]}
            for name, stage in zip(names, stages, strict=True)]  # fmt: skip
    stops = colour_map(np.linspace(0, 1, _STOPS)[None])[0]
    colours = ", ".join(f"rgb({r} {g} {b})" for r, g, b in stops.tolist())
    return _template().render(headings=list(stages[0].columns), rows=rows, limit=f"{limit:.1f}", colours=colours)


def _cell(name: str, picture: np.ndarray, limit: float) -> dict[str, object]:
    if picture.ndim == 3:
        return {"name": name, "url": data_url(encode_jpeg(picture, picture.shape[1])), "mean": "", "side": 0}
    data = base64.b64encode((picture.clip(0, 1) * 255).round().astype(np.uint8).tobytes()).decode()
    return {"name": name, "url": data_url(encode_png(colour_map(picture / limit)), "image/png"),
            "mean": f"mean {picture.mean():.2f}", "data": data, "side": picture.shape[0]}  # fmt: skip


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(
        "attention.html.j2"
    )
