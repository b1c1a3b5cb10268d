"""The one contract every dataset meets: faces with Action Units, landmarks, identity and expression."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from efgan.data.action_units import NUM_AUS
from efgan.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FaceSet:
    """N aligned faces of one dataset, checked once when built.

    Attributes:
        name: the dataset's name, e.g. "synthetic_rafd".
        images: uint8, N×3×S×S, RGB.
        aus: float32, N×17 in [0, 1] (OpenFace intensity ÷ 5), order of `AU_NAMES`.
        landmarks: float32, N×68×2, (x, y) in pixels, iBUG order.
        identity: int64, N.
        expression: int64, N, index into `expression_names`; -1 where a face has no class.
        variant: int64, N; faces of one identity and variant share pose, light, camera and background.
        expression_names: the classes.
        evaluated: the classes that metrics use.
        names: one file-like name per image.
        synthetic: True for the embedded faces.
    """

    name: str
    images: Tensor
    aus: Tensor
    landmarks: Tensor
    identity: Tensor
    expression: Tensor
    variant: Tensor
    expression_names: tuple[str, ...]
    evaluated: tuple[str, ...]
    names: tuple[str, ...]
    synthetic: bool

    def __post_init__(self) -> None:
        """Checks every invariant.

        Raises:
            UserError: a shape, type or range is not as documented; the message names the field.
        """
        n = len(self.images)

        def check(ok: bool, field: str, accepted: str) -> None:
            if not ok:
                raise UserError(f"face set {self.name!r}: {field} must be {accepted}")

        shape = self.images.shape
        check(self.images.dtype == torch.uint8 and self.images.ndim == 4 and shape[1] == 3
              and shape[2] == shape[3], "images", f"uint8 N×3×S×S, not {self.images.dtype} {tuple(shape)}")  # fmt: skip
        check(self.aus.dtype == torch.float32 and self.aus.shape == (n, NUM_AUS), "aus", f"float32 {n}×{NUM_AUS}")
        check(n == 0 or bool(((self.aus >= 0) & (self.aus <= 1)).all()), "aus", "in [0, 1] (OpenFace ÷ 5)")
        check(self.landmarks.shape == (n, 68, 2), "landmarks", f"{n}×68×2")
        for field in ("identity", "expression", "variant"):
            value = getattr(self, field)
            check(value.dtype == torch.int64 and value.shape == (n,), field, f"int64, length {n}")
        check(n == 0 or bool(((self.expression >= -1) & (self.expression < len(self.expression_names))).all()),
              "expression", f"-1 or an index below {len(self.expression_names)}")  # fmt: skip
        check(set(self.evaluated) <= set(self.expression_names), "evaluated", "a subset of expression_names")
        check(len(self.names) == n, "names", f"of length {n}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return self.images.shape[-1]

    @property
    def evaluated_index(self) -> Tensor:
        """int64 tensor of the `expression_names` indices that metrics use."""
        return torch.tensor([self.expression_names.index(name) for name in self.evaluated])

    @property
    def classed(self) -> Tensor:
        """Boolean mask of the faces with a class; all True where no face of the set has one."""
        classed = self.expression >= 0
        return classed if classed.any() else torch.ones_like(classed)

    def _tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name: one row per face each."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def subset(self, index: Tensor) -> "FaceSet":
        """The faces at `index` (int64 positions or a boolean mask of length N)."""
        index = torch.arange(len(self))[index.cpu()]
        values: dict[str, Any] = {name: value[index.to(value.device)] for name, value in self._tensors().items()}
        return replace(self, **values, names=tuple(self.names[i] for i in index.tolist()))

    def resized(self, size: int) -> "FaceSet":
        """The same faces at `size` pixels (area average when shrinking); landmarks scale along."""
        if size == self.size:
            return self
        mode = "area" if size < self.size else "bicubic"
        chunks = [
            F.interpolate(chunk.float(), size=size, mode=mode).round().clamp(0, 255).to(torch.uint8)
            for chunk in self.images.split(512)
        ]
        return replace(self, images=torch.cat(chunks), landmarks=self.landmarks * (size / self.size))

    def to(self, device: torch.device) -> "FaceSet":
        """Images, AUs and labels on `device`, so that batches need no copy."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in self._tensors().items()}
        return replace(self, **moved)

    def data_hash(self) -> str:
        """SHA-256 over images and labels: what manifests record."""
        digest = hashlib.sha256()
        for value in self._tensors().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def join_faces(name: str, parts: Sequence[FaceSet]) -> FaceSet:
    """Several sets as one; people of different sets are different people.

    Args:
        name: of the new set.
        parts: of one image size. Their classes are united by name; those of all parts that all evaluate are evaluated.
    """
    classes = tuple(dict.fromkeys(name for part in parts for name in part.expression_names))
    values: dict[str, Any] = {
        field: torch.cat([getattr(part, field) for part in parts]) for field in parts[0]._tensors()
    }
    people: list[Tensor] = []
    expression: list[Tensor] = []
    for part in parts:
        people.append(part.identity + (people[-1].max() + 1 if people else 0))
        index = torch.tensor([*(classes.index(name) for name in part.expression_names), -1])
        expression.append(index[part.expression])
    values |= {"identity": torch.cat(people), "expression": torch.cat(expression)}
    return FaceSet(
        name=name, **values, expression_names=classes,
        evaluated=tuple(c for c in parts[0].evaluated if all(c in part.evaluated for part in parts)),
        names=tuple(f"{part.name}/{face}" for part in parts for face in part.names),
        synthetic=all(part.synthetic for part in parts),
    )  # fmt: skip


def to_float(images: Tensor) -> Tensor:
    """uint8 images to float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float images in [-1, 1] to uint8, rounded and clamped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
