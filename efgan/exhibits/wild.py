"""The wild faces of figure 8: rendered people, light and backgrounds that no set holds, and one real photograph."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from efgan.data.action_units import RAFD_EXPRESSIONS
from efgan.errors import UserError
from efgan.exhibits.runs import Examples, Runs

PEOPLE_SEED = 8_000_008  # a family of people that no embedded set draws from
# Where the face lies in `skimage.data.astronaut()` (NASA, public domain): eyes and mouth as high as in the sets.
_PHOTO_TOP, _PHOTO_LEFT, _PHOTO_SIDE = 46, 154, 140
_RENDERED = 128  # pixels, as the embedded sets are rendered before they are resized


def wild_examples(runs: Runs, tasks: Sequence[tuple[str, str]]) -> Examples:
    """Unseen people under unseen light and background, one person per (source, target) expression.

    The desired image is the same person in the same view with the target expression.

    Raises:
        UserError: the runs are of real data; their wild photographs are not part of this version.

    Source: paper 4.5 and figure 8 use AffectNet photographs; these are synthetic, our stand-in.
    """
    if runs.family != "synthetic":
        raise UserError("figure 8 of real data needs AffectNet photographs, which this version cannot read; "
                        "the synthetic family draws it: efgan reproduce --dataset synthetic")  # fmt: skip
    size = runs.run("rafd", "cascade_ef_gan").config.data.image_size
    from efgan.data.synthetic.recipes import expression_sides

    sides = [[expression_sides(expression) for expression in task] for task in tasks]
    aus = [[both.mean(0) for both in pair] for pair in sides]
    pictures = [[_render(runs.seed, k, both, size) for both in pair] for k, pair in enumerate(sides)]
    return Examples(
        images=torch.stack([source for source, _ in pictures]), targets=torch.stack([t for _, t in pictures]),
        source_aus=torch.tensor(np.stack([source for source, _ in aus])),
        target_aus=torch.tensor(np.stack([target for _, target in aus])),
        target_expression=torch.tensor([RAFD_EXPRESSIONS.index(target) for _, target in tasks]),
        tasks=list(tasks), names=[(f"wild_{k}_{s}", f"wild_{k}_{t}") for k, (s, t) in enumerate(tasks)],
    )  # fmt: skip


def photo_examples(runs: Runs, targets: Sequence[str]) -> Examples:
    """A real photograph of a smiling person, edited towards some expressions.

    Nobody measured its AUs: those of the embedded sets' "happy" are assumed. `targets` holds the input again, as
    there is no photograph of the desired expression.
    """
    from skimage.data import astronaut

    rows, columns = (slice(start, start + _PHOTO_SIDE) for start in (_PHOTO_TOP, _PHOTO_LEFT))
    size = runs.run("rafd", "cascade_ef_gan").config.data.image_size
    images = _resized(astronaut()[rows, columns], size).expand(len(targets), -1, -1, -1)
    from efgan.data.synthetic.recipes import expression_sides

    aus = torch.tensor(np.stack([expression_sides(name).mean(0) for name in ("happy", *targets)]))
    return Examples(
        images=images, targets=images, source_aus=aus[:1].expand(len(targets), -1), target_aus=aus[1:],
        target_expression=torch.tensor([RAFD_EXPRESSIONS.index(target) for target in targets]),
        tasks=[("happy", target) for target in targets], names=[("astronaut", "none")] * len(targets),
    )  # fmt: skip


def _render(seed: int, person: int, sides: np.ndarray, size: int) -> torch.Tensor:
    """uint8 3×size×size."""
    from efgan.data.synthetic.identities import sample_identity  # numba compiles on import of the renderer
    from efgan.data.synthetic.render import render_face
    from efgan.data.synthetic.views import wild_view

    identity = sample_identity(PEOPLE_SEED + seed, person)
    picture, _ = render_face(identity, sides, view=wild_view(100 * seed + person), size=_RENDERED)
    return _resized(picture, size)


def _resized(picture: np.ndarray, size: int) -> torch.Tensor:
    """uint8 H×H×3 → uint8 3×size×size."""
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    mode = "area" if size <= len(picture) else "bicubic"
    return F.interpolate(tensor, size=size, mode=mode)[0].round().clamp(0, 255).to(torch.uint8)
