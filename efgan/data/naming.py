"""Who and what a photo shows, where a set has no fixed file names: by a manifest, a pattern, or its folder.

For folders of any photos, and for CFEED, whose names (``02_339_3470.jpg``: category, subject, shot) we know only from
public code that reads it, and whose numbers of categories we do not know. Looked for in this order:

- ``manifest.csv`` in the set's folder: columns path (relative to it), subject, category, one row per photo;
- ``naming.json`` there: ``{"pattern": "(?P<subject>\\\\d+)_(?P<category>\\\\w+)", "categories": {"01": "neutral"}}``,
  a regular expression searched in each photo's path; "categories" translates what it finds and may be left out;
- one folder per category, named like it; the subject is the first number in the file name, in CFEED's names the second.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from efgan.data.photos import Excluded, Photo, find_expression, find_pictures, photo_name
from efgan.errors import UserError

MANIFEST, PATTERN = "manifest.csv", "naming.json"
_AS_DELIVERED = re.compile(r"\d\d_(?P<subject>\d{3})_\d")  # CFEED's file names
_NAMING = r'{"pattern": "(^|/)(?P<category>\\d\\d)_(?P<subject>\\d{3})_", "categories": {"01": "neutral", …}}'
_COLUMNS = {
    "path": ("path", "file", "filename", "image"),
    "subject": ("subject", "person", "identity", "id"),
    "category": ("category", "expression", "emotion", "label"),
}


def list_by_manifest(folder: Path, names: tuple[str, ...], *, labelled: bool) -> Iterator[Photo | Excluded]:
    """The photos of a manifest.csv.

    Args:
        folder: the set.
        names: the categories.
        labelled: True if every row needs a subject and a category; else a photo without subject is its own.

    Raises:
        UserError: it cannot be read, or a column is missing.
    """
    path = folder / MANIFEST
    table = read_table(path)
    columns = {role: _column(table, words) for role, words in _COLUMNS.items()}
    needed = list(_COLUMNS) if labelled else ["path"]
    if missing := [role for role in needed if columns[role] is None]:
        raise UserError(f"{path}: no column {' nor '.join(missing)}; it has {', '.join(table.columns)}; give it "
                        "the header path,subject,category")  # fmt: skip
    for row in table.to_dict("records"):
        cells = {role: row[column].strip() if column else "" for role, column in columns.items()}
        photo = folder / cells["path"]
        if not (photo.is_file() and photo.is_relative_to(folder)):
            yield Excluded(path=photo, reason="named in manifest.csv but not there",
                           remedy=f"correct its row in {path}; paths are relative to {folder}")  # fmt: skip
            continue
        yield _labelled(photo, folder, cells["subject"], cells["category"], names, labelled, where=str(path))


def list_by_pattern(folder: Path, names: tuple[str, ...], *, labelled: bool) -> Iterator[Photo | Excluded]:
    """All photos whose path a naming.json's pattern reads. Args as `list_by_manifest`.

    Raises:
        UserError: no JSON, no pattern, or one without the groups subject and category.
    """
    path = folder / PATTERN
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        pattern = re.compile(settings["pattern"], re.IGNORECASE)
        categories = {str(key).lower(): str(value) for key, value in settings.get("categories", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        raise UserError(f'{path}: not readable ({error}); it must look like {{"pattern": "(?P<subject>\\\\d+)_'
                        f'(?P<category>\\\\w+)", "categories": {{"01": "neutral"}}}}') from error  # fmt: skip
    if labelled and not {"subject", "category"} <= pattern.groupindex.keys():
        raise UserError(f"{path}: the pattern needs the groups (?P<subject>…) and (?P<category>…)")
    for photo in find_pictures(folder):
        match = pattern.search(photo.relative_to(folder).as_posix())
        if match is None:
            yield Excluded(path=photo, reason="path does not fit the pattern", remedy=f"correct the pattern in {path}")
            continue
        found = {key: value or "" for key, value in match.groupdict().items()}
        category = found.get("category", "")
        category = categories.get(category.lower(), category)
        yield _labelled(photo, folder, found.get("subject", ""), category, names, labelled, where=str(path))


def list_by_folder(folder: Path, names: tuple[str, ...], *, labelled: bool) -> Iterator[Photo | Excluded]:
    """All photos, with the category of the folder they lie in; for the subject see this module's head.

    Args as `list_by_manifest`; unless `labelled`, every photo is a person of its own, as numbers mean nothing then.
    """
    for photo in find_pictures(folder):
        folders = photo.relative_to(folder).parts[:-1]
        category = next((name for name in reversed(folders) if find_expression(name, names) is not None), "")
        delivered, number = _AS_DELIVERED.match(photo.stem), re.search(r"\d+", photo.stem)
        if labelled and delivered and not category:
            yield Excluded(path=photo, reason="its category is a number in its name",
                           remedy=f"write {folder / PATTERN}: {_NAMING}, with all numbers and names of the sheet "
                                  "\"summary\" of the set's AU_annotation_all_subjects.xls")  # fmt: skip
            continue
        subject = (delivered["subject"] if delivered else number[0] if number else photo.stem) if labelled else ""
        yield _labelled(photo, folder, subject, category, names, labelled, where="its folder's name")


def list_by_what_is_there(folder: Path, names: tuple[str, ...], *, labelled: bool) -> Iterator[Photo | Excluded]:
    """By manifest.csv, else by naming.json, else by folders. Args and Raises as the three."""
    if (folder / MANIFEST).is_file():
        return list_by_manifest(folder, names, labelled=labelled)
    if (folder / PATTERN).is_file():
        return list_by_pattern(folder, names, labelled=labelled)
    return list_by_folder(folder, names, labelled=labelled)


def read_table(path: Path, *, header: bool = True) -> pd.DataFrame:
    """A CSV of text cells, its columns stripped and in small letters, or numbered where there is no header.

    Raises:
        UserError: it cannot be read.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True,
                            header=0 if header else None)  # fmt: skip
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not readable as CSV ({error}); save it as comma-separated UTF-8") from error
    return table.rename(columns=lambda name: str(name).strip().lower())


def _column(table: pd.DataFrame, words: tuple[str, ...]) -> str | None:
    return next((word for word in words if word in table.columns), None)


def _labelled(
    path: Path, folder: Path, subject: str, category: str, names: tuple[str, ...], labelled: bool, *, where: str
) -> Photo | Excluded:
    label = find_expression(category, names)
    if label is None and (labelled or category):
        return Excluded(path=path, reason=f"unknown category {category!r}" if category else "no category",
                        remedy=f"correct it in {where}; there are {', '.join(names)}")  # fmt: skip
    if labelled and not subject:
        return Excluded(path=path, reason="no subject", remedy=f"correct it in {where}")
    name = photo_name(path, folder)
    return Photo(path=path, name=name, person=subject or name, expression=-1 if label is None else label)
