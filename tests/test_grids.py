"""Picture grids: pixels arrive on the page as they are, labels fit, files are whole."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from efgan.errors import UserError
from efgan.grids import DPI, Box, image_grid, save_figure, save_sample_grid
from efgan.grids.pictures import enlarge, is_map, to_rgb, wrap


def picture(size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def drawn(figure, folder: Path) -> np.ndarray:
    png, _ = save_figure(figure, folder / "figure")
    return np.asarray(Image.open(png).convert("RGB"))


def contains(page: np.ndarray, patch: np.ndarray) -> bool:
    """True if `patch` stands somewhere on `page`, pixel by pixel."""
    height, width = patch.shape[:2]
    rows, columns = np.nonzero((page[: 1 - height, : 1 - width] == patch[0, 0]).all(-1))
    return any((page[y : y + height, x : x + width] == patch).all() for y, x in zip(rows, columns, strict=True))


@pytest.mark.parametrize("kind", ["3HW uint8", "HW3 uint8", "3HW float"])
def test_to_rgb_takes_all_colour_layouts(kind: str) -> None:
    """uint8 or [-1, 1], channels first or last: the same picture."""
    image = picture()
    given = {"3HW uint8": image, "HW3 uint8": image.permute(1, 2, 0).numpy(), "3HW float": image / 127.5 - 1}[kind]
    assert (to_rgb(given) == image.permute(1, 2, 0).numpy()).all()


def test_to_rgb_refuses_other_shapes() -> None:
    """The message says what a picture is."""
    with pytest.raises(UserError, match="3×H×W"):
        to_rgb(torch.zeros(2, 4, 4))


def test_maps_are_told_from_pictures_by_their_shape() -> None:
    """H×W and 1×H×W are attention maps."""
    assert is_map(torch.zeros(4, 4)) and is_map(torch.zeros(1, 4, 4)) and not is_map(torch.zeros(3, 4, 4))


def test_pictures_reach_the_page_pixel_by_pixel(tmp_path: Path) -> None:
    """No resampling by the plotting library: the PNG holds exactly the Lanczos-enlarged picture."""
    images = [picture(seed=k) for k in range(3)]
    page = drawn(image_grid([images[:2], [images[2], None]], cell=64), tmp_path)
    for image in images:
        assert contains(page, enlarge(image.permute(1, 2, 0).numpy(), 64))


def test_cells_have_one_size_whatever_the_labels(tmp_path: Path) -> None:
    """Labels widen the page, never the pictures."""
    image = picture()
    page = drawn(image_grid([[image]], row_labels=["a long label\nof two lines"], column_labels=["x"], title="Title",
                            caption="words " * 30, cell=64), tmp_path)  # fmt: skip
    assert contains(page, enlarge(image.permute(1, 2, 0).numpy(), 64))


def test_attention_maps_share_one_scale(tmp_path: Path) -> None:
    """The same attention has the same colour in every map, and a bar explains the colours."""
    with_bar = image_grid([[torch.zeros(8, 8), torch.ones(1, 8, 8)], [torch.full((8, 8), 0.5), None]], cell=64)
    without = image_grid([[picture(8), picture(8)], [picture(8), None]], cell=64)
    page = drawn(with_bar, tmp_path)
    for value in (0.0, 0.5, 1.0):
        colour = np.round(np.array(matplotlib.colormaps["magma"](value)[:3]) * 255).astype(np.uint8)
        assert contains(page, np.broadcast_to(colour, (64, 64, 3)))
    assert with_bar.get_size_inches()[0] > without.get_size_inches()[0]


def test_wide_pictures_keep_their_aspect() -> None:
    """A row of patches is as tall as the patches, not as the cells are wide."""
    tall = image_grid([[torch.zeros(3, 32, 32)]], cell=64).get_size_inches()[1]
    flat = image_grid([[torch.zeros(3, 16, 32)]], cell=64).get_size_inches()[1]
    assert (tall - flat) * DPI == pytest.approx(32)


def test_labels_that_do_not_match_are_refused() -> None:
    """Too many or too few labels would stand beside the wrong pictures."""
    for labels in ("row_labels", "right_labels", "column_labels"):
        with pytest.raises(UserError, match=labels):
            image_grid([[picture()]], **{labels: ["a", "b"]})
    with pytest.raises(UserError, match="at least one"):
        image_grid([])


def test_boxes_are_drawn_in_picture_pixels(tmp_path: Path) -> None:
    """A box around the lower right quarter leaves the upper left pixel alone."""
    plain_page = drawn(image_grid([[torch.zeros(3, 16, 16)]], cell=64), tmp_path)
    box = Box(row=0, column=0, top=8, left=8, height=8, width=8, colour="#ff0000")
    page = drawn(image_grid([[torch.zeros(3, 16, 16)]], cell=64, boxes=[box]), tmp_path)
    rows, columns = np.nonzero((page != plain_page).any(-1))
    assert rows.min() >= 20 + 32 - 4 and columns.min() >= 20 + 32 - 4


def test_figures_carry_their_caption_and_no_date(tmp_path: Path) -> None:
    """PNG and PDF name what they show; the same figure gives the same bytes."""
    for folder in ("a", "b"):
        png, pdf = save_figure(image_grid([[picture()]], caption="What this is."), tmp_path / folder / "figure_1")
    assert Image.open(png).info["Description"] == "What this is."
    assert [p.read_bytes() for p in (png, pdf)] == [(tmp_path / "a" / p.name).read_bytes() for p in (png, pdf)]
    assert Image.open(png).info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)


def test_a_figure_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half-written file is taken for a whole one."""
    figure = image_grid([[picture()]])
    monkeypatch.setattr(figure, "savefig", lambda file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_figure(figure, tmp_path / "figure_1")
    assert list(tmp_path.iterdir()) == []


def test_sample_grid_shows_every_picture(tmp_path: Path) -> None:
    """Rows of B pictures; attention maps turn into colours; labels add a margin."""
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    path = save_sample_grid(tmp_path / "samples" / "s.png", [images, torch.rand(4, 1, 16, 16)])
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (2 * 18 - 2, 4 * 18 - 2, 3)
    assert (sheet[:16, 18:34] == to_rgb(images[1])).all()
    labelled = save_sample_grid(tmp_path / "l.png", [images], row_labels=["source"])
    assert Image.open(labelled).width > sheet.shape[1]
    with pytest.raises(UserError, match="row_labels"):
        save_sample_grid(path, [images], row_labels=["a", "b"])


def test_wrapped_lines_fit() -> None:
    """No line of a caption is wider than asked for, and no word is lost."""
    text = "one two three four five six seven eight nine ten"
    assert wrap(text, 8.0, 200).split() == text.split()
    assert len(wrap(text, 8.0, 200).splitlines()) > 1
