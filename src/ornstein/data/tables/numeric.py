"""Columns of numbers and of dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ornstein.data.tables.columns import Column
from ornstein.data.tables.moments import read_moment, written_moment
from ornstein.data.tables.quantiles import Quantiles, measure_quantiles

GREATEST = 1e300  # larger numbers leave no room for differences
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Number(Column):
    """Numbers or dates: a monotone map to a normal, see :class:`Quantiles`.

    Samples are rounded to the precision that was seen, and lie within the range that was seen.

    Attributes:
        form: How they are written: "." or "," and a number of decimals (".2"), "g" or ",g" and
            digits for numbers that were not rounded, or the format of a date.
        low: Least value.
        high: Greatest value.
        step: All values are low plus multiples of it; 0 for numbers that were not rounded.
        map: To a normal.
    """

    form: str = ".0"
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    map: Quantiles | None = None

    @property
    def width(self) -> int:
        return 1

    @property
    def dated(self) -> bool:
        """Whether values are moments in seconds."""
        return "%" in self.form

    @property
    def decimals(self) -> int | None:
        """Of a value as written, of seconds where it is dated; None if it was not rounded."""
        if self.dated:
            return 6 if "%f" in self.form else 0
        return None if "g" in self.form else int(self.form[1:])

    def value(self, cell: str) -> float:
        return read_moment(cell, self.form) if self.dated else read_number(cell, self.form)

    def cell(self, value: float) -> str:
        if self.dated:
            return written_moment(value, self.form)
        return written_number(value, self.form)

    def measured(self, values: np.ndarray, train: np.ndarray) -> Number:
        low, high = float(values.min()), float(values.max())
        step = self._lattice(values)
        seen = train if len(train) else values
        return replace(self, low=low, high=high, step=step, map=measure_quantiles(seen, step))

    def _lattice(self, values: np.ndarray) -> float:
        """Greatest number that all differences are multiples of; 0 if they are not rounded."""
        if self.decimals is None:
            return 0.0
        scale = 10.0**self.decimals
        whole = np.rint((values - values.min()) * scale)
        if whole.max() >= 2**53:
            return 0.0
        found = int(np.gcd.reduce(whole.astype(np.int64)))
        return (found or 1) / scale

    def encode(self, values: np.ndarray) -> np.ndarray:
        assert self.map is not None
        return self.map.code(values)[:, None]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        assert self.map is not None
        values = self.map.number(codes[:, 0])
        if self.step:
            values = self.low + np.rint((values - self.low) / self.step) * self.step
            values = np.round(values, self.decimals or 0)
        return values.clip(self.low, self.high)

    def range_text(self) -> str:
        return f"{self.cell(self.low)} to {self.cell(self.high)}"

    def to_json(self) -> dict[str, Any]:
        assert self.map is not None
        return {
            "name": self.name,
            "type": self.type,
            "gap": self.gap,
            "form": self.form,
            "low": self.low,
            "high": self.high,
            "step": self.step,
            "values": list(self.map.values),
            "codes": list(self.map.codes),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Number:
        rest = dict(fields)
        values, codes = (tuple(map(float, rest.pop(name))) for name in ("values", "codes"))
        return cls(**rest, map=Quantiles(values, codes, float(rest["step"])))


def read_number(cell: str, form: str = ".") -> float:
    """Number in a cell, with a decimal comma where the form says so.

    Raises:
        ValueError: it is no finite number, or too large.
    """
    comma = form[0] == ","
    if not (_COMMA if comma else _PLAIN).fullmatch(cell):
        raise ValueError(cell)
    value = float(cell.replace(",", ".") if comma else cell)
    if not abs(value) <= GREATEST:
        raise ValueError(cell)
    return value


def written_number(value: float, form: str) -> str:
    """Text of a number in a form of :func:`form_of`, one that was not rounded in full."""
    mark, _, digits = form.rpartition("g")
    if "g" in form:
        text = f"{value:.{digits}g}" if int(digits) < 16 else repr(value)
    else:
        mark, text = form[0], f"{value:.{form[1:]}f}"
    return text.replace(".", ",") if mark == "," else text


def form_of(cells: Sequence[str], mark: str) -> str:
    """How numbers are written: decimals after ``mark``, or digits in all for those as computed."""
    digits = max(len(re.sub(r"[eE].*|\D", "", cell).lstrip("0")) for cell in cells)
    decimals = max(len(cell.partition(mark)[2]) for cell in cells)
    if digits > 15 or any("e" in cell.lower() for cell in cells):
        return f"{',' if mark == ',' else ''}g{min(max(digits, 6), 17)}"
    return f"{mark}{decimals}"
