"""Faces with Action Units: one contract, one reader per dataset."""

from efgan.config import DataConfig
from efgan.data.faces import FaceSet


def load_faces(config: DataConfig) -> FaceSet:
    """Loads (and renders or decodes, on first use) the faces of a dataset at `config.image_size` pixels.

    Raises:
        UserError: a licensed set is not there, or nothing of it can be used; the message says what to do.
    """
    if not config.synthetic:
        from efgan.data.licensed import load_photos

        return load_photos(config).faces
    from efgan.data.synthetic import render_synthetic  # numba compiles on first use: only when faces are rendered

    faces = render_synthetic(
        config.dataset, identities=config.identities, variants=config.variants, random_aus=config.random_aus
    )
    return faces.resized(config.image_size)
