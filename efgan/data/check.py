"""What is in a set of photographs, what was left out, and whether its Action Units look right."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from efgan.data import cfeed, rafd
from efgan.data.action_units import AU_NAMES, MAX_INTENSITY
from efgan.data.licensed import NO_CSV, NOT_FIRST, PhotoSet
from efgan.provenance import write_atomic

_COMPLETE = {"rafd": rafd.COMPLETE, "cfeed": cfeed.COMPLETE}
_NAMED = 3  # files named per reason; all are in excluded.csv


@dataclass(frozen=True, kw_only=True)
class Check:
    """The findings about one set; tables show themselves in a notebook.

    Attributes:
        summary: one line: how many faces of how many people of how many photos.
        counts: faces by person (rows) and class (columns), with sums.
        groups: faces and people by group, where the set names groups.
        excluded: photos left out by reason: count, examples, remedy.
        files: every photo left out: file, reason, remedy.
        action_units: mean, deviation, least, most and share above 0 of each AU, on OpenFace's 0-5.
        warnings: one line each; empty if all looks right.
    """

    summary: str
    counts: pd.DataFrame
    groups: pd.DataFrame
    excluded: pd.DataFrame
    files: pd.DataFrame
    action_units: pd.DataFrame
    warnings: tuple[str, ...]

    def text(self) -> str:
        """All of it for a terminal; people by their number of faces instead of one by one."""
        per_person = self.counts["all"].drop("all", errors="ignore").value_counts().sort_index(ascending=False)
        people = [f"  {people} people with {faces} faces" for faces, people in per_person.items()]
        classes = self.counts.loc["all"].drop("all").to_string() if len(self.counts) else "none"
        parts = [self.summary, "", "Faces per class:", _indented(classes), "Faces per person:", *people]
        if len(self.groups):
            parts += ["Groups:", _indented(self.groups.to_string())]
        parts += ["Left out:" if len(self.excluded) else "Nothing was left out."]
        for reason, row in self.excluded.iterrows():
            parts += [f"  {row['photos']} × {reason}: {row['examples']}", f"      -> {row['remedy']}"]
        if len(self.counts):
            parts += ["Action Units (OpenFace's 0-5):", _indented(self.action_units.round(2).to_string())]
        parts += [f"WARNING: {line}" for line in self.warnings] or ["No warnings."]
        return "\n".join(parts)

    def save(self, folder: Path) -> list[Path]:
        """Writes counts.csv, action_units.csv and excluded.csv; returns their paths."""
        tables = {"counts": self.counts, "action_units": self.action_units, "excluded": self.files}
        for name, table in tables.items():
            with write_atomic(folder / f"{name}.csv") as file:
                table.to_csv(file, index=name != "excluded", float_format="%.4g")
        return [folder / f"{name}.csv" for name in tables]


def check_photos(found: PhotoSet) -> Check:
    """Counts, exclusions and AU statistics of a set."""
    faces, photos = found.faces, found.photos
    everything = len(photos) + len(found.excluded)
    people = len({photo.person for photo in photos})
    labels = [faces.expression_names[p.expression] if p.expression >= 0 else "no class" for p in photos]
    names = [name for name in (*faces.expression_names, "no class") if name in labels]
    counts = pd.crosstab(pd.Series([p.person for p in photos], name="person"), pd.Series(labels, name="class"))
    counts = counts.reindex(columns=names).assign(all=lambda table: table.sum(axis=1))
    if len(counts):
        counts.loc["all"] = counts.sum()
    grouped = pd.DataFrame({"group": [p.group for p in photos], "person": [p.person for p in photos]})
    groups = grouped[grouped["group"] != ""].groupby("group")["person"].agg(faces="size", people="nunique")
    files = pd.DataFrame([(str(e.path), e.reason, e.remedy) for e in found.excluded],
                         columns=["file", "reason", "remedy"])  # fmt: skip
    return Check(
        summary=f"{faces.name} in {found.folder}: {len(photos)} faces of {people} people from {everything} photos, "
        f"{len(found.excluded)} left out",
        counts=counts, groups=groups, excluded=_by_reason(found), files=files,
        action_units=_statistics(found.aus), warnings=tuple(_warnings(found)),
    )  # fmt: skip


def _by_reason(found: PhotoSet) -> pd.DataFrame:
    rows = {}
    for reason, count in Counter(e.reason for e in found.excluded).most_common():
        same = [e for e in found.excluded if e.reason == reason]
        examples = ", ".join(e.path.name for e in same[:_NAMED]) + (", …" if count > _NAMED else "")
        rows[reason] = {"photos": count, "examples": examples, "remedy": same[0].remedy}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["photos", "examples", "remedy"]).rename_axis("reason")


def _statistics(aus: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(aus, columns=list(AU_NAMES))
    columns = {"mean": table.mean(), "deviation": table.std(), "least": table.min(), "most": table.max(),
               "above 0": (table > 0).mean()}  # fmt: skip
    return pd.DataFrame(columns)


def _warnings(found: PhotoSet) -> Iterator[str]:
    aus, photos = found.aus, found.photos
    if not photos:
        yield "no face can be used: see what was left out and mend it first"
        return
    zero = [name for name, column in zip(AU_NAMES, aus.T, strict=True) if not column.any()]
    if len(zero) == len(AU_NAMES):
        yield "all Action Units are 0 in all photos: OpenFace ran without its AU models; run it again with -aus"
    elif zero:
        yield f"always 0: {', '.join(zero)}; OpenFace's AU models may be incomplete: download its models again"
    constant = [name for name, column in zip(AU_NAMES, aus.T, strict=True) if column.any() and np.ptp(column) == 0]
    if constant and len(photos) > 1:
        yield f"the same in every photo: {', '.join(constant)}; these columns were not measured: run OpenFace again"
    above = np.argwhere(aus > MAX_INTENSITY)
    for row, column in above[:1].tolist():
        yield (f"{len(above)} intensities above 5, e.g. {AU_NAMES[column]} = {aus[row, column]:.2f} of "
               f"{photos[row].path.name}; they are taken as 5: look whether the CSVs are OpenFace's own")  # fmt: skip
    missing = sum(e.reason == NO_CSV for e in found.excluded)
    if missing:
        remedy = next(e.remedy for e in found.excluded if e.reason == NO_CSV)
        yield f"without OpenFace CSV: {missing} photo(s); {remedy}"
    wanted = _COMPLETE.get(found.faces.name)
    part = any(e.reason.startswith(NOT_FIRST) for e in found.excluded)
    if wanted and len(photos) != wanted and not part:
        there = {(p.person, p.expression, p.variant) for p in photos}
        shown_by_all = product(sorted({p.person for p in photos}), sorted({(e, v) for _, e, v in there}))
        lacking = [(who, e, v) for who, (e, v) in shown_by_all if (who, e, v) not in there]
        names = found.faces.expression_names
        example = [f", e.g. person {who}: {names[e]}, variant {v}" for who, e, v in lacking[:1]]
        yield (f"the complete set has {wanted} such faces, this one {len(photos)}; {len(lacking)} that its other "
               f"people have are missing{''.join(example)}")  # fmt: skip
    shown = Counter(person for person, _ in {(p.person, p.expression) for p in photos})
    if found.faces.name in _COMPLETE and max(shown.values()) < 2:
        yield ("nobody shows two expressions, so nothing can be evaluated: people are not read from the names as you "
               "mean it; write a manifest.csv (path,subject,category)")  # fmt: skip


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
