"""The notebook's editor: a view of one `EditSession`, of plain ipywidgets.

Every click and every movement of a slider makes the next state, edits, and shows. While an edit is computed, the
browser keeps only the newest value of a slider that is being dragged (ipywidgets sends the next one when the kernel is
idle), so no queue builds up.
"""

import asyncio
import html
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from efgan.editing.edit_state import EditState
from efgan.editing.panel import Panel
from efgan.editing.pictures import data_url, overlay_attention
from efgan.editing.repeat import edit_command, python_call
from efgan.editing.session import Edited, EditSession
from efgan.editing.widget_parts import (
    STYLE,
    AUSliders,
    Comparison,
    ExpressionButtons,
    FaceGallery,
    FilmStrip,
    box,
    heading,
)
from efgan.errors import UserError
from efgan.experiments import find_experiment

COMPARE_AFTER = 0.3  # seconds without a change, before all methods are run
EDIT, TRANSFER = "edit it", "copy its expression"


class EditPanel(Panel):
    """The editor as a widget: show it as the last line of a cell.

    Args:
        session: see `open_session`.
    """

    def __init__(self, session: EditSession) -> None:
        super().__init__(session)
        self._comparing: asyncio.Task | None = None
        self._make_controls()
        self._connect()
        self.children = self._layout()
        self._show_faces()
        self.show()

    def _make_controls(self) -> None:
        self.gallery = FaceGallery(self._choose_face)
        self.click = widgets.ToggleButtons(options=[EDIT, TRANSFER])
        self.upload = widgets.FileUpload(
            accept="image/*",
            description="your photo",
            tooltip="JPEG, PNG, WebP, … up to 7 MB; larger ones by their path",
        )
        self.path = widgets.Text(placeholder="or its path, then Enter", continuous_update=False)
        self.picture = Comparison()
        self.strip, self.methods = FilmStrip(), FilmStrip()
        self.expressions = ExpressionButtons(
            lambda name: self.change(lambda state: state.with_expression(name)),
            lambda strength: self.change(lambda state: state.with_strength(strength)),
        )
        self.sliders = AUSliders(lambda code, value: self.change(lambda state: state.with_au(code, value)))
        self.meaning = widgets.ToggleButtons(options=[("absolute", False), ("relative to the face", True)])
        self.reset = widgets.Button(description="reset", icon="undo")
        self.random = widgets.Button(description="random", icon="random")
        names = [(find_experiment(name).method, name) for name in self.session.runs]
        self.method = widgets.Dropdown(options=names, value=self.session.state.method)
        self.stages = widgets.ToggleButtons(options=[("1", 1)])
        self.local = widgets.Checkbox(value=True, description="local branches", indent=False)
        self.overlay = widgets.Checkbox(description="show attention", indent=False)
        self.compare = widgets.ToggleButton(description="compare all methods", icon="columns")
        self.save = widgets.Button(description="picture", icon="download")
        self.animate = widgets.Button(description="animation", icon="film")
        self.film = widgets.Button(description="video", icon="video-camera")
        self.repeat = widgets.Button(description="command & code", icon="terminal")
        self.about, self.remark, self.saved = widgets.HTML(), widgets.HTML(), widgets.HTML()

    def _connect(self) -> None:
        """What each control does to the state."""
        session = self.session
        self.on_value(self.meaning, lambda state, value: state.with_relative(value, session.face.aus))
        self.on_value(self.method, lambda state, value: state.with_method(value))
        self.on_value(self.stages, self._with_stages)
        self.on_value(self.local, lambda state, value: replace(state, local_branches=value))
        self.on_value(self.overlay, lambda state, value: replace(state, overlay=value))
        self.reset.on_click(lambda _: self.change(lambda state: state.reset(session.face.aus)))
        self.random.on_click(lambda _: self.change(lambda state: state.with_random(session.random, session.face.aus)))
        self.compare.observe(lambda _: self._compare_soon(wait=0), "value")
        self.upload.observe(self._upload, "value")
        self.path.observe(self._open_path, "value")
        self.save.on_click(lambda _: self._save(session.save_picture))
        self.animate.on_click(lambda _: self._save(session.save_animation))
        self.film.on_click(lambda _: self._save(lambda: session.save_animation("mp4")))
        self.repeat.on_click(lambda _: self._show_command())

    def _with_stages(self, state: EditState, value: int) -> EditState:
        return replace(state, stages=value if value != self.session.editor().num_stages else None)

    def _layout(self) -> list[widgets.Widget]:
        left = box(widgets.VBox, "efgan-left", heading("faces: a click will"), self.click, self.gallery,
                   self.upload, self.path, self.remark)  # fmt: skip
        for part in (self.upload, self.path):
            part.layout.width = "calc(100% - 4px)"
        middle = box(widgets.VBox, "efgan-middle", self.picture, heading("from source to edit"), self.strip)
        actions = box(widgets.HBox, "efgan-actions", self.meaning, self.reset, self.random)
        right = box(widgets.VBox, "efgan-right", heading("expression"), self.expressions,
                    heading("action units, 0 to 5"), actions, self.sliders)  # fmt: skip
        model = box(widgets.HBox, "efgan-actions", heading("method"), self.method, heading("stages"), self.stages,
                    self.local, self.overlay, self.compare)  # fmt: skip
        save = box(widgets.HBox, "efgan-actions", heading("save"), self.save, self.animate, self.film, self.repeat)
        self.method.layout.width = "210px"
        return [widgets.HTML(f"<style>{STYLE}</style>", layout=widgets.Layout(display="none")), model, self.message,
                box(widgets.HBox, "efgan-columns", left, middle, right), self.methods, self.about, save,
                self.saved.add_class("efgan-saved")]  # fmt: skip

    def show_edit(self) -> None:
        """The edit, its stages, and in a moment all methods if they are asked for."""
        self.saved.value = ""  # the command of another edit
        self._compare_soon(wait=COMPARE_AFTER)
        self._show_pictures(self.session.edited())

    def _show_pictures(self, edited: Edited) -> None:
        face, steps, overlay = edited.face, edited.stage_images, self.session.state.overlay
        attention = [edited.attention(k) if overlay else None for k in range(len(steps))]
        self.picture.show(face.image, overlay_attention(edited.image, edited.attention() if overlay else None))
        names = [f"stage {k}" for k in range(1, len(steps))] + ["edit"]
        shown = [overlay_attention(*pair) for pair in zip(steps, attention, strict=True)]
        self.strip.show({"source": face.image, **dict(zip(names, shown, strict=True))})
        self.about.value = f'<div class="efgan-note">{html.escape(self._words(edited))}</div>'

    def _words(self, edited: Edited) -> str:
        """Which model this is, and how long it took."""
        editor = self.session.editor()
        config = editor.config
        method = find_experiment(config.experiment)
        kind = "embedded synthetic faces" if config.data.synthetic else "photographs"
        updates = config.train.cascade_iterations if method.cascaded else config.train.iterations
        before = f"{config.train.iterations} + " if method.cascaded else ""
        return (f"{method.method} at {config.data.image_size} px, trained on {config.data.dataset} ({kind}), preset "
                f"{config.preset}, {before}{updates} iterations · {1000 * edited.seconds:.0f} ms")  # fmt: skip

    def show_controls(self) -> None:
        """Moves all controls to the state."""
        session, state, editor = self.session, self.session.state, self.session.editor()
        self.gallery.show(state.face)
        self.expressions.show(state)
        self.sliders.show(state, session.face.aus)
        self.meaning.value, self.overlay.value, self.local.value = state.relative, state.overlay, state.local_branches
        self.method.value = state.method
        options = [(str(k), k) for k in range(1, editor.num_stages + 1)]
        if list(self.stages.options) != options:
            self.stages.options = options
        self.stages.value = state.stages or editor.num_stages
        self.stages.disabled = editor.num_stages == 1
        self.local.disabled = not editor.has_local_branches
        self.remark.value = f'<div class="efgan-note">{html.escape(session.face.remark)}</div>'

    def _show_faces(self) -> None:
        faces = self.session.faces
        self.gallery.show_faces([face.image for face in faces], [face.name for face in faces])

    def _choose_face(self, index: int) -> None:
        own, other = self.session.face.aus, self.session.faces[index]
        if self.click.value == TRANSFER:
            self.change(lambda state: state.with_target(other.aus, own, other.expression))
        else:
            self.change(lambda state: state.with_face(index, own, other.aus))

    def _upload(self, change: dict) -> None:
        files, self.upload.value = change["new"], ()
        for file in files:
            self._add_photo(bytes(file["content"]), Path(file["name"]).stem)

    def _open_path(self, change: dict) -> None:
        if change["new"].strip():
            self._add_photo(change["new"].strip())

    def _add_photo(self, photo: str | bytes, name: str = "photo") -> None:
        """A person's own photo becomes the source, with nothing asked for."""
        with self.told():
            index = self.session.add_photo(photo, name)
            self._show_faces()
            self.click.value = EDIT
            aus = self.session.faces[index].aus
            self.change(lambda state: replace(state, face=index).reset(aus))

    def _save(self, make: Callable[[], Path]) -> None:
        with self.told():
            path = make()
            kind = {".png": "image/png", ".gif": "image/gif", ".mp4": "video/mp4"}[path.suffix]
            url = data_url(path.read_bytes(), kind)
            tag = "video autoplay loop muted controls" if path.suffix == ".mp4" else "img"
            self.saved.value = (
                f'<p>Saved as <code>{html.escape(path.as_posix())}</code> · <a class="efgan-file" '
                f'download="{html.escape(path.name)}" href="{url}">download</a></p><{tag} src="{url}" width="256">'
            )

    def _show_command(self) -> None:
        words = []
        for title, make in (("In a shell", edit_command), ("In Python", python_call)):
            try:
                words.append(f'{title}:<pre class="efgan-code">{html.escape(make(self.session))}</pre>')
            except UserError as error:
                words.append(f'<div class="efgan-note">{title}: {html.escape(str(error))}</div>')
        self.saved.value = "".join(words)

    def _compare_soon(self, wait: float) -> None:
        """Runs all methods once nobody has asked for something else for a moment; at once outside a notebook."""
        if self._comparing is not None:
            self._comparing.cancel()
            self._comparing = None
        if not self.compare.value:
            self.methods.show({})
            return
        try:
            self._comparing = asyncio.get_running_loop().create_task(self._compare(wait))
        except RuntimeError:
            asyncio.run(self._compare(0))

    async def _compare(self, wait: float) -> None:
        await asyncio.sleep(wait)
        pictures: dict[str, np.ndarray] = {"source": self.session.face.image}
        with self.told(clear=False):
            for name, picture in self.session.compared():
                pictures[name] = picture
                await asyncio.sleep(0)  # a slider that moves comes first: it cancels this
            self.methods.show(pictures)
