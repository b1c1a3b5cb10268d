"""Faces with Action Units: one contract, one reader per dataset."""

from efgan.config import DataConfig
from efgan.data.faces import FaceSet
from efgan.errors import UserError


def load_faces(config: DataConfig) -> FaceSet:
    """Loads (and renders or decodes, on first use) the faces of a dataset at `config.image_size` pixels.

    Raises:
        UserError: the dataset is not readable in this version.
    """
    if not config.synthetic:
        raise UserError(f"dataset {config.dataset!r}: the readers of the licensed sets are not part of this version; "
                        "the embedded sets are synthetic_rafd and synthetic_cfeed")  # fmt: skip
    from efgan.data.synthetic import render_synthetic  # numba compiles on first use: only when faces are rendered

    faces = render_synthetic(
        config.dataset, identities=config.identities, variants=config.variants, random_aus=config.random_aus
    )
    return faces.resized(config.image_size)
