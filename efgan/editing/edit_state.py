"""What a person asks for in the notebook's editor, as a value: every click is a function from one state to the next.

Intensities are OpenFace's 0-5 here: this is the side of the code that people see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from efgan.data.action_units import (
    AU_DESCRIPTIONS,
    AU_NAMES,
    CFEED_CATEGORIES,
    MAX_INTENSITY,
    NUM_AUS,
    RAFD_EXPRESSIONS,
    prototype_aus,
)
from efgan.errors import UserError

# Sliders by region of the face, in reading order.
AU_GROUPS: dict[str, tuple[str, ...]] = {
    "brows": ("AU01", "AU02", "AU04"),
    "eyes": ("AU05", "AU06", "AU07", "AU45"),
    "nose": ("AU09",),
    "mouth": ("AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26"),
}
EXPRESSIONS = tuple(dict.fromkeys(RAFD_EXPRESSIONS + CFEED_CATEGORIES))  # presets, basic ones first
MAX_STRENGTH = 1.6  # of an expression: the strongest prototype AU, 3 of 5, then stands at 4.8


@dataclass(frozen=True, kw_only=True)
class EditState:
    """One request: which face, which AUs, which method, what is shown.

    Attributes:
        face: position among the faces on offer.
        values: 17 slider values; the wanted AUs in 0-5, or with `relative` the change from the face's own in -5 to 5.
        relative: how `values` are meant.
        expression: the preset that `values` come from, None once a slider was moved.
        strength: of presets, 0 to `MAX_STRENGTH`; 1 = the FACS prototype.
        method: an experiment's name.
        stages: how many stages of a cascade to use; None = all.
        local_branches: False leaves the global branch alone.
        overlay: show attention over the pictures.
    """

    face: int = 0
    values: tuple[float, ...] = (0.0,) * NUM_AUS
    relative: bool = False
    expression: str | None = None
    strength: float = 1.4
    method: str = "cascade_ef_gan"
    stages: int | None = None
    local_branches: bool = True
    overlay: bool = False

    def target_aus(self, source_aus: np.ndarray) -> np.ndarray:
        """The wanted AUs, 17 in 0-5, for a face with these AUs (17 in 0-5)."""
        values = np.asarray(self.values, np.float32)
        return np.clip(source_aus + values if self.relative else values, 0, MAX_INTENSITY).astype(np.float32)

    def chosen_expression(self) -> str:
        """The preset that is asked for, which StarGAN needs.

        Raises:
            UserError: none is, as sliders were moved.
        """
        if self.expression is None:
            raise UserError("StarGAN knows expressions, not Action Units: press one of the expressions")
        return self.expression

    def with_au(self, code: str, value: float) -> "EditState":
        """One slider moved.

        Raises:
            UserError: an unknown AU, or a value out of range.
        """
        check_intensities({code: value}, relative=self.relative)
        values = list(self.values)
        values[AU_NAMES.index(code)] = float(value)
        return replace(self, values=tuple(values), expression=None)

    def with_expression(self, name: str, strength: float | None = None) -> "EditState":
        """A preset pressed: the FACS prototype times the strength, absolute or added to the face's own AUs.

        Raises:
            UserError: the expression is unknown.
        """
        check_expression(name)
        strength = self.strength if strength is None else strength
        values = np.minimum(prototype_aus(name) * MAX_INTENSITY * strength, MAX_INTENSITY)
        return replace(self, values=_as_tuple(values), expression=name, strength=strength)

    def with_strength(self, strength: float) -> "EditState":
        """The intensity slider moved; it acts on the preset that is shown, if any."""
        return self.with_expression(self.expression, strength) if self.expression else replace(self, strength=strength)

    def with_relative(self, relative: bool, source_aus: np.ndarray) -> "EditState":
        """The other meaning of the sliders, for the same wanted AUs."""
        if relative == self.relative:
            return self
        return replace(self, relative=relative).with_target(self.target_aus(source_aus), source_aus, self.expression)

    def with_target(self, aus: np.ndarray, source_aus: np.ndarray, expression: str | None = None) -> "EditState":
        """Sliders that ask for exactly these AUs (17 in 0-5); also how another face's expression is copied."""
        values = aus - source_aus if self.relative else aus
        return replace(self, values=_as_tuple(values), expression=expression)

    def with_face(self, face: int, source_aus: np.ndarray, next_aus: np.ndarray) -> "EditState":
        """Another source face: what was asked for stays; an untouched face is followed by an untouched one."""
        moved = replace(self, face=face)
        return moved.reset(next_aus) if self.is_untouched(source_aus) else moved

    def with_method(self, method: str) -> "EditState":
        """Another method, with all its parts."""
        return replace(self, method=method, stages=None, local_branches=True)

    def is_untouched(self, source_aus: np.ndarray) -> bool:
        """True if nothing is asked for but the face's own AUs."""
        return bool(np.allclose(self.target_aus(source_aus), source_aus, atol=1e-3))

    def reset(self, source_aus: np.ndarray) -> "EditState":
        """The face's own AUs, nothing to edit."""
        return self.with_target(np.asarray(source_aus, np.float32), source_aus)

    def with_random(self, random: np.random.Generator, source_aus: np.ndarray) -> "EditState":
        """Two to five AUs at 1.5 to 5, the others at zero, as in the embedded sets' random faces."""
        aus = np.zeros(NUM_AUS, np.float32)
        chosen = random.choice(NUM_AUS, size=int(random.integers(2, 6)), replace=False)
        aus[chosen] = random.uniform(1.5, MAX_INTENSITY, len(chosen)).round(1)
        return self.with_target(aus, source_aus)

    def changes(self, source_aus: np.ndarray) -> dict[str, float]:
        """The AUs to name in a command, by code: those whose wanted intensity differs from the face's own.

        Returns:
            Wanted intensities in 0-5, or with `relative` the changes.
        """
        target = self.target_aus(source_aus)
        moved = np.abs(target - source_aus) > 5e-5  # below what is written
        shown = self.values if self.relative else target
        return {code: round(float(shown[i]), 4) for i, code in enumerate(AU_NAMES) if moved[i]}


def check_expression(name: str) -> None:
    """Nothing for a preset expression.

    Raises:
        UserError: it is none.
    """
    if name not in EXPRESSIONS:
        raise UserError(f"unknown expression {name!r}: choose one of {', '.join(EXPRESSIONS)}")


def check_intensities(aus: Mapping[str, float], *, relative: bool) -> None:
    """Nothing for intensities that can be asked for: 0-5, or with `relative` changes of -5 to 5.

    Raises:
        UserError: an unknown AU, or a value out of range.
    """
    low = -MAX_INTENSITY if relative else 0.0
    for code, value in aus.items():
        if code not in AU_NAMES:
            raise UserError(f"unknown Action Unit {code!r}: choose among {', '.join(AU_NAMES)}")
        if not low <= value <= MAX_INTENSITY:
            raise UserError(f"{code}={value:g} is out of range: {low:g} to {MAX_INTENSITY:g}")


def label_of(code: str) -> str:
    """An AU for people: "AU12 lip corner puller"."""
    return f"{code} {AU_DESCRIPTIONS[code]}"


def _as_tuple(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
