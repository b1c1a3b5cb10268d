"""What the notebook's panels share: a session behind them, one way to change its state, errors told in words."""

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from efgan.editing.edit_state import EditState
from efgan.editing.session import EditSession
from efgan.editing.widget_parts import Part
from efgan.errors import UserError


class Panel(Part, widgets.VBox):
    """A view of one session; subclasses fill `children`, `show_edit` and `show_controls`.

    Args:
        session: see `efgan.editing.session.open_session`.
    """

    def __init__(self, session: EditSession) -> None:
        super().__init__()
        self.add_class("efgan")
        self.session = session
        self.message = widgets.HTML()
        self._showing = False  # controls are being moved by us, not by a person

    def show_edit(self) -> None:
        """Edits what the state asks for, and shows it."""
        raise NotImplementedError

    def show_controls(self) -> None:
        """Moves all controls to the state."""
        raise NotImplementedError

    def show(self) -> None:
        """Edits what the state asks for, and shows it on all parts."""
        with self.told(clear=False):
            self.show_edit()
        self._showing = True
        try:
            self.show_controls()
        finally:
            self._showing = False

    def change(self, make: Callable[[EditState], EditState]) -> None:
        """A person asked for something: the next state, its edit, all controls."""
        if self._showing:
            return
        with self.told():
            self.session.state = make(self.session.state)
        self.show()

    def on_value(self, control: widgets.Widget, make: Callable[[EditState, Any], EditState]) -> None:
        """What a control's new value does to the state."""
        control.observe(lambda change: self.change(lambda state: make(state, change["new"])), "value")

    @contextmanager
    def told(self, clear: bool = True) -> Iterator[None]:
        """Errors appear in the panel, in words; nothing that goes wrong ends the session."""
        if clear:
            self.message.value = ""
        try:
            yield
        except Exception as error:
            text = str(error) if isinstance(error, UserError) else f"unexpected {type(error).__name__}: {error}"
            self.message.value = f'<div class="efgan-message" role="alert">{html.escape(text)}</div>'
