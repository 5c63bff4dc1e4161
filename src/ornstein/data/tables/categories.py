"""Columns of words, and those that are not coded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ornstein.data.tables.columns import Column

ONE_HOT = 32  # more categories than these are written in binary digits


@dataclass(frozen=True)
class Category(Column):
    """Words from a list: one-hot, or binary digits (arXiv:2208.04202) where there are many.

    A code is read as the nearest word's. Two words take one digit, a single one takes nothing.

    Attributes:
        names: The words, the most frequent first.
    """

    names: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        count = len(self.names)
        return count if 2 < count <= ONE_HOT else max(count - 1, 0).bit_length()

    @cached_property
    def words(self) -> np.ndarray:
        """Code of each name, (names, width)."""
        count = len(self.names)
        if 2 < count <= ONE_HOT:
            return np.eye(count)
        digits = np.arange(count)[:, None] >> np.arange(self.width)[None]
        return np.asarray((digits & 1) - 0.5)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def value(self, cell: str) -> float:
        if cell not in self._places:
            raise ValueError(cell)
        return float(self._places[cell])

    def cell(self, value: float) -> str:
        return self.names[int(value)]

    def encode(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(self.words[values.astype(np.int64)])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        # All words are as far from the middle, so the nearest has the greatest product.
        nearness = codes @ self.words.T
        return np.asarray(nearness.argmax(1), dtype=np.float64)

    def range_text(self) -> str:
        shown = ", ".join(name if len(name) <= 20 else f"{name[:19]}…" for name in self.names[:4])
        return shown + (", ..." if len(self.names) > 4 else "")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "gap": self.gap,
            "names": list(self.names),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Category:
        return cls(**{**fields, "names": tuple(map(str, fields["names"]))})


@dataclass(frozen=True)
class Label(Category):
    """The class of each row: a condition of the network, and none of its codes.

    Attributes:
        shares: Of the training rows, that have each class; none in files of older versions.
    """

    shares: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        return 0

    def measured(self, values: np.ndarray, train: np.ndarray) -> Label:
        counts = np.bincount(train.astype(np.int64), minlength=len(self.names))
        return replace(self, shares=tuple((counts / max(counts.sum(), 1)).tolist()))

    def encode(self, values: np.ndarray) -> np.ndarray:
        return np.zeros((len(values), 0))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return np.full(len(codes), math.nan)

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "shares": list(self.shares)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Label:
        names = tuple(map(str, fields["names"]))
        shares = tuple(map(float, fields.get("shares", ())))
        if shares and (len(shares) != len(names) or min(shares) < 0 or not sum(shares) > 0):
            raise ValueError("as many shares as names, none below 0")
        return cls(**{**fields, "names": names, "shares": shares})


@dataclass(frozen=True)
class Left(Column):
    """A column that is not learned, such as an identifier; it is in no sample.

    Attributes:
        why: The reason.
    """

    why: str = ""

    @property
    def width(self) -> int:
        return 0

    def value(self, cell: str) -> float:
        return math.nan

    def cell(self, value: float) -> str:
        return ""

    def encode(self, values: np.ndarray) -> np.ndarray:
        return np.zeros((len(values), 0))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return np.full(len(codes), math.nan)

    def range_text(self) -> str:
        return self.why

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "gap": self.gap, "why": self.why}
