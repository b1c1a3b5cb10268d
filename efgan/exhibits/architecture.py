"""Figure 2: the workflow of a cascade and the inside of one EF-GAN, drawn around a trained model's own images."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from efgan.grids import ATTENTION_MAP, COLOURS, DPI, new_figure, place_picture, styled, text_size, wrap
from efgan.models.branch import BranchOutput, Edit
from efgan.models.local_focus import REGIONS, Box

# Everything below is in dots at 200 dpi, y downwards.
_WIDTH, _PANEL_BOTTOM = 2560, 1150
_FACE, _STEP_FACE = 192, 164  # faces in the zoom and in the workflow
_ROWS = {"global": 215, "eyes": 520, "nose": 690, "mouth": 860}  # tops of the branches' pictures
_COLUMNS = {"input": 690, "network": 935, "colour": 1110, "attention": 1330, "initial": 1580, "stitched": 1830,
            "refiner": 2075, "final": 2300}  # fmt: skip
_REGION_COLOURS = {"global": "#555555", "eyes": COLOURS[0], "nose": COLOURS[2], "mouth": COLOURS[1]}
_PALE = {"transformer": "#f3f6fa", "panel": "#fbfbfb", "refiner": "#fdf1e3", "interpolator": "#eef7f1"}


class _Sheet:
    """A page with one full-size axes in dots, y downwards, and a few strokes."""

    def __init__(self, width: int, height: int) -> None:
        self.figure, self.width, self.height = new_figure(width / DPI, height / DPI), width, height
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def block(self, x: float, y: float, width: float, height: float, text: str = "", *, face: str = "white",
              edge: str = "#444444", dashed: bool = False, rotation: int = 0) -> None:  # fmt: skip
        self.axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=12",
                                           facecolor=face, edgecolor=edge, linewidth=1.1,
                                           linestyle="--" if dashed else "-"))  # fmt: skip
        self.text(x + width / 2, y + height / 2, text, rotation=rotation)

    def text(self, x: float, y: float, text: str, *, size: float = 9.0, bold: bool = False, align: str = "center",
             rotation: int = 0, colour: str = "black") -> None:  # fmt: skip
        self.axes.text(x, y, text, fontsize=size, ha=align, va="center", rotation=rotation, color=colour,
                       fontweight="bold" if bold else "normal", linespacing=1.15)  # fmt: skip

    def arrow(self, *points: tuple[float, float], colour: str = "#444444") -> None:
        """A line through the points with a head at the last."""
        *line, before, last = points
        self.axes.plot(*zip(*line, before, strict=True), color=colour, linewidth=1.1, solid_capstyle="round")
        self.axes.annotate("", last, before, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.1,
                                                         "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9})  # fmt: skip

    def bars(self, x: float, y: float, width: float, height: float, aus: Tensor, colour: str) -> None:
        """17 AU intensities as bars in a frame."""
        self.axes.add_patch(Rectangle((x, y), width, height, facecolor="white", edgecolor="#999999", linewidth=0.8))
        step = (width - 12) / len(aus)
        for k, value in enumerate(aus.tolist()):
            size = value * (height - 8)
            self.axes.add_patch(Rectangle((x + 6 + k * step + 1, y + height - size), step - 2, size, color=colour))

    def face(self, picture: Tensor, x: float, y: float, width: int, *, frame: str | None = None,
             limit: float = 1.0) -> Axes:  # fmt: skip
        axes = place_picture(self.figure, picture, x, y, width, map_limit=limit)
        if frame:
            axes.add_patch(Rectangle((0, 0), picture.shape[-1], picture.shape[-2], fill=False, edgecolor=frame,
                                     linewidth=2.4))  # fmt: skip
        return axes


def draw_architecture(
    images: Tensor, source_aus: Tensor, edit: Edit, boxes: Mapping[str, Box], *, shown: int, title: str, caption: str
) -> Figure:
    """Draws the cascade (left) and the inside of one of its EF-GANs (right).

    Args:
        images: the input face first, B×3×S×S in [-1, 1].
        source_aus: its AUs first, B×17.
        edit: a cascade's edit of the face, with local focuses.
        boxes: the focus boxes by region.
        shown: the stage whose inside is drawn, from 0.
        title, caption: printed above and below.

    Source: paper figure 2.
    """
    with styled():
        text = wrap(caption, 8.0, _WIDTH - 60)
        sheet = _Sheet(_WIDTH, _PANEL_BOTTOM + 50 + round(text_size(text, 8.0)[1]))
        sheet.text(_WIDTH / 2, 40, title, size=12.0, bold=True)
        _draw_workflow(sheet, images[0], source_aus[0], edit, shown)
        _draw_zoom(sheet, images[0] if shown == 0 else edit.stages[shown - 1].image[0], edit, boxes, shown)
        sheet.axes.text(30, _PANEL_BOTTOM + 30, text, fontsize=8.0, va="top", color="#333333")
    sheet.figure.set_label(caption)
    return sheet.figure


def _draw_workflow(sheet: _Sheet, image: Tensor, source_aus: Tensor, edit: Edit, shown: int) -> None:
    """Left: faces and EF-GANs in a column, the AUs of each stage beside them, the Interpolator at the far left."""
    assert edit.stage_aus is not None
    stages, path = edit.stages, edit.stage_aus[0]
    count, x, bars_x, bars_width, interpolator_x = len(stages), 400, 150, 180, 40
    sheet.text(300, 110, "Cascade", size=11.0, bold=True)
    pitch = (_PANEL_BOTTOM - 150 - _STEP_FACE) / count
    middle = x + _STEP_FACE / 2
    tops = [150 + k * pitch for k in range(count + 1)]
    faces = [image, *(stage.image[0] for stage in stages)]
    names = ["input", *(f"stage {k}" for k in range(1, count)), "final"]
    box_height = 64
    block_y = [round(tops[k] + _STEP_FACE + (pitch - _STEP_FACE - box_height) / 2) for k in range(count)]
    for k, (face, top, name) in enumerate(zip(faces, tops, names, strict=True)):
        sheet.face(face, x, top, _STEP_FACE)
        sheet.text(x - 10, top + _STEP_FACE - 18, name, align="right", size=8.5)
        if k < count:
            sheet.block(x, block_y[k], _STEP_FACE, box_height, f"EF-GAN {k + 1}", face=_PALE["transformer"],
                        edge=COLOURS[0])  # fmt: skip
            sheet.arrow((middle, top + _STEP_FACE), (middle, block_y[k]))
            sheet.arrow((middle, block_y[k] + box_height), (middle, tops[k + 1]))
    source_y = round(tops[0] + _STEP_FACE / 2) - 30
    sheet.bars(bars_x, source_y, bars_width, 60, source_aus, "#777777")
    sheet.text(bars_x + bars_width / 2, source_y - 18, "source AUs", size=8.0)
    for k, y in enumerate(block_y):
        sheet.bars(bars_x, y + 2, bars_width, 60, path[k], COLOURS[3] if k == count - 1 else COLOURS[4])
        sheet.text(bars_x + bars_width / 2, y - 16, _asked_of(k, count), size=8.0)
        sheet.arrow((bars_x + bars_width, y + 32), (x, y + 32))
    top, bottom = block_y[0] - 60, block_y[-2] + 124 if count > 1 else block_y[0] + 124
    sheet.block(interpolator_x, top, 56, bottom - top, "AUs Interpolator", face=_PALE["interpolator"],
                edge=COLOURS[2], rotation=90)  # fmt: skip
    centre = interpolator_x + 28
    sheet.arrow((bars_x, source_y + 30), (centre, source_y + 30), (centre, top))
    sheet.arrow((bars_x, block_y[-1] + 32), (centre, block_y[-1] + 32), (centre, bottom))
    for y in block_y[:-1]:
        sheet.arrow((interpolator_x + 56, y + 32), (bars_x, y + 32))
    for y, panel_y in ((block_y[shown], 90), (block_y[shown] + box_height, _PANEL_BOTTOM)):  # zoom lines
        sheet.axes.plot((x + _STEP_FACE, 650), (y, panel_y), color=COLOURS[0], linewidth=0.8, linestyle=":")


def _asked_of(stage: int, count: int) -> str:
    return "target AUs" if stage == count - 1 else f"AUs of stage {stage + 1}"


def _draw_zoom(sheet: _Sheet, image: Tensor, edit: Edit, boxes: Mapping[str, Box], shown: int) -> None:
    """Right: four branches, eq. (1), the stitched local output, and the Refiner."""
    stage, at = edit.stages[shown], _COLUMNS
    sheet.block(650, 90, _WIDTH - 680, _PANEL_BOTTOM - 90, face=_PALE["panel"], edge=COLOURS[0])
    sheet.block(668, 104, 1130, 1030, face=_PALE["transformer"], edge="#9db4cc", dashed=True)
    sheet.text(1233, 132, "Expression Transformer", size=11.0, bold=True)
    sheet.text(2180, 132, f"EF-GAN {shown + 1}", size=11.0, bold=True, colour=COLOURS[0])
    for column, label in (("input", "$I_{in}$"), ("colour", "$M_C$  colour"), ("attention", "$M_A$  attention"),
                          ("initial", "$I_{init}$  eq. (1)")):  # fmt: skip
        sheet.text(at[column] + _FACE / 2, 188, label)
    assert stage.global_edit is not None and stage.stitched is not None and edit.stage_aus is not None
    outputs = {"global": stage.global_edit, **stage.local_edits}
    limit = _limit(output.attention[0] for output in outputs.values())
    _branch_rows(sheet, image, outputs, boxes, limit)
    _condition_and_scale(sheet, edit.stage_aus[0, shown], _asked_of(shown, len(edit.stages)), limit)
    stitched_y = (_ROWS["eyes"] + _ROWS["mouth"] + 80) / 2 - _FACE / 2
    sheet.face(stage.stitched[0], at["stitched"], stitched_y, _FACE)
    sheet.text(at["stitched"] + _FACE / 2, stitched_y - 28, "stitched")
    for region in REGIONS:
        y = _ROWS[region] + 40
        x = at["initial"] + _patch_width(boxes[region], image)
        target = stitched_y + _FACE / 2 + 30 * (REGIONS.index(region) - 1)
        sheet.arrow((x, y), (1808, y), (1808, target), (at["stitched"], target), colour=_REGION_COLOURS[region])
    global_y, refiner_top = _ROWS["global"] + _FACE / 2, 250
    sheet.block(at["refiner"], refiner_top, 130, stitched_y + _FACE - refiner_top, "Refiner", face=_PALE["refiner"],
                edge=COLOURS[1], rotation=90)  # fmt: skip
    sheet.arrow((at["initial"] + _FACE, global_y), (at["refiner"], global_y), colour=_REGION_COLOURS["global"])
    sheet.text((at["initial"] + _FACE + at["refiner"]) / 2 + 20, global_y - 20, "global output", size=8.0)
    sheet.arrow((at["stitched"] + _FACE, stitched_y + _FACE / 2), (at["refiner"], stitched_y + _FACE / 2))
    final_y = (refiner_top + stitched_y + _FACE) / 2
    sheet.arrow((at["refiner"] + 130, final_y), (at["final"], final_y))
    sheet.face(stage.image[0], at["final"], final_y - _FACE / 2, _FACE)
    sheet.text(at["final"] + _FACE / 2, final_y - _FACE / 2 - 28, f"output of stage {shown + 1}")


def _branch_rows(
    sheet: _Sheet, image: Tensor, outputs: dict[str, BranchOutput], boxes: Mapping[str, Box], limit: float
) -> None:
    """One row per branch: input, network, colour, attention, result."""
    at = _COLUMNS
    for name, output in outputs.items():
        colour = _REGION_COLOURS[name]
        patch = image if name == "global" else image[:, *boxes[name].slices]
        width = _FACE if name == "global" else _patch_width(boxes[name], image)
        height = round(width * patch.shape[-2] / patch.shape[-1])
        top = _ROWS[name]
        middle = top + height / 2
        axes = sheet.face(patch, at["input"], top, width, frame=None if name == "global" else colour)
        if name == "global":
            for region, (y, x, h, w) in boxes.items():
                axes.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=_REGION_COLOURS[region], linewidth=1.6))
        sheet.block(at["network"], middle - 36, 130, 72, f"{name}\nbranch", edge=colour)
        for column, picture in (("colour", output.colour[0]), ("attention", output.attention[0]),
                                ("initial", output.image[0])):  # fmt: skip
            sheet.face(picture, at[column], top, width, limit=limit)
        sheet.arrow((at["input"] + width, middle), (at["network"], middle), colour=colour)
        sheet.arrow((at["network"] + 130, middle), (at["colour"], middle), colour=colour)
        sheet.arrow((at["attention"] + width, middle), (at["initial"], middle), colour=colour)
    sheet.text(at["input"] + _FACE / 2, _ROWS["eyes"] - 28, "local focuses", size=8.0)
    sheet.arrow((at["input"] + _FACE / 2, _ROWS["global"] + _FACE), (at["input"] + _FACE / 2, _ROWS["eyes"] - 46))


def _condition_and_scale(sheet: _Sheet, aus: Tensor, asked: str, limit: float) -> None:
    """The AUs that all branches are given, eq. (1) in words, and the attention's colour scale."""
    x, y = _COLUMNS["network"] - 25, 1020
    sheet.bars(x, y, 180, 60, aus, COLOURS[4])
    sheet.text(x - 14, y + 30, f"{asked}\ninto every branch", size=8.0, align="right")
    sheet.arrow((x + 90, y), (x + 90, _ROWS["mouth"] + 78))
    sheet.text(1580 + _FACE / 2, y + 30, "$M_A M_C + (1 - M_A)\\, I_{in}$", size=8.5)
    scale = sheet.figure.add_axes((_COLUMNS["attention"] / sheet.width, 1 - (y + 36) / sheet.height,
                                   _FACE / sheet.width, 16 / sheet.height))  # fmt: skip
    sheet.figure.colorbar(ScalarMappable(Normalize(0, limit), ATTENTION_MAP), cax=scale, orientation="horizontal",
                          ticks=[0, limit])  # fmt: skip
    scale.tick_params(labelsize=7.5, pad=2)
    scale.set_title("keep … edit", fontsize=7.5, pad=4)


def _patch_width(box: Box, image: Tensor) -> int:
    """Dots of a patch: all patches share one scale; the eyes' is as wide as a whole face."""
    return round(4 * box.width * 64 / image.shape[-1])


def _limit(maps: Iterable[Tensor]) -> float:
    """Attention drawn brightest: the largest value, up to the next tenth."""
    return float(np.clip(np.ceil(max(float(m.max()) for m in maps) * 10) / 10, 0.1, 1.0))
