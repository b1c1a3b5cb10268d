"""Photos to aligned faces: decoded once per machine, kept in the cache, whatever is wrong with single files."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from efgan.data.action_units import NUM_AUS
from efgan.data.cache import cache_folder, load_shards
from efgan.data.crop import align_face, read_photo
from efgan.data.openface import Source, UnusableError, measure
from efgan.data.photos import Excluded, Photo
from efgan.errors import UserError

SIZE = 128  # pixels; smaller presets shrink by area average, larger ones decode anew
_PER_FILE = 64  # faces of one cache file at most


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What came of some photos, one row each.

    Attributes:
        images: uint8, N×S×S×3.
        aus: float32, N×17, as OpenFace wrote them (0-5, sometimes above).
        landmarks: float32, N×68×2, in crop pixels.
        usable: bool, N; the other rows hold nothing.
        excluded: why, for those that are not.
    """

    images: np.ndarray
    aus: np.ndarray
    landmarks: np.ndarray
    usable: np.ndarray
    excluded: tuple[Excluded, ...]


@dataclass(frozen=True, kw_only=True)
class PhotoShard:
    """One cache file of a few photos. It is another one when a photo, a CSV or the way of cropping changes."""

    file: Path
    size: int
    photos: tuple[tuple[Path, Source], ...]

    def path(self) -> Path:
        """Where the file lies."""
        return self.file

    def __len__(self) -> int:
        return len(self.photos)

    def make(self) -> dict[str, Any]:
        """Decodes and crops its photos."""
        count, side = len(self), self.size
        arrays: dict[str, Any] = {
            "images": np.zeros((count, side, side, 3), np.uint8), "aus": np.zeros((count, NUM_AUS), np.float32),
            "landmarks": np.zeros((count, 68, 2), np.float32),
        }  # fmt: skip
        reasons, remedies = [""] * count, [""] * count
        for k, (path, source) in enumerate(self.photos):
            try:
                image, aus, landmarks = decode_face(path, source, side)
                arrays["images"][k], arrays["aus"][k], arrays["landmarks"][k] = image, aus, landmarks
            except UnusableError as error:
                reasons[k], remedies[k] = error.args
            except UserError as error:
                reasons[k], remedies[k] = "photo not readable", str(error)
            except Exception as error:  # one file, whatever is wrong with it, must not stop the others
                reasons[k], remedies[k] = "photo not readable", f"{type(error).__name__}: {error}; save it anew"
        return arrays | {"reasons": np.array(reasons), "remedies": np.array(remedies)}

    def check(self, arrays: dict[str, Any]) -> None:
        """Raises ValueError or KeyError where arrays are not those of `make`."""
        names = ("images", "aus", "landmarks", "reasons", "remedies")
        if {name: len(arrays[name]) for name in names} != dict.fromkeys(names, len(self)):
            raise ValueError("wrong length")
        if arrays["images"].shape[1:] != (self.size, self.size, 3):
            raise ValueError("wrong shape")


def decode_face(path: Path, source: Source, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One photo's face.

    Returns:
        uint8 size×size×3, AUs 17 as OpenFace wrote them, landmarks 68×2 in crop pixels.

    Raises:
        UserError: the photo cannot be read.
        UnusableError: its measurements cannot be used, or belong to another picture.
    """
    found = measure(source)
    image = read_photo(path)
    inside = ((found.landmarks >= 0) & (found.landmarks <= image.shape[1::-1])).all(1)
    if inside.mean() < 0.5:
        raise UnusableError("landmarks outside the photo", f"{source.path} was made from a picture of another size: "
                            f"run OpenFace on {path} itself")  # fmt: skip
    crop = align_face(found.landmarks, size)
    return crop.apply(image), found.aus, crop.transform(found.landmarks).astype(np.float32)


@cache
def decoder_version() -> str:
    """Hash of the code that a decoded face depends on."""
    digest = hashlib.sha256()
    for name in ("crop.py", "decode.py", "openface.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def decode(
    photos: Sequence[Photo], sources: dict[str, Source], *, dataset: str, folder: Path, size: int,
    jobs: int | None = None,
) -> Decoded:  # fmt: skip
    """Decodes photos, or reads them from the cache.

    Args:
        photos: sorted by person; every one has a source.
        sources: by the photos' names.
        dataset: name of the set, for the cache's folder and the progress bar.
        folder: the set; a copy of it elsewhere meets the same cache files.
        size: side of the crops in pixels.
        jobs: worker processes; None = one per core.

    Returns:
        rows in the order of `photos`.
    """
    if not photos:
        return Decoded(images=np.zeros((0, size, size, 3), np.uint8), aus=np.zeros((0, NUM_AUS), np.float32),
                       landmarks=np.zeros((0, 68, 2), np.float32), usable=np.zeros(0, bool), excluded=())  # fmt: skip
    blocks = _blocks(photos)
    shards = [_shard([photos[i] for i in block], sources, dataset, folder, size) for block in blocks]
    arrays = load_shards(shards, description=f"decoding {dataset}", jobs=jobs)
    order = np.argsort([i for block in blocks for i in block])
    joined = {name: np.concatenate([a[name] for a in arrays])[order] for name in arrays[0]}
    excluded = [
        Excluded(path=photo.path, reason=str(reason), remedy=str(remedy))
        for photo, reason, remedy in zip(photos, joined["reasons"], joined["remedies"], strict=True) if reason
    ]  # fmt: skip
    return Decoded(images=joined["images"], aus=joined["aus"], landmarks=joined["landmarks"],
                   usable=joined["reasons"] == "", excluded=tuple(excluded))  # fmt: skip


def _blocks(photos: Sequence[Photo]) -> list[list[int]]:
    """Positions of the photos that share a cache file: one person's; of people with one photo, those of a folder."""
    counts = Counter(photo.person for photo in photos)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, photo in enumerate(photos):
        key = ("person", photo.person) if counts[photo.person] > 1 else ("folder", str(photo.path.parent))
        groups[key].append(i)
    return [rows[start : start + _PER_FILE] for rows in groups.values() for start in range(0, len(rows), _PER_FILE)]


def _shard(photos: list[Photo], sources: dict[str, Source], dataset: str, folder: Path, size: int) -> PhotoShard:
    pairs = tuple((photo.path, sources[photo.name]) for photo in photos)
    marks = [[*_mark(path, folder), *_mark(source.path, folder), source.row] for path, source in pairs]
    fingerprint = hashlib.sha256(json.dumps([size, marks]).encode()).hexdigest()[:24]
    file = cache_folder() / "photos" / decoder_version() / dataset / f"{fingerprint}.npz"
    return PhotoShard(file=file, size=size, photos=pairs)


def _mark(path: Path, folder: Path) -> tuple[str, int, int, bool]:
    """What changes when a file does; a file that becomes readable counts as changed."""
    state = path.stat()
    return path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns, os.access(path, os.R_OK)
