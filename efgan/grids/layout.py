"""A labelled grid of pictures and attention maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from efgan.errors import UserError
from efgan.grids.pictures import (
    ATTENTION_MAP,
    DPI,
    Picture,
    is_map,
    new_figure,
    place_picture,
    styled,
    text_size,
    to_rgb,
    wrap,
)

_GAP, _GROUP_GAP, _MARGIN = 6, 28, 20  # dots between pictures, between groups of them, at the page's edges
_TITLE_SIZE, _LABEL_SIZE, _CAPTION_SIZE = 11.0, 9.0, 8.0  # points


@dataclass(frozen=True, kw_only=True)
class Box:
    """A coloured frame on one picture of a grid, in that picture's own pixels."""

    row: int
    column: int
    top: float
    left: float
    height: float
    width: float
    colour: str


def image_grid(
    rows: Sequence[Sequence[Picture | None]],
    *,
    row_labels: Sequence[str] | None = None,
    right_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    column_groups: Sequence[tuple[str, int]] = (),
    row_groups: Sequence[int] = (),
    title: str = "",
    caption: str = "",
    boxes: Sequence[Box] = (),
    cell: int = 192,
    map_limit: float = 1.0,
) -> Figure:
    """A grid of pictures and attention maps with labels; maps share one colour scale, with a bar.

    Args:
        rows: pictures row by row; `None` leaves a cell empty. Colour: 3×H×W or H×W×3, uint8 or float in [-1, 1];
            an attention map: H×W or 1×H×W in [0, 1].
        row_labels: left of the rows; may hold newlines.
        right_labels: the same, right of the rows; not together with attention maps.
        column_labels: above the columns; may hold newlines.
        column_groups: (heading, number of columns) from the left, with a wider gap between groups.
        row_groups: indices of rows that have a wider gap above them.
        title: above everything.
        caption: below, wrapped to the figure's width.
        boxes: frames to draw on pictures.
        cell: width of a picture in dots at `DPI`; a multiple of the picture's own width keeps pixels regular.
        map_limit: attention drawn brightest, in (0, 1].

    Raises:
        UserError: no pictures, or labels that do not match the rows or columns.
    """
    grid = _Grid(
        rows=rows, row_labels=row_labels or (), right_labels=right_labels or (), column_labels=column_labels or (),
        column_groups=column_groups, row_groups=row_groups, title=title, cell=cell, map_limit=map_limit,
    )  # fmt: skip
    with styled():
        return grid.draw(boxes, caption)


@dataclass(kw_only=True)
class _Grid:
    """What a grid shows and where everything goes, in dots; y grows downwards."""

    rows: Sequence[Sequence[Picture | None]]
    row_labels: Sequence[str]
    right_labels: Sequence[str]
    column_labels: Sequence[str]
    column_groups: Sequence[tuple[str, int]]
    row_groups: Sequence[int]
    title: str
    cell: int
    map_limit: float

    def __post_init__(self) -> None:
        self.columns = max((len(row) for row in self.rows), default=0)
        if not self.columns:
            raise UserError("a picture grid needs at least one picture")
        for name, count in (("row_labels", len(self.rows)), ("right_labels", len(self.rows)),
                            ("column_labels", self.columns)):  # fmt: skip
            if len(getattr(self, name)) not in (0, count):
                raise UserError(f"{name} has {len(getattr(self, name))} entries for {count} of them in the grid")
        self.has_maps = any(picture is not None and is_map(picture) for row in self.rows for picture in row)
        with styled():
            self._place_columns()
            self._place_rows()

    def _place_columns(self) -> None:
        self.left = _MARGIN + _label_width(self.row_labels)
        starts = np.cumsum([count for _, count in self.column_groups])[:-1].tolist()
        self.x = [self.left + i * (self.cell + _GAP) + _GROUP_GAP * sum(start <= i for start in starts)
                  for i in range(self.columns)]  # fmt: skip
        self.right = self.x[-1] + self.cell
        width = self.right + _MARGIN + (110 if self.has_maps else 0) + _label_width(self.right_labels)
        self.width = max(width, round(text_size(self.title, _TITLE_SIZE, bold=True)[0]) + 2 * _MARGIN)

    def _place_rows(self) -> None:
        self.title_y = y = _MARGIN
        y += round(text_size(self.title, _TITLE_SIZE, bold=True)[1]) + 16 if self.title else 0
        self.group_y = y
        y += 40 if any(name for name, _ in self.column_groups) else 0
        y += round(max((text_size(label, _LABEL_SIZE)[1] for label in self.column_labels), default=-10)) + 10
        self.y: list[int] = []
        self.heights: list[int] = []
        for i, row in enumerate(self.rows):
            y += _GROUP_GAP if i in self.row_groups else 0
            height = max((round(self.cell * _aspect(p)) for p in row if p is not None), default=self.cell)
            self.y.append(y)
            self.heights.append(height)
            y += height + _GAP
        self.bottom = y - _GAP

    def draw(self, boxes: Sequence[Box], caption: str) -> Figure:
        """The finished figure; its label is the caption."""
        wrapped = wrap(caption, _CAPTION_SIZE, self.width - 2 * _MARGIN)
        below = round(text_size(wrapped, _CAPTION_SIZE)[1]) + _MARGIN if caption else 0
        self.height = self.bottom + _MARGIN + below
        figure = new_figure(self.width / DPI, self.height / DPI)
        figure.set_label(caption)
        axes = {}
        for i, row in enumerate(self.rows):
            for j, picture in enumerate(row):
                if picture is not None:
                    axes[i, j] = place_picture(figure, picture, self.x[j], self.y[i], self.cell,
                                               map_limit=self.map_limit)  # fmt: skip
        for box in boxes:
            axes[box.row, box.column].add_patch(
                Rectangle((box.left, box.top), box.width, box.height, fill=False, edgecolor=box.colour, linewidth=1.2)
            )
        self._labels(figure)
        if caption:
            self._text(figure, _MARGIN, self.bottom + _MARGIN, wrapped, _CAPTION_SIZE, va="top", color="#333333")
        if self.has_maps:
            self._colour_bar(figure)
        return figure

    def _text(self, figure: Figure, x: float, y: float, text: str, size: float, **style: str) -> None:
        figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, **style)  # type: ignore[arg-type]

    def _labels(self, figure: Figure) -> None:
        half = text_size(self.title, _TITLE_SIZE, bold=True)[0] / 2 + _MARGIN
        middle = min(max((self.left + self.right) / 2, half), self.width - half)  # over the pictures, on the page
        if self.title:
            self._text(figure, middle, self.title_y, self.title, _TITLE_SIZE, ha="center", va="top", fontweight="bold")
        first = 0
        for name, count in self.column_groups:
            centre = (self.x[first] + self.x[first + count - 1] + self.cell) / 2
            self._text(figure, centre, self.group_y, name, 10.0, ha="center", va="top", fontweight="bold")
            first += count
        for x, label in zip(self.x, self.column_labels, strict=False):
            self._text(figure, x + self.cell / 2, self.y[0] - 8, label, _LABEL_SIZE, ha="center", va="bottom")
        for y, height, label in zip(self.y, self.heights, self.row_labels, strict=False):
            self._text(figure, self.left - 12, y + height / 2, label, _LABEL_SIZE, ha="right", va="center",
                       multialignment="right")  # fmt: skip
        for y, height, label in zip(self.y, self.heights, self.right_labels, strict=False):
            self._text(figure, self.right + 12, y + height / 2, label, _LABEL_SIZE, ha="left", va="center")

    def _colour_bar(self, figure: Figure) -> None:
        height = min(self.bottom - self.y[0], 3 * self.cell)
        bar = figure.add_axes(((self.right + 24) / self.width, 1 - (self.y[0] + height) / self.height,
                               18 / self.width, height / self.height))  # fmt: skip
        scale = ScalarMappable(Normalize(0, self.map_limit), ATTENTION_MAP)
        colour_bar = figure.colorbar(scale, cax=bar, extend="neither" if self.map_limit == 1 else "max")
        colour_bar.ax.tick_params(labelsize=7.5)
        colour_bar.ax.set_title("edit", fontsize=7.5)
        colour_bar.ax.set_xlabel("keep", fontsize=7.5)


def _label_width(labels: Sequence[str]) -> int:
    """Room for labels beside the rows, with a gap; 0 without labels."""
    width = max((text_size(label, _LABEL_SIZE)[0] for label in labels), default=0.0)
    return round(width) + 16 if width else 0


def _aspect(picture: Picture) -> float:
    height, width = picture.shape[-2:] if is_map(picture) else to_rgb(picture).shape[:2]
    return height / width
