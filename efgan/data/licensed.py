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
from efgan.data.photos import SUFFIXES, Excluded, Listing, Photo, find_files
from efgan.data.rafd import list_rafd
from efgan.errors import UserError
from efgan.experiments import real_folder

READERS: dict[str, Callable[[Path], Listing]] = {
    "rafd": list_rafd, "cfeed": list_cfeed, "affectnet": list_affectnet, "folder": list_folder,
}  # fmt: skip
NO_CSV = "no OpenFace CSV"
NOT_FIRST = "not of the first"  # people: fewer were asked for
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
    found = survey_photos(folder, config, jobs=jobs)
    if not len(found.faces):
        raise UserError(_nothing(config.dataset, folder, found.excluded))
    return found


def survey_photos(folder: Path, config: DataConfig, *, jobs: int | None = None) -> PhotoSet:
    """As `load_photos`, for a set that may hold nothing usable and lie in a folder of any name."""
    listing = READERS[config.dataset](folder)
    sources = find_sources(listing.photos, folder)
    measured = [photo for photo in listing.photos if photo.name in sources]
    limit = config.identities or MOST_PEOPLE.get(config.dataset)
    unmeasured = [photo for photo in first_people(listing.photos, limit) if photo.name not in sources]
    remedy = how_to_measure(folder, unmeasured) if unmeasured else ""
    excluded = [*listing.excluded, *(Excluded(path=p.path, reason=NO_CSV, remedy=remedy) for p in unmeasured)]
    wanted = first_people(measured, limit)
    named = {photo.name for photo in (*wanted, *unmeasured)}
    excluded += [
        Excluded(path=p.path, reason=f"{NOT_FIRST} {limit} people", remedy="nothing to do: so many were asked for")
        for p in listing.photos if p.name not in named
    ]  # fmt: skip
    decoded = decode(
        wanted, sources, dataset=config.dataset, folder=folder, size=max(SIZE, config.image_size), jobs=jobs
    )
    photos = tuple(photo for photo, usable in zip(wanted, decoded.usable, strict=True) if usable)
    aus = decoded.aus[decoded.usable]
    numbers = {person: k for k, person in enumerate(sorted({photo.person for photo in photos}))}
    faces = FaceSet(
        name=config.dataset,
        images=torch.from_numpy(decoded.images[decoded.usable]).permute(0, 3, 1, 2).contiguous(),
        aus=torch.from_numpy(aus / MAX_INTENSITY).clamp(0, 1),
        landmarks=torch.from_numpy(decoded.landmarks[decoded.usable]),
        identity=torch.tensor([numbers[photo.person] for photo in photos], dtype=torch.int64),
        expression=torch.tensor([photo.expression for photo in photos], dtype=torch.int64),
        variant=torch.tensor([photo.variant for photo in photos], dtype=torch.int64),
        expression_names=listing.expression_names, evaluated=listing.evaluated,
        names=tuple(photo.name for photo in photos), synthetic=False,
    )  # fmt: skip
    return PhotoSet(faces=faces.resized(config.image_size) if photos else faces, aus=aus, photos=photos,
                    excluded=(*excluded, *decoded.excluded), folder=folder)  # fmt: skip


def find_sets(folder: Path, dataset: str | None = None) -> dict[str, Path]:
    """The sets that a folder holds, or is: by the names of its subfolders, its own name, or RaFD's file names.

    Args:
        folder: a data root, or one set.
        dataset: take only this one; a folder without a subfolder of that name is taken for it.

    Raises:
        UserError: there is no such folder or no such set.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; name the one that holds rafd/, cfeed/ or affectnet/, or one of them"
        )
    if dataset is not None and dataset not in READERS:
        raise UserError(f"unknown dataset {dataset!r}: choose one of {', '.join(READERS)}")
    inside = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    if dataset is not None:
        return {dataset: inside.get(dataset, folder)}
    if found := {name: inside[name] for name in READERS if name in inside}:
        return found
    own = folder.resolve().name.lower()
    if own not in READERS:
        own = "rafd" if any(path.name.startswith("Rafd") for path in find_files(folder, SUFFIXES)) else "folder"
    return {own: folder}


def first_people(photos: Sequence[Photo], limit: int | None) -> list[Photo]:
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
