"""One picture on a page: style, enlarging, placing, text, saving.

Faces of 64 pixels are enlarged by a whole factor with Lanczos and put on the page one to one at `DPI`, so prints
are sharp. Figures are made through Matplotlib's object API: no global state, safe in threads and notebooks.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from efgan.errors import UserError
from efgan.provenance import write_atomic

DPI = 200  # dots per inch of every exhibit
COLOURS = (
    "#0173B2", "#DE8F05", "#029E73", "#D55E00", "#CC78BC", "#CA9161", "#FBAFE4", "#949494", "#ECE133", "#56B4E9",
)  # seaborn's "colorblind"  # fmt: skip
ATTENTION_MAP = "magma"  # dark = keep the input, bright = take the edit
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9.0, "axes.titlesize": 10.0, "axes.labelsize": 9.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.4, "pdf.fonttype": 42, "savefig.dpi": DPI,
}  # fmt: skip

Picture = Tensor | np.ndarray


@contextmanager
def styled() -> Iterator[None]:
    """The one style of all exhibits, while the block runs."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of `width` × `height` inches with its own Agg canvas."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def is_map(picture: Picture) -> bool:
    """True for an attention map (H×W or 1×H×W), False for a colour picture."""
    return picture.ndim == 2 or (picture.ndim == 3 and picture.shape[0] == 1)


def to_rgb(picture: Picture) -> np.ndarray:
    """A colour picture as uint8 H×W×3.

    Args:
        picture: 3×H×W or H×W×3; uint8, or float in [-1, 1].

    Raises:
        UserError: the shape is neither.
    """
    array = picture.detach().cpu().float().numpy() if isinstance(picture, Tensor) and picture.is_floating_point() \
        else np.asarray(picture.cpu() if isinstance(picture, Tensor) else picture)  # fmt: skip
    if array.ndim != 3 or 3 not in (array.shape[0], array.shape[-1]):
        raise UserError(f"a picture must be 3×H×W or H×W×3, not {array.shape}")
    if array.shape[-1] != 3:
        array = array.transpose(1, 2, 0)
    if array.dtype != np.uint8:
        array = np.clip(np.round((array + 1.0) * 127.5), 0, 255).astype(np.uint8)
    return array


def to_map(picture: Picture) -> np.ndarray:
    """An attention map as float H×W in [0, 1]."""
    array = picture.detach().cpu().float().numpy() if isinstance(picture, Tensor) else np.asarray(picture, float)
    return np.clip(array.reshape(array.shape[-2:]), 0.0, 1.0)


def enlarge(array: np.ndarray, width: int) -> np.ndarray:
    """A uint8 H×W×3 picture at `width` pixels wide, aspect kept: Lanczos, so that edges stay sharp."""
    if array.shape[1] == width:
        return array
    height = round(array.shape[0] * width / array.shape[1])
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize((width, height), Image.Resampling.LANCZOS))


def place_picture(figure: Figure, picture: Picture, left: float, top: float, width: int, *,
                  map_limit: float = 1.0) -> Axes:  # fmt: skip
    """Puts a picture on a figure, one picture dot per figure dot.

    Args:
        figure: where.
        picture: a colour picture or an attention map.
        left, top: of the picture, in dots from the figure's upper left corner.
        width: dots; the height follows the aspect.
        map_limit: the attention drawn brightest.

    Returns:
        The axes that hold it; data coordinates are the picture's own pixels, (0, 0) its upper left corner.
    """
    if is_map(picture):
        source = to_map(picture)
        colours = matplotlib.colormaps[ATTENTION_MAP](np.clip(source / map_limit, 0, 1))[..., :3]
        array = (colours * 255).round().astype(np.uint8)
    else:
        array = source = to_rgb(picture)
    array = enlarge(array, width)
    total_width, total_height = (figure.get_size_inches() * DPI).round()
    left, top = round(left), round(top)
    axes = figure.add_axes((left / total_width, 1 - (top + array.shape[0]) / total_height,
                            width / total_width, array.shape[0] / total_height))  # fmt: skip
    axes.imshow(array, interpolation="nearest", aspect="auto", extent=(0, source.shape[1], source.shape[0], 0))
    axes.set_axis_off()
    return axes


@functools.cache
def text_size(text: str, size: float, *, bold: bool = False) -> tuple[float, float]:
    """Width and height in dots of a text (lines divided by newlines) at `size` points."""
    figure = new_figure(1, 1)
    label = Text(0, 0, text, fontsize=size, fontweight="bold" if bold else "normal", figure=figure)
    box = label.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    return box.width, box.height


def wrap(text: str, size: float, width: float) -> str:
    """`text` broken at spaces so that no line is wider than `width` dots at `size` points."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and text_size(longer, size)[0] > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return "\n".join([*lines, line])


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Writes `<stem>.png` (200 dpi) and `<stem>.pdf`, each whole or not at all, without a date inside.

    The figure's label (`set_label`, the caption of an `image_grid`) goes into the files as their description.
    """
    caption = str(figure.get_label())
    paths = (stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".pdf"))
    notes = ({"Software": None, "Description": caption}, {"CreationDate": None, "Subject": caption})
    stem.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        for path, metadata in zip(paths, notes, strict=True):
            with write_atomic(path, "wb") as file:
                figure.savefig(file, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def save_sample_grid(path: Path, rows: Sequence[Tensor], row_labels: Sequence[str] | None = None) -> Path:
    """A plain grid as PNG, fast enough to be written during training.

    Args:
        path: the PNG.
        rows: one tensor per row, B×3×S×S in [-1, 1] (or uint8); attention maps B×1×S×S in [0, 1] turn into colours.
        row_labels: one word or two per row, written to its left.

    Raises:
        UserError: labels do not match the rows.
    """
    if row_labels is not None and len(row_labels) != len(rows):
        raise UserError(f"row_labels has {len(row_labels)} entries for {len(rows)} rows")
    size, count, gap = rows[0].shape[-1], max(len(row) for row in rows), 2
    font = ImageFont.load_default(size=12)
    left = 10 + max((round(font.getlength(label)) for label in row_labels or ()), default=-10)
    sheet = Image.new("RGB", (left + count * (size + gap) - gap, len(rows) * (size + gap) - gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        top = i * (size + gap)
        if row_labels:
            draw.text((4, top + size / 2), row_labels[i], fill="black", font=font, anchor="lm")
        for j, picture in enumerate(row):
            if is_map(picture):
                array = (matplotlib.colormaps[ATTENTION_MAP](to_map(picture))[..., :3] * 255).round().astype(np.uint8)
            else:
                array = to_rgb(picture)
            sheet.paste(Image.fromarray(np.ascontiguousarray(array)), (left + j * (size + gap), top))
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomic(path, "wb") as file:
        sheet.save(file, format="PNG")
    return path
