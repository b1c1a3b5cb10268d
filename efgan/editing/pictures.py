"""Pictures of an edit for the screen and for files: enlarged, with attention over them, as PNG, JPEG, GIF or MP4."""

import base64
import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import IO

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

from efgan.data.faces import to_uint8
from efgan.errors import UserError
from efgan.grids import ATTENTION_MAP
from efgan.grids.pictures import enlarge
from efgan.provenance import write_atomic

_COLOURS = (matplotlib.colormaps[ATTENTION_MAP](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.float32)
FRAME_MS = 60  # of an animation; the first and last frames stay longer
HOLD_MS = 700


def to_array(image: Tensor) -> np.ndarray:
    """3×S×S in [-1, 1] → uint8 S×S×3."""
    return to_uint8(image).permute(1, 2, 0).numpy()


def encode_jpeg(image: np.ndarray, width: int, left: np.ndarray | None = None, share: float = 0.0) -> bytes:
    """A uint8 H×W×3 picture at `width` pixels as JPEG, in a few milliseconds.

    Args:
        image: the picture.
        width: in pixels; the height follows.
        left: another picture of the same size, shown left of a white line.
        share: how much of the width `left` takes, in [0, 1].
    """
    array = enlarge(image, width)
    if left is not None and share > 0:
        edge = round(share * width)
        array = np.concatenate([enlarge(left, width)[:, :edge], array[:, edge:]], 1)
        array[:, max(edge - 1, 0) : edge + 1] = 255
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """A uint8 H×W×3 picture as PNG, pixel for pixel."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def data_url(content: bytes, kind: str = "image/jpeg") -> str:
    """A file as a URL that carries it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def colour_map(values: np.ndarray) -> np.ndarray:
    """A map H×W in [0, 1] in the colours of all attention maps, uint8 H×W×3."""
    return _COLOURS[(np.clip(values, 0, 1) * 255).round().astype(int)].round().astype(np.uint8)


def overlay_attention(image: np.ndarray, attention: np.ndarray | None) -> np.ndarray:
    """The picture in grey under its attention in colour (0 = dark, 1 = bright).

    Args:
        image: uint8, H×W×3.
        attention: H×W in [0, 1]; None (a method without attention) leaves the picture as it is.
    """
    if attention is None:
        return image
    grey = np.repeat(image.mean(2, keepdims=True), 3, 2)
    return (0.4 * grey + 0.6 * colour_map(attention)).round().astype(np.uint8)


def save_png(image: np.ndarray, path: Path) -> Path:
    """Writes a uint8 H×W×3 picture, whole or not at all."""
    with write_atomic(path, "wb") as file:
        Image.fromarray(image).save(file, "PNG")
    return path


def save_animation(images: Iterable[np.ndarray], path: Path, *, width: int = 256) -> Path:
    """Writes the pictures, one after another and back, as a GIF that never ends or as an MP4 (H.264).

    Args:
        images: uint8 H×W×3 each.
        path: its suffix, .gif or .mp4, says which.
        width: in pixels; an MP4's is even.

    Raises:
        UserError: another suffix.
    """
    check_animation_name(path)
    frames = [enlarge(image, width) for image in images]
    turn = len(frames) - 1
    frames += frames[-2:0:-1]
    times = [HOLD_MS if k in (0, turn) else FRAME_MS for k in range(len(frames))]
    with write_atomic(path, "wb") as file:
        (_write_gif if path.suffix.lower() == ".gif" else _write_mp4)(frames, times, file)
    return path


def check_animation_name(path: Path) -> None:
    """Nothing for a name that `save_animation` takes; UserError for another suffix."""
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise UserError(f"{path}: an animation ends in .gif or .mp4")


def _write_gif(frames: list[np.ndarray], times: list[int], file: IO[bytes]) -> None:
    first, *others = map(Image.fromarray, frames)
    first.save(file, "GIF", save_all=True, append_images=others, duration=times, loop=0)


def _write_mp4(frames: list[np.ndarray], times: list[int], file: IO[bytes]) -> None:
    import av  # FFmpeg, 40 MB: nothing else needs it

    height, width = (size - size % 2 for size in frames[0].shape[:2])  # yuv420p halves both
    with av.open(file, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=Fraction(1000, FRAME_MS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            for _ in range(round(time / FRAME_MS)):
                video.mux(stream.encode(picture))
        video.mux(stream.encode())
