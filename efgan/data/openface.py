"""Action Units and landmarks from OpenFace 2.x CSVs of every vintage, and how to get them.

Columns are found by their stripped names, so that the header's spaces (2.0 separates by ", ") and the columns before
and between (gaze, pose, 3-D points) do not matter. Image mode (FaceLandmarkImg: `face`, `confidence`, no `success`) and
video mode (FeatureExtraction: `frame`, `timestamp`, `success`) are read alike.
"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from efgan.data.action_units import AU_NAMES
from efgan.data.photos import OPENFACE_FOLDERS, Photo, find_files, find_pictures

LEAST_CONFIDENCE = 0.8
AU_COLUMNS = tuple(f"{name}_r" for name in AU_NAMES)
POINT_COLUMNS = tuple(f"{axis}_{k}" for axis in "xy" for k in range(68))  # in small letters: X_0 is another, in mm
_FILE_COLUMNS = ("file", "filename", "file_name", "name", "image", "input", "path")
_READ = {*AU_COLUMNS, *POINT_COLUMNS, *_FILE_COLUMNS, "confidence", "success", "frame"}
_NO_NUMBER = ["-nan(ind)", "nan(ind)", "-nan", "-1.#IND", "1.#INF"]  # as C++ prints them
_NO_FACE = "OpenFace found no face"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the measurements of one photo stand.

    Attributes:
        path: the CSV.
        row: None for the photo's own CSV; a stem, in small letters, or a frame's number in a folder's CSV.
    """

    path: Path
    row: str | int | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What OpenFace says of one face: AUs float32 17, as they stand (0-5); landmarks float32 68×2, photo pixels."""

    aus: np.ndarray
    landmarks: np.ndarray


class UnusableError(ValueError):
    """Measurements that cannot be used: `args` are the reason in a few words and the remedy."""


def find_sources(photos: Sequence[Photo], folder: Path) -> dict[str, Source]:
    """The CSV of every photo that has one, by the photo's name.

    Looked for anywhere below the set's folder: a CSV with the photo's stem (of several, the one in a folder of the same
    name as the photo's), else a CSV with a column of file names, else, for a folder processed as a sequence, a CSV
    with the folder's stem and as many frames as the folder has pictures, in their sorted order. Where several folders
    or pictures share a name, a CSV belongs to those that lie where it does: rather no AUs than somebody else's.
    """
    tables: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(find_files(folder, (".csv",))):
        tables[path.stem.lower()].append(path)
    pictures = find_pictures(folder)  # listed in the set or not
    namesakes = Counter(picture.stem.lower() for picture in pictures)
    found = {}
    for photo in photos:
        stem = photo.path.stem.lower()
        if own := _own_table(photo.path, tables.get(stem, []), folder, alone=namesakes[stem] == 1):
            found[photo.name] = Source(path=own)
    if len(found) < len(photos):
        shared = [path for stem, paths in tables.items() if stem not in namesakes for path in paths]
        rest = [photo for photo in photos if photo.name not in found]
        for path in shared:
            found |= _rows_for(path, rest, pictures, folder)
    return found


def _own_table(photo: Path, tables: list[Path], folder: Path, *, alone: bool) -> Path | None:
    """The table that lies where the photo does, apart from OpenFace's own folders; for a photo that is alone in having
    its stem, the only table anywhere else.
    """
    place = _place(photo, folder)
    same = [path for path in tables if _place(path, folder) == place]
    return same[0] if same else tables[0] if alone and len(tables) == 1 else None


def _place(path: Path, folder: Path) -> tuple[str, ...]:
    return tuple(p.lower() for p in path.relative_to(folder).parts[:-1] if p.lower() not in OPENFACE_FOLDERS)


def _rows_for(path: Path, photos: list[Photo], pictures: list[Path], folder: Path) -> dict[str, Source]:
    """The rows of a folder's CSV by the photos' names; of pictures with one stem only that in the CSV's own folder, or
    in the folder of the CSV's name.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            columns = [column.strip() for column in file.readline().split(",")]
        if AU_COLUMNS[0] not in columns:
            return {}
        table = read_openface(path, path.stat().st_mtime_ns)
    except (OSError, UnusableError):
        return {}
    if "stem" in table:
        stems, place = set(table["stem"]), _place(path, folder)
        namesakes = Counter(picture.stem.lower() for picture in pictures)
        return {
            photo.name: Source(path=path, row=stem)
            for photo in photos
            if (stem := photo.path.stem.lower()) in stems
            and (namesakes[stem] == 1 or _place(photo.path, folder) in (place, (*place, path.stem.lower())))
        }
    found: dict[str, Source] = {}
    homes: dict[Path, list[Path]] = defaultdict(list)
    for picture in pictures:
        if picture.parent.name.lower() == path.stem.lower():
            homes[picture.parent].append(picture)
    for home, inside in homes.items():
        at_home = (_place(home, folder), _place(home / "picture", folder))  # beside the folder, or in it
        if len(homes) > 1 and _place(path, folder) not in at_home:
            continue
        if "frame" in table and table["frame"].nunique() == len(inside):
            frames = dict(zip(inside, sorted(table["frame"].unique()), strict=True))
            found |= {photo.name: Source(path=path, row=int(frames[photo.path])) for photo in photos
                      if photo.path in frames}  # fmt: skip
    return found


@lru_cache(maxsize=4)  # a folder's CSV is asked for photo by photo
def read_openface(path: Path, modified: int) -> pd.DataFrame:
    """One CSV as numbers under stripped column names.

    Args:
        path: the file.
        modified: its time of change; a changed file is read anew.

    Returns:
        confidence, AUs and landmarks; `success` and `frame` where there are such; `stem` where a column names files.
        What is no number is NaN.

    Raises:
        UnusableError: not readable, or a column is missing.
    """
    try:
        table = pd.read_csv(path, usecols=lambda name: str(name).strip() in _READ, skipinitialspace=True,
                            na_values=_NO_NUMBER, encoding="utf-8-sig", low_memory=False)  # fmt: skip
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UnusableError("OpenFace CSV not readable", f"run OpenFace on it again ({path}: {error})") from error
    table = table.rename(columns=lambda name: str(name).strip())
    missing = [name for name in ("confidence", *AU_COLUMNS, *POINT_COLUMNS) if name not in table]
    if missing:
        parts = {"confidence": "not an OpenFace CSV", AU_COLUMNS[0]: "OpenFace CSV without Action Units"}
        raise UnusableError(parts.get(missing[0], "OpenFace CSV without landmarks"),
                            f"{path} lacks {', '.join(missing[:3])} …: run OpenFace with -2Dfp -aus")  # fmt: skip
    named = next((name for name in _FILE_COLUMNS if name in table), None)
    stems = [Path(str(text).strip().replace("\\", "/")).stem.lower() for text in table[named]] if named else None
    table = table.drop(columns=[name for name in _FILE_COLUMNS if name in table])
    if not all(map(pd.api.types.is_numeric_dtype, table.dtypes)):
        table = table.apply(pd.to_numeric, errors="coerce")
    return table if stems is None else table.copy().assign(stem=stems)


def measure(source: Source) -> Measurement:
    """The largest face's measurements.

    Raises:
        UnusableError: no face, low confidence, several frames where one is expected, or values that are no numbers.
    """
    if source.row is None:
        table = _read_still(source.path)
    else:
        table = read_openface(source.path, source.path.stat().st_mtime_ns)
        table = table[table["stem" if isinstance(source.row, str) else "frame"] == source.row]
    where = f"look at the photo, or run OpenFace on a larger or better lit one ({source.path})"
    if table.empty:
        raise UnusableError(_NO_FACE, where)
    points, aus, whole = _values(table)
    if not whole.any():
        raise UnusableError("OpenFace values are no numbers", f"run OpenFace on it again ({source.path})")
    areas = np.where(whole, np.ptp(points, axis=1).prod(-1), -1.0)
    largest = int(areas.argmax())
    row = table.iloc[largest]
    if row.get("success", 1) == 0 or areas[largest] == 0:
        raise UnusableError(_NO_FACE, where)
    if not row["confidence"] >= LEAST_CONFIDENCE:
        raise UnusableError(f"OpenFace confidence below {LEAST_CONFIDENCE}", f"{row['confidence']:.2f}: {where}")
    return Measurement(aus=aus[largest], landmarks=points[largest])


def measure_all(path: Path) -> list[Measurement]:
    """Every face of one photo's CSV that can be relied on, from left to right.

    Raises:
        UnusableError: several frames, or no such face.
    """
    table = _read_still(path)
    points, aus, whole = _values(table)
    found = table["confidence"] >= LEAST_CONFIDENCE
    if "success" in table:
        found &= table["success"] != 0
    faces = [Measurement(aus=aus[k], landmarks=points[k]) for k in (whole & found.to_numpy()).nonzero()[0]]
    if not faces:
        raise UnusableError(f"{_NO_FACE} with a confidence of {LEAST_CONFIDENCE} or more",
                            "take a larger or better lit photo")  # fmt: skip
    return sorted(faces, key=lambda face: float(face.landmarks[:, 0].mean()))


def _read_still(path: Path) -> pd.DataFrame:
    """The CSV of one photo."""
    table = read_openface(path, path.stat().st_mtime_ns)
    if "frame" in table and table["frame"].nunique() > 1:
        raise UnusableError("OpenFace CSV of a video", f"{path} has several frames: run FaceLandmarkImg on the photo")
    return table


def _values(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks N×68×2, AUs N×17, and which of the N rows are numbers throughout."""
    points = table[list(POINT_COLUMNS)].to_numpy(np.float32).reshape(len(table), 2, 68).transpose(0, 2, 1)
    aus = table[list(AU_COLUMNS)].to_numpy(np.float32)
    return points, aus, np.isfinite(points).all((1, 2)) & np.isfinite(aus).all(1)


def how_to_measure(folder: Path, photos: Iterable[Photo]) -> str:
    """The exact commands that make the CSVs of these photos, one line each, to be run where OpenFace is.

    Source: FaceLandmarkImg and its static models are for stills; FeatureExtraction normalises AUs over a sequence.
    """
    places = sorted({photo.path.parent.relative_to(folder).as_posix() for photo in photos})
    if len(places) == 1:
        run = f"FaceLandmarkImg -fdir {shlex.quote(places[0])} -out_dir openface -2Dfp -aus"
    else:
        run = (r"find . -name openface -prune -o -type d -exec FaceLandmarkImg -fdir {} -out_dir openface/{} "
               r"-2Dfp -aus \;")  # fmt: skip
    return f"cd {shlex.quote(str(folder))} && {run}"
