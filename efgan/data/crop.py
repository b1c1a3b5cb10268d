"""From a photo to an aligned face crop and back: pasting adds the edit's difference, so no edit changes nothing.

Coordinates are (x, y) with the origin at the photo's upper left corner: the first pixel covers 0 to 1.
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from efgan.errors import UserError

# Where the embedded faces have eyes and nose base, as fractions of the side: means over the neutral faces of
# synthetic_rafd (symmetric). Means of landmark groups, because single points move with the expression. Not the mouth:
# with it a surprised face is drawn 9 % smaller than the same person's neutral one and lies up to 4.3 px off at 128 px;
# without it 3 % and 1.4 px (24 rendered people). Our decision.
_GROUPS = (slice(36, 42), slice(42, 48), slice(31, 36))
_TEMPLATE = np.array([(0.362, 0.391), (0.638, 0.391), (0.500, 0.598)])
_FEATHER = 0.14  # width of the seam as a fraction of the crop's side, our decision
MAX_PIXELS = 100_000_000  # of a photo; a 100-megapixel picture needs about 2 GB here
MIN_SIDE = 32  # pixels of a photo


@dataclass(frozen=True)
class FaceCrop:
    """A square, upright cut of a photo around one face.

    Attributes:
        matrix: float64, 2×3, the similarity from photo pixels to crop pixels.
        size: side of the crop in pixels.
    """

    matrix: np.ndarray
    size: int

    @property
    def scale(self) -> float:
        """Crop pixels per photo pixel."""
        return math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    def transform(self, points: np.ndarray) -> np.ndarray:
        """Photo coordinates N×2 to crop coordinates N×2."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The crop of a photo, area-averaged when it shrinks; beyond the photo's border the border is repeated.

        Args:
            image: uint8, H×W×3.

        Returns:
            uint8, size×size×3.
        """
        left, top, right, bottom = self._bounds()
        rows = np.clip(np.arange(top, bottom), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(left, right), 0, image.shape[1] - 1)
        region = image[rows[:, None], columns]
        inverse = _inverse(self.matrix)
        inverse[:, 2] -= left, top
        if (block := int(0.5 / self.scale)) > 1:  # a large photo is halved and more before the slower resampling
            region = np.asarray(Image.fromarray(region).reduce(block))
            inverse /= block
        region = region.astype(np.float32)
        return np.rint(_warp(region, inverse, (self.size, self.size))).clip(0, 255).astype(np.uint8)

    def paste_back(self, photo: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """A copy of the photo with the edit in it: the difference of two crops, feathered, at the photo's size.

        The photo keeps its own detail and colours wherever the edit changed nothing, and every pixel outside the
        crop.

        Args:
            photo: uint8, H×W×3.
            before, after: uint8, size×size×3, the crop as it was and as edited.

        Returns:
            uint8, H×W×3.

        Source: our decision; the paper does not put its edits back into photos.
        """
        left, top, right, bottom = self._bounds()
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, photo.shape[1]), min(bottom, photo.shape[0])
        pasted = photo.copy()
        if left >= right or top >= bottom or np.array_equal(before, after):
            return pasted
        difference = (after.astype(np.float32) - before) * _feather(self.size)[:, :, None]
        forward = self.matrix.copy()
        forward[:, 2] += forward[:, :2] @ (left, top)
        change = _warp(difference, forward, (right - left, bottom - top))
        x, y = np.arange(right - left) + 0.5, np.arange(bottom - top)[:, None] + 0.5
        for a, b, c in forward:  # a small face's large pixels could reach over the edge with a corner
            change[abs(a * x + b * y + c - self.size / 2) >= self.size / 2] = 0
        region = pasted[top:bottom, left:right]
        region[:] = np.rint(region + change).clip(0, 255).astype(np.uint8)
        return pasted

    def _bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the crop in the photo, in whole pixels; may reach beyond it."""
        side = float(self.size)
        inverse = _inverse(self.matrix)
        corners = np.array([(0, 0), (side, 0), (0, side), (side, side)]) @ inverse[:, :2].T + inverse[:, 2]
        (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
        return int(left), int(top), int(right), int(bottom)


def align_face(landmarks: np.ndarray, size: int) -> FaceCrop:
    """The crop that shows a face as the embedded faces are shown: upright, same place, same size.

    A least-squares similarity of the two eyes' and the nose base's mean positions to the template.

    Args:
        landmarks: 68×2, (x, y) in photo pixels, iBUG order.
        size: side of the crop in pixels.

    Raises:
        UserError: not 68 finite points, or all in one place.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
        raise UserError(f"landmarks must be 68 finite (x, y) points, not {landmarks.shape}")
    points = np.array([landmarks[group].mean(0) for group in _GROUPS])
    z, target = (xy[:, 0] + 1j * xy[:, 1] for xy in (points, _TEMPLATE * size))
    centred = z - z.mean()
    spread = float((abs(centred) ** 2).sum())
    if spread < 1e-6:
        raise UserError("landmarks lie all in one place: this is no face")
    turn = complex((centred.conj() * (target - target.mean())).sum() / spread)  # similarity = complex factor + shift
    shift = target.mean() - turn * z.mean()
    return FaceCrop(np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]), size)


def aligned_landmarks(size: int) -> np.ndarray:
    """68 points, N×2 in pixels, of a picture that already is such a crop: `align_face` then changes nothing."""
    landmarks = np.tile(_TEMPLATE.mean(0), (68, 1))
    for group, place in zip(_GROUPS, _TEMPLATE, strict=True):
        landmarks[group] = place
    return landmarks * size


def read_photo(path: Path | str) -> np.ndarray:
    """Reads a photo as people see it: EXIF orientation applied, 16 bits scaled to 8, transparency over white.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file.

    Returns:
        uint8, H×W×3, RGB.

    Raises:
        UserError: no such file, not a picture, damaged, too large or too small.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit stands below
            with Image.open(path) as image:
                _check_size(path, *image.size)
                return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: too large; at most {MAX_PIXELS // 10**6} megapixels: shrink it first") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture this can read; JPEG, PNG, WebP, TIFF and BMP are") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: damaged picture ({error}); save it anew from another program") from error


def colour_profile(path: Path | str) -> bytes | None:
    """The ICC profile that says which colours a photo's pixels mean; None if it has none, or one that is not for RGB.

    Args:
        path: a file that `read_photo` reads.
    """
    with Image.open(path) as image:
        return image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(f"{path}: {width}×{height} pixels are too many; at most {MAX_PIXELS // 10**6} megapixels: "
                        "shrink it first")  # fmt: skip
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{path}: {width}×{height} pixels are too few for a face; at least {MIN_SIDE} on each side")


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow reads 16-bit colour as 8-bit itself
        grey = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.rint(grey * 255 / (65535 if grey.max() > 255 else 255)).clip(0, 255).astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """The 2×3 similarity that undoes another."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], 1)


def _warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Samples float32 H×W×C where `matrix` puts the output's pixels; zero outside, area average when it shrinks."""
    step = math.hypot(matrix[0, 0], matrix[1, 0])  # input pixels per output pixel
    fine = max(1, math.ceil(step - 1e-6))
    width, height = size
    coefficients = (matrix @ np.diag([1 / fine, 1 / fine, 1])).ravel().tolist()
    channels = [
        Image.fromarray(channel).transform((width * fine, height * fine), Image.Transform.AFFINE, coefficients,
                                           Image.Resampling.BICUBIC).reduce(fine)
        for channel in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]  # fmt: skip
    return np.stack([np.asarray(channel) for channel in channels], 2)


def _feather(size: int) -> np.ndarray:
    """float32 size×size window: 1 inside, 0 on the outermost pixels, a raised cosine in between."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(1.0, _FEATHER * size)
    ramp = 0.5 - 0.5 * np.cos(np.pi * distance.clip(0, 1))
    return np.outer(ramp, ramp).astype(np.float32)
