"""AffectNet (Mollahosseini et al. 2017): photos from the web, labelled by CSVs of several vintages or, in its later
release, by one file per photo.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from efgan.data.action_units import RAFD_EXPRESSIONS
from efgan.data.naming import read_table
from efgan.data.photos import (
    OPENFACE_FOLDERS,
    SUFFIXES,
    Excluded,
    Listing,
    Photo,
    build_listing,
    find_expression,
    find_files,
)
from efgan.errors import UserError

_PATHS = ("subdirectory_filepath", "filepath", "file_path", "path", "image", "file", "filename")
_LABELS = ("expression", "emotion", "label")
# The order of the original files; validation.csv came without a header.
_ORDER = ("subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
          "valence", "arousal")  # fmt: skip
_BY_NUMBER = ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry", "contemptuous")
_NO_FACE = {"8": "none", "9": "uncertain", "10": "no-face"}
_ONE_LABEL = "_exp.npy"  # the label of one photo
_DEPTH = 3  # folders below the set in which the annotations' paths may start


def list_affectnet(folder: Path) -> Listing:
    """AffectNet's photos, as the annotations in its folder name them; each shows a person of its own.

    Args:
        folder: the set: annotation CSVs (training.csv, validation.csv, …) and the photos' folders beside them, or
            train_set/ and val_set/ with images/1.jpg and annotations/1_exp.npy.

    Raises:
        UserError: no annotations, or a CSV that cannot be read.
    """
    tables = [path for path in sorted(folder.glob("*.csv")) if _is_annotation(path)]
    if not tables:
        single = sorted(
            path
            for path in find_files(folder, (_ONE_LABEL,))
            if path.parent.name == "annotations" and path.parent != folder
        )
        if not single:
            raise UserError(f"{folder}: no AffectNet annotations: put its CSVs there (training.csv, validation.csv, … "
                            "with the columns subDirectory_filePath and expression), or its folders train_set and "
                            f"val_set (annotations/1{_ONE_LABEL}, images/1.jpg)")  # fmt: skip
        return build_listing((_single(path, folder) for path in single), RAFD_EXPRESSIONS, RAFD_EXPRESSIONS)
    bases = [folder, *_folders(folder, _DEPTH)]
    found = (item for path in tables for item in _read(path, folder, bases))
    return build_listing(found, RAFD_EXPRESSIONS, RAFD_EXPRESSIONS)


def _single(label: Path, folder: Path) -> Photo | Excluded:
    """The photo of one label file, in images/ beside its folder."""
    photo = label.parents[1] / "images" / f"{label.name.removesuffix(_ONE_LABEL)}.jpg"
    try:
        text = str(np.load(label).item())
    except (OSError, ValueError, EOFError) as error:
        return Excluded(path=photo, reason="label not readable", remedy=f"get {label} again ({error})")
    return _photo(label, photo.relative_to(folder).as_posix(), text, folder, [folder])


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders below one, less AffectNet's own numbered ones, of which there are over a thousand."""
    for path in sorted(folder.iterdir()) if depth else ():
        if path.is_dir() and not path.name.isdigit() and path.name.lower() not in OPENFACE_FOLDERS:
            yield path
            yield from _folders(path, depth - 1)


def _is_annotation(path: Path) -> bool:
    first = _first_line(path)
    columns = {column.strip().lower() for column in first.split(",")}
    return _lacks_header(first) or not (columns.isdisjoint(_PATHS) or columns.isdisjoint(_LABELS))


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline()


def _lacks_header(first: str) -> bool:
    return first.split(",")[0].strip().lower().endswith(SUFFIXES)


def _read(path: Path, folder: Path, bases: list[Path]) -> Iterator[Photo | Excluded]:
    if _lacks_header(_first_line(path)):
        table = read_table(path, header=False)
        if table.shape[1] < 2:
            raise UserError(f"{path}: neither a header nor two columns; give it the header "
                            "subDirectory_filePath,expression")  # fmt: skip
        order = _ORDER if table.shape[1] == len(_ORDER) else ("subdirectory_filepath", "expression")
        table = table.iloc[:, : len(order)].set_axis(list(order), axis=1)
    else:
        table = read_table(path)
    place = next(name for name in _PATHS if name in table.columns)
    label = next(name for name in _LABELS if name in table.columns)
    for name, text in zip(table[place], table[label], strict=True):
        yield _photo(path, name.strip().replace("\\", "/").lstrip("/"), text.strip(), folder, bases)


def _photo(table: Path, name: str, text: str, folder: Path, bases: list[Path]) -> Photo | Excluded:
    text = text.removesuffix(".0")
    if text in _NO_FACE:
        return Excluded(path=folder / name, reason=f"labelled {text} ({_NO_FACE[text]})",
                        remedy="nothing to do: it has no expression")  # fmt: skip
    known = text.isdigit() and int(text) < len(_BY_NUMBER)
    expression = find_expression(_BY_NUMBER[int(text)] if known else text, RAFD_EXPRESSIONS)
    if expression is None:
        return Excluded(path=folder / name, reason=f"unknown label {text!r}",
                        remedy=f"correct it in {table}; there are 0-7 or {', '.join(_BY_NUMBER)}")  # fmt: skip
    path = next((base / name for base in bases if (base / name).is_file()), None)
    if path is None:
        return Excluded(path=folder / name, reason=f"named in {table.name} but not there",
                        remedy=f"put the photos below {folder}")  # fmt: skip
    stem = Path(name).with_suffix("").as_posix()
    return Photo(path=path, name=stem, person=stem, expression=expression)
