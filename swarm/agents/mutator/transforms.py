"""Scales of numbers: transforms under which equal steps are equally large changes.

A positive magnitude is mapped to its logarithm, so a step is a factor. A fraction in (0, 1) is
mapped to its logit, so no step leaves (0, 1) and 0.9 to 0.99 is as far as 0.1 to 0.01. An integer
stays one, and a power of two (from 4 up) stays a power of two, since shapes must divide.

Not covered: zero, which has no place on these scales (edit_sites.py lists values to try instead).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Literal

Scale = Literal["log", "logit", "integer", "power"]

COARSE_STEP = 0.25
"""Smaller steps are written with three digits, others with two: 0.0031, not 0.00313."""

_STEPS = (0.12, 0.25, 0.45, 0.7, 1.1, 1.6, 2.3)
"""Sizes of steps, in natural logarithms or logits: factors of 1.13 up to 10."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the source: its text without sign and unit, its magnitude above zero, its scale.

    `unit`: what follows it, as the px of 16px.
    `plain`: whether it must be written without an exponent, unless it is written with one.
    """

    text: str
    value: float
    scale: Scale
    negative: bool = False
    unit: str = ""
    plain: bool = False

    @property
    def place(self) -> float:
        """The number's place on its scale."""
        return to_scale(self.value, self.scale)

    def at(self, place: float, step: float) -> str | None:
        """Return the number nearest to `place`, in this one's style; None if it equals this one.

        `step` sets the precision: a small step needs more digits.
        """
        digits = 2 if abs(step) >= COARSE_STEP else 3
        text = self._format(place, digits)
        if text is None:
            return None
        value, end = read(text), 1 if self.scale == "logit" else _LARGEST
        if value == self.value or not _SMALLEST < value < end:
            return None
        sign = "-" if self.negative else ""
        return f"{sign}{self._in_style(text)}{self.unit}"

    def sibling(self, text: str) -> Number | None:
        """Return `text`, another value of the same site, as a number; None if it is none."""
        bare = text[: len(text) - len(self.unit)] if self.unit else text
        if not text.endswith(self.unit):
            return None
        number = parse_number(bare, self.scale == "log", self.plain)
        return number and replace(number, unit=self.unit)

    def steps(self, stretch: float) -> dict[str, float]:
        """Return the values to try and their distances; `stretch` is a factor of the steps."""
        return dict(_steps(self, stretch))

    def _format(self, place: float, digits: int) -> str | None:
        if self.scale == "power":
            return self._grouped(2 ** max(0, round(place / math.log(2))))
        if self.scale == "integer":
            return self._grouped(_round_integer(self.value, math.exp(place), digits))
        if self.scale == "logit":
            return _format_fraction(1 / (1 + math.exp(-place)), digits, "e" in self.text.lower())
        return _format_float(math.exp(place), digits, "e" in self.text.lower())

    def _grouped(self, value: int) -> str:
        if self.text[:2].lower() == _HEXADECIMAL:
            return f"{self.text[:2]}{value:0{len(self.text) - 2}x}"
        return f"{value:_}" if "_" in self.text else str(value)

    def _in_style(self, text: str) -> str:
        if not self.plain or self.scale in {"integer", "power"}:
            return text
        if "e" in text and "e" not in self.text.lower():
            return f"{Decimal(text):f}"  # YAML and some others read 1e-05 as text
        return text.replace("e", "E") if "E" in self.text else text


@lru_cache(maxsize=4096)
def _steps(number: Number, stretch: float) -> tuple[tuple[str, float], ...]:
    if number.scale == "power":
        distances = [n * math.log(2) for n in (-3, -2, -1, 1, 2, 3)]
    else:
        distances = [sign * step * stretch for step in _STEPS for sign in (1, -1)]
    steps: dict[str, float] = {}
    for distance in distances:
        text = number.at(number.place + distance, distance)
        if text is not None:
            value = read(text.removeprefix("-").removesuffix(number.unit))
            steps.setdefault(text, to_scale(value, number.scale) - number.place)
    return tuple(steps.items())


def to_scale(value: float, scale: Scale) -> float:
    """Return the place of `value` (above zero) on `scale`."""
    return math.log(value) - math.log1p(-value) if scale == "logit" else math.log(value)


def parse_number(text: str, unbounded: bool, plain: bool = False) -> Number | None:
    """Return the literal `text` as a number that can be scaled, else None.

    `unbounded`: a value in (0, 1) is a magnitude that may exceed one, such as a learning rate.
    `plain`: it is of another language than Python. There hexadecimal numbers are scaled, too; in
    Python they and other radices are taken for bit patterns, which are no magnitudes.
    """
    bare = text[1:].strip() if text.startswith("-") else text
    radix = bare[:2].lower()
    if not bare or not (bare[0].isdigit() or bare[0] == "."):
        return None
    if radix in _RADICES and not (plain and radix == _HEXADECIMAL):
        return None
    try:
        value = read(bare)
    except (ValueError, OverflowError):
        return None
    if not _SMALLEST < value < _LARGEST:
        return None
    scale = _scale(bare, value, unbounded)
    return Number(bare, value, scale, text.startswith("-"), plain=plain)


def read(text: str) -> float:
    """Return the value of the literal `text`. Raises ValueError or OverflowError."""
    return float(int(text, 16)) if text[:2].lower() == _HEXADECIMAL else float(text)


_HEXADECIMAL = "0x"
_RADICES = ("0x", "0o", "0b")
_SMALLEST = 1e-30
_LARGEST = (
    1e15  # near the end of exact integers in a float; code that has such numbers means "unlimited"
)


def _scale(text: str, value: float, unbounded: bool) -> Scale:
    if text.replace("_", "").isdigit() or text[:2].lower() == _HEXADECIMAL:
        whole = int(value)
        return "power" if whole >= 4 and whole & (whole - 1) == 0 else "integer"  # noqa: PLR2004
    return "logit" if value < 1 and not unbounded else "log"


def _round_integer(old: float, new: float, digits: int) -> int:
    """Return `new` as round as `old` is: 96 gives a multiple of 32, 500 two or three digits."""
    whole = int(old)
    divisor = min(whole & -whole, 64)
    if divisor >= 16 and whole % 100:  # noqa: PLR2004 - most likely a size that must divide
        return max(1, round(new / divisor)) * divisor
    nearest = max(1, round(new))
    nearest = int(float(f"{nearest:.{digits}g}")) if nearest >= 10**digits else nearest
    if nearest == whole:
        nearest += 1 if new > old else -1
    return max(1, nearest)


def _format_float(value: float, digits: int, exponent: bool) -> str | None:
    if not _SMALLEST < value < _LARGEST:
        return None
    rounded = float(f"{value:.{digits}g}")
    if exponent:
        mantissa, _, power = f"{rounded:e}".partition("e")
        return f"{float(mantissa):g}e{int(power)}"
    return repr(rounded)


def _format_fraction(value: float, digits: int, exponent: bool) -> str | None:
    """Return a fraction with `digits` digits of its distance from the nearer end, 0 or 1."""
    if value < 0.5:  # noqa: PLR2004
        return _format_float(value, digits, exponent)
    distance = float(f"{1 - value:.{digits}g}")
    return repr(round(1 - distance, 12)) if 0 < distance < 1 else None
