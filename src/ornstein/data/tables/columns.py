"""What every column of a table is: it reads its cells, codes them, and writes them again.

A column's values are one float64 for each row: the number itself, seconds of a date, the place of
a category in the list of names; NaN is a missing cell. Its codes are what a network sees, before
standardisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ornstein.errors import DataError


@dataclass(frozen=True)
class Column(ABC):
    """One column of a table.

    Attributes:
        name: As in the header.
        type: What it is, in a word.
        gap: Text of a missing cell; None where no cell was missing.
    """

    name: str
    type: str
    gap: str | None = None

    @property
    @abstractmethod
    def width(self) -> int:
        """Codes of a value."""

    @abstractmethod
    def value(self, cell: str) -> float:
        """Value of a cell that is not missing.

        Raises:
            ValueError: it is none of this column's.
        """

    def read(self, cell: str, line: int, place: str) -> float:
        """Value of a cell of a file.

        Raises:
            DataError: it is none of this column's; its line is named.
        """
        try:
            return self.value(cell)
        except (ValueError, OverflowError):
            raise DataError(
                f"'{place}' line {line}: '{cell[:40]}' is nothing that column '{self.name}' "
                f"({self.type}: {self.range_text()}) knows; mend that cell, or empty it."
            ) from None

    @abstractmethod
    def cell(self, value: float) -> str:
        """Text of a value."""

    @abstractmethod
    def encode(self, values: np.ndarray) -> np.ndarray:
        """Codes of values (N,), none of them missing: (N, width)."""

    @abstractmethod
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Nearest values of any codes (N, width): (N,)."""

    def measured(self, values: np.ndarray, train: np.ndarray) -> Column:
        """The column as the values of a table have it; what is learned, from the training part.

        Args:
            values: Those of every row that has one.
            train: Those of the training rows among them.
        """
        return self

    @abstractmethod
    def range_text(self) -> str:
        """What its values are, for a report."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain dict for a JSON file."""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Column:
        """The column of such a dict."""
        return cls(**fields)
