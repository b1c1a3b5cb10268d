"""Runs a user's own OpenFace on the photos that have no CSV yet."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from efgan.data.licensed import MOST_PEOPLE, READERS, find_sets, first_people
from efgan.data.openface import find_sources, how_to_measure
from efgan.data.photos import Photo
from efgan.errors import UserError
from efgan.progress import track

BINARIES = ("FaceLandmarkImg", "FeatureExtraction")  # the first is for stills
_AT_A_TIME = 50  # photos per call, so that an interruption loses little


@dataclass(frozen=True, kw_only=True)
class _Call:
    command: list[str]
    photos: int


def find_openface(named: Path | str | None = None) -> Path | None:
    """The OpenFace program: the one that is named (or the folder that holds it), else one on the PATH.

    Raises:
        UserError: what is named is no OpenFace program.
    """
    if named is None:
        found = next(filter(None, map(shutil.which, BINARIES)), None)
        return Path(found) if found else None
    for path in (Path(named), *(Path(named) / name for name in BINARIES)):
        if path.stem in BINARIES and path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    raise UserError(f"{named} is no OpenFace program: name {' or '.join(BINARIES)}, or the folder that holds them")


def run_openface(binary: Path, photos: Sequence[Photo], folder: Path) -> int:
    """Measures every photo that has no CSV yet, into `<set>/openface/`, with a progress bar.

    Args:
        binary: see `find_openface`.
        photos: of one set.
        folder: the set.

    Returns:
        Photos that are still without a CSV: OpenFace found no face, or could not read them.

    Raises:
        UserError: OpenFace cannot be started, or wrote nothing at all.
    """
    known = find_sources(photos, folder)
    todo = [photo for photo in photos if photo.name not in known]
    calls = list(_calls(binary, todo, folder))

    def done() -> Iterator[None]:
        for call in calls:
            try:  # it fails on single photos; what it wrote counts
                subprocess.run(call.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            except OSError as error:
                raise UserError(f"{binary}: cannot be started ({error.strerror}); try it in a terminal") from error
            yield from [None] * call.photos

    for _ in track(done(), total=len(todo), description=f"OpenFace on {folder.name}"):
        pass
    left = len(photos) - len(find_sources(photos, folder))
    if todo and left == len(todo):
        raise UserError(f"{binary} wrote no CSV for any of {left} photos; try it in a terminal: "
                        f"{' '.join(calls[0].command[:3])} … {' '.join(calls[0].command[-4:])}")  # fmt: skip
    return left


def measure_folder(folder: Path, dataset: str | None, named: Path | None) -> Iterator[str]:
    """Measures the sets in a folder: what `efgan data openface` does, told line by line.

    Args:
        folder: a data root, or one set.
        dataset: only this one; None for all that are there.
        named: the OpenFace program; None for the one on the PATH.

    Raises:
        UserError: no OpenFace; the message says which command to run where it is.
    """
    binary = find_openface(named)
    for name, place in find_sets(folder, dataset).items():
        photos = first_people(READERS[name](place).photos, MOST_PEOPLE.get(name))
        if binary is None:
            raise UserError(f"no OpenFace on the PATH: name it with --binary, or run this where it is: "
                            f"{how_to_measure(place, photos)}")  # fmt: skip
        left = run_openface(binary, photos, place)
        yield f"{name}: {len(photos) - left} of {len(photos)} photos measured; CSVs in {place / 'openface'}"


def _calls(binary: Path, photos: list[Photo], folder: Path) -> Iterator[_Call]:
    places: dict[Path, list[Path]] = {}
    for photo in photos:
        places.setdefault(photo.path.parent, []).append(photo.path)
    for place, paths in places.items():
        out = ["-out_dir", str(folder / "openface" / place.relative_to(folder))]
        if binary.stem == "FeatureExtraction":  # takes a folder as one sequence; static models, as these are stills
            command = [str(binary), "-fdir", str(place), *out, "-of", place.name, "-au_static", "-2Dfp", "-aus"]
            yield _Call(command=command, photos=len(paths))
            continue
        for start in range(0, len(paths), _AT_A_TIME):
            chunk = paths[start : start + _AT_A_TIME]
            files = [word for path in chunk for word in ("-f", str(path))]
            yield _Call(command=[str(binary), *files, *out, "-2Dfp", "-aus"], photos=len(chunk))
