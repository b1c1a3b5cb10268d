"""Embedded synthetic faces: CC0 head mesh, identities, renderer, RaFD-like and CFEED-like recipes."""

from efgan.data.synthetic.identities import Identity, sample_identity
from efgan.data.synthetic.recipes import RECIPES, expression_sides
from efgan.data.synthetic.render import render_face
from efgan.data.synthetic.shards import render_synthetic, renderer_version
from efgan.data.synthetic.views import View, sample_view, wild_view

__all__ = [
    "RECIPES", "Identity", "View", "expression_sides", "render_face", "render_synthetic",
    "renderer_version", "sample_identity", "sample_view", "wild_view",
]  # fmt: skip
