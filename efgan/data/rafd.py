"""RaFD (Langner et al. 2010): everything is in the file names, e.g. Rafd090_01_Caucasian_female_angry_frontal.jpg."""

import re
from pathlib import Path

from efgan.data.action_units import RAFD_EXPRESSIONS
from efgan.data.photos import Excluded, Listing, Photo, build_listing, find_pictures

FRONTAL = "090"  # degrees of the camera that the paper uses
GAZES = ("frontal", "left", "right")  # the variants: a person is compared with the same gaze
COMPLETE = 1608  # 67 people × 8 expressions × 3 gazes
_NAME = re.compile(
    r"Rafd(?P<camera>\d{3})_(?P<person>\d{2})_(?P<group>Caucasian|Moroccan|Kid)_(?P<gender>male|female)"
    rf"_(?P<expression>{'|'.join(RAFD_EXPRESSIONS)})_(?P<gaze>{'|'.join(GAZES)})",
    re.IGNORECASE,
)
_EXAMPLE = "Rafd090_01_Caucasian_female_angry_frontal.jpg"


def list_rafd(folder: Path) -> Listing:
    """RaFD's frontal photos, wherever they lie below a folder; other cameras are left out and counted.

    Args:
        folder: the set, flat as it is delivered or sorted into folders.

    Returns:
        1,608 photos when the set is complete.

    Source: paper 4.1 (frontal camera); gaze as variant is our decision, so that PSNR compares like with like.
    """
    return build_listing(map(_read, find_pictures(folder)), RAFD_EXPRESSIONS, RAFD_EXPRESSIONS)


def _read(path: Path) -> Photo | Excluded:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return Excluded(path=path, reason="no RaFD file name", remedy=f"name it as RaFD does ({_EXAMPLE}) or remove it")
    if match["camera"] != FRONTAL:
        return Excluded(
            path=path, reason=f"camera {match['camera']}", remedy="nothing to do: the paper uses camera 090"
        )
    return Photo(
        path=path, name=path.stem, person=match["person"],
        expression=RAFD_EXPRESSIONS.index(match["expression"].lower()),
        variant=GAZES.index(match["gaze"].lower()),
        group=f"{match['group'].capitalize()} {match['gender'].lower()}",
    )  # fmt: skip
