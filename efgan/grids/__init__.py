"""Labelled grids of pictures, used by training samples and by the exhibits alike."""

from efgan.grids.layout import Box, image_grid
from efgan.grids.pictures import (
    ATTENTION_MAP,
    COLOURS,
    DPI,
    Picture,
    new_figure,
    place_picture,
    save_figure,
    save_sample_grid,
    styled,
    text_size,
    wrap,
)

__all__ = [
    "ATTENTION_MAP", "COLOURS", "DPI", "Box", "Picture", "image_grid", "new_figure", "place_picture", "save_figure",
    "save_sample_grid", "styled", "text_size", "wrap",
]  # fmt: skip
