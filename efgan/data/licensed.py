"""The licensed sets and other photographs as face sets: read by name, measured by OpenFace, cropped by landmarks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from efgan.config import DataConfig
from efgan.data.action_units import MAX_INTENSITY
from efgan.data.affectnet import list_affectnet
from efgan.data.cfeed import list_cfeed
from efgan.data.decode import SIZE, decode
from efgan.data.faces import FaceSet
from efgan.data.folder import list_folder
from efgan.data.openface import find_sources, how_to_measure
from efgan.data.photos import Excluded, Listing, Photo
from efgan.data.rafd import list_rafd
from efgan.errors import UserError
from efgan.experiments import real_folder

READERS: dict[str, Callable[[Path], Listing]] = {
    "rafd": list_rafd, "cfeed": list_cfeed, "affectnet": list_affectnet, "folder": list_folder,
}  # fmt: skip
NO_CSV = "no OpenFace CSV"
# Faces lie whole in memory, 49 kB each at 128 px; AffectNet has 287,000 with an expression. Our decision.
MOST_PEOPLE = {"affectnet": 20_000}


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """A set of photographs, loaded.

    Attributes:
        faces: what can be used.
        aus: float32, N×17, as OpenFace wrote them (0-5, sometimes above).
        photos: N, where the faces come from.
        excluded: every photo that was left out.
        folder: where the set lies.
    """

    faces: FaceSet
    aus: np.ndarray
    photos: tuple[Photo, ...]
    excluded: tuple[Excluded, ...]
    folder: Path


def load_photos(config: DataConfig, *, jobs: int | None = None) -> PhotoSet:
    """Loads a set of photographs; decodes and crops what the cache does not hold.

    Args:
        config: `dataset`, `data_root`, `image_size`; `identities` takes the first so many people.
        jobs: worker processes; None = one per core.

    Raises:
        UserError: the set is not there, or no photo of it can be used; the message names the most frequent reason.
    """
    folder = real_folder(config.data_root, config.dataset)
    listing = READERS[config.dataset](folder)
    sources = find_sources(listing.photos, folder)
    measured = [photo for photo in listing.photos if photo.name in sources]
    unmeasured = [photo for photo in listing.photos if photo.name not in sources]
    remedy = how_to_measure(folder, unmeasured) if unmeasured else ""
    excluded = [*listing.excluded, *(Excluded(path=p.path, reason=NO_CSV, remedy=remedy) for p in unmeasured)]
    wanted = _some_people(measured, config.identities or MOST_PEOPLE.get(config.dataset))
    if not wanted:
        raise UserError(_nothing(config.dataset, folder, excluded))
    decoded = decode(
        wanted, sources, dataset=config.dataset, folder=folder, size=max(SIZE, config.image_size), jobs=jobs
    )
    excluded += decoded.excluded
    photos = tuple(photo for photo, usable in zip(wanted, decoded.usable, strict=True) if usable)
    if not photos:
        raise UserError(_nothing(config.dataset, folder, excluded))
    rows = decoded.usable
    numbers = {person: k for k, person in enumerate(sorted({photo.person for photo in photos}))}
    faces = FaceSet(
        name=config.dataset,
        images=torch.from_numpy(decoded.images[rows]).permute(0, 3, 1, 2).contiguous(),
        aus=torch.from_numpy(decoded.aus[rows] / MAX_INTENSITY).clamp(0, 1),
        landmarks=torch.from_numpy(decoded.landmarks[rows]),
        identity=torch.tensor([numbers[photo.person] for photo in photos]),
        expression=torch.tensor([photo.expression for photo in photos]),
        variant=torch.tensor([photo.variant for photo in photos]),
        expression_names=listing.expression_names, evaluated=listing.evaluated,
        names=tuple(photo.name for photo in photos), synthetic=False,
    )  # fmt: skip
    return PhotoSet(faces=faces.resized(config.image_size), aus=decoded.aus[rows], photos=photos,
                    excluded=tuple(excluded), folder=folder)  # fmt: skip


def _some_people(photos: Sequence[Photo], limit: int | None) -> list[Photo]:
    """The photos of the first people."""
    people = set(sorted({photo.person for photo in photos})[:limit])
    return [photo for photo in photos if photo.person in people]


def _nothing(dataset: str, folder: Path, excluded: Sequence[Excluded]) -> str:
    """One line: why no face can be used, and what to do about the most frequent reason."""
    if not excluded:
        return f"{dataset}: no pictures in {folder}; put the set's photos there"
    counts = Counter(item.reason for item in excluded)
    reason = max(counts, key=lambda r: (not r.startswith("camera"), counts[r]))
    example = next(item for item in excluded if item.reason == reason)
    return (f"{dataset}: none of {len(excluded)} photos in {folder} can be used; most often: {reason} "
            f"({counts[reason]}, e.g. {example.path.name}); {example.remedy}")  # fmt: skip
