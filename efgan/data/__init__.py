"""Faces with Action Units: one contract, one reader per dataset."""

from dataclasses import replace

from efgan.config import JOINED_DATASETS, DataConfig
from efgan.data.faces import FaceSet, join_faces
from efgan.data.photometry import photographed

_RAFD_PEOPLE = 67  # of RaFD and of the embedded set in its role; the one in CFEED's has more


def load_faces(config: DataConfig) -> FaceSet:
    """Loads (and renders or decodes, on first use) the faces of a dataset at `config.image_size` pixels.

    Raises:
        UserError: a licensed set is not there, or nothing of it can be used; the message says what to do.
    """
    if config.dataset in JOINED_DATASETS:
        first, second = JOINED_DATASETS[config.dataset]
        people = min(config.identities or _RAFD_PEOPLE, _RAFD_PEOPLE)
        faces = join_faces(config.dataset, [
            load_faces(replace(config, dataset=first, identities=people)),
            load_faces(replace(config, dataset=second, variants=None)),
        ])  # fmt: skip
        return photographed(faces, seed=config.split_seed) if config.dataset == "synthetic_wild" else faces
    if not config.synthetic:
        from efgan.data.licensed import load_photos

        return load_photos(config).faces
    from efgan.data.synthetic import render_synthetic  # numba compiles on first use: only when faces are rendered

    faces = render_synthetic(
        config.dataset, identities=config.identities, variants=config.variants, random_aus=config.random_aus
    )
    return faces.resized(config.image_size)
