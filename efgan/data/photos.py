"""What every reader of photographs says: which photos a set has, who and what they show, and what is left out."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
OPENFACE_FOLDERS = ("openface", "processed")  # ours, and OpenFace's default: their pictures are drawings, not photos

# How data sets and people write the classes otherwise.
_OTHER_WORDS = {
    "anger": "angry", "contempt": "contemptuous", "disgust": "disgusted", "fear": "fearful", "afraid": "fearful",
    "happiness": "happy", "joy": "happy", "sadness": "sad", "surprise": "surprised", "neutrality": "neutral",
    "hate": "hatred", "awe": "awed",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photograph that a reader wants.

    Attributes:
        path: the file.
        name: unique within the set: its file name or its path there, without ending.
        person: who is shown, in the set's own numbering.
        expression: index of the class, -1 for none.
        variant: faces of one person and variant may be compared pixel by pixel.
        group: what else the set says of the person, e.g. "Caucasian female".
    """

    path: Path
    name: str
    person: str
    expression: int
    variant: int = 0
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """One photo that is left out: which, why (a few words, to be counted), and what to do."""

    path: Path
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A set as its reader finds it on disk, before anything is decoded.

    Attributes:
        photos: sorted by person and name; no name comes twice.
        excluded: what was left out.
        expression_names: the classes.
        evaluated: the classes that metrics use.
    """

    photos: tuple[Photo, ...]
    excluded: tuple[Excluded, ...]
    expression_names: tuple[str, ...]
    evaluated: tuple[str, ...]


def build_listing(
    found: Iterable[Photo | Excluded], expression_names: tuple[str, ...], evaluated: tuple[str, ...]
) -> Listing:
    """A listing of what a reader found; of photos with the same name only the first is kept."""
    photos: dict[str, Photo] = {}
    excluded = []
    for item in found:
        if isinstance(item, Excluded):
            excluded.append(item)
        elif item.name.lower() in photos:
            kept = photos[item.name.lower()].path
            excluded.append(Excluded(path=item.path, reason="there twice", remedy=f"nothing to do: {kept} is used"))
        else:
            photos[item.name.lower()] = item
    ordered = sorted(photos.values(), key=lambda photo: (photo.person, photo.name))
    return Listing(photos=tuple(ordered), excluded=tuple(excluded), expression_names=expression_names,
                   evaluated=evaluated)  # fmt: skip


def find_pictures(folder: Path) -> list[Path]:
    """All picture files below a folder, sorted, less hidden files and what OpenFace drew."""

    def wanted(path: Path) -> bool:
        folders = path.relative_to(folder).parts[:-1]
        return not path.name.startswith(".") and not any(
            name.startswith(".") or name.endswith("_aligned") or name.lower() in OPENFACE_FOLDERS for name in folders
        )

    return sorted(path for path in find_files(folder, SUFFIXES) if wanted(path))


def find_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """All files below a folder with these endings, those in linked folders too; each folder once, by its own name."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        links = {name for name in folders if Path(place, name).is_symlink()}
        folders[:] = [*sorted(set(folders) - links), *sorted(links)]
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in names if name.lower().endswith(suffixes))


def photo_name(path: Path, folder: Path) -> str:
    """A photo's path within its set, without ending."""
    return path.relative_to(folder).with_suffix("").as_posix()


def find_expression(text: str, names: tuple[str, ...]) -> int | None:
    """Index of the class that a word names, however it is written; None if it names none of `names`.

    >>> find_expression("Happily Surprised", ("neutral", "happily_surprised"))
    1
    >>> find_expression("Fear", ("neutral", "fearful"))
    1
    """
    letters = re.sub(r"[^a-z]", "", text.lower())
    plain = [name.replace("_", "") for name in names]
    word = _OTHER_WORDS.get(letters, letters)
    return plain.index(word) if word in plain else None
