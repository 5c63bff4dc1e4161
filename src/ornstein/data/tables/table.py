"""The coding of a table: each column by itself, gaps as a coordinate of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ornstein.data.coding import Coding
from ornstein.data.tables.categories import Category, Label, Left
from ornstein.data.tables.columns import Column
from ornstein.data.tables.kinds import column_from_json
from ornstein.data.tables.looks import column_lines
from ornstein.data.tables.numeric import Number
from ornstein.data.tables.reading import Style, missing, write_text
from ornstein.errors import DivergedError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Table(Coding):
    """Rows of typed columns, raw (B, columns) float64 with NaN for gaps, as (B, D) codes.

    A column's codes are followed by one more where it has gaps: 1/2 for a value, -1/2 for none.
    Where a value is missing its own codes are 0 after standardisation, their mean.

    Attributes:
        columns: In the order of the file.
        style: How the file was written.
    """

    columns: tuple[Column, ...] = ()
    style: Style = field(default_factory=Style)

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns that samples have."""
        return tuple(column.name for column in self.columns if not isinstance(column, Left))

    @property
    def meaning(self) -> tuple[str, ...]:
        """Names and types of the columns, and the words of categories."""
        said = [
            (c.name, c.type, getattr(c, "names", getattr(c, "form", ""))) for c in self.columns
        ]
        return tuple(map(str, said))

    @property
    def captions(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def label(self) -> int | None:
        """Place of the column that is the class, if there is one."""
        found = (k for k, column in enumerate(self.columns) if isinstance(column, Label))
        return next(found, None)

    @property
    def shares(self) -> tuple[float, ...]:
        return next((c.shares for c in self.columns if isinstance(c, Label)), ())

    @property
    def learned(self) -> list[int]:
        """Places of the columns that differ from row to row and are not left out."""
        return [
            k
            for k, column in enumerate(self.columns)
            if column.width or column.gap is not None or isinstance(column, Label)
            if not isinstance(column, Left)
        ]

    @property
    def words(self) -> tuple[int, ...]:
        """Number of words of each column that is a category, 0 for numbers and dates."""
        return tuple(len(c.names) if isinstance(c, Category) else 0 for c in self.columns)

    def coded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.mean),)

    def spans(self) -> Iterator[tuple[Column, slice]]:
        """Every column with its place among the codes, its coordinate for gaps included."""
        at = 0
        for column in self.columns:
            yield column, slice(at, at + _width(column))
            at += _width(column)

    def encode(self, raw: np.ndarray | Tensor) -> Tensor:
        import torch

        codes = (self._codes(np.asarray(raw, dtype=np.float64)) - self.mean) / self.std
        return torch.from_numpy(np.nan_to_num(codes, nan=0.0).astype(np.float32))

    def decode(self, x: Tensor) -> np.ndarray:
        self._check(x.shape)
        codes = x.detach().cpu().double().numpy()
        if not np.isfinite(codes).all():
            raise DivergedError(
                "the values to decode are not finite: the model or the solver that made them "
                "diverged; use an earlier checkpoint or more steps."
            )
        codes = codes * self.std + self.mean
        rows = np.empty((len(codes), len(self.columns)))
        for k, (column, span) in enumerate(self.spans()):
            own = codes[:, span]
            rows[:, k] = column.decode(own[:, : column.width])
            if column.gap is not None and _width(column):
                rows[own[:, -1] < 0, k] = np.nan
        return rows

    def posed(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Codes of rows whose empty cells are to be filled, and which codes are known, (B, D).

        That a cell to be filled in has a value is known.
        """
        import torch

        codes = (self._codes(rows, whole=True) - self.mean) / self.std
        seen = ~np.isnan(codes)
        filled = np.where(seen, codes, 0.0).astype(np.float32)
        return torch.from_numpy(filled), torch.from_numpy(seen)

    def measured(self, items: np.ndarray, train: np.ndarray) -> Table:
        columns = []
        for k, column in enumerate(self.columns):
            values, there = items[:, k], ~np.isnan(items[:, k])
            inside = np.zeros(len(items), dtype=bool)
            inside[train] = True
            if there.any():
                column = column.measured(values[there], values[there & inside])
            columns.append(column)
        made = replace(self, columns=tuple(columns))
        codes = made._codes(items[train])
        with np.errstate(all="ignore"):
            there = ~np.isnan(codes)
            count = np.maximum(there.sum(0), 1)
            mean = np.where(there, codes, 0).sum(0) / count
            spread = np.where(there, codes - mean, 0)
            variance = (spread**2).sum(0) / count
        std = np.sqrt(np.where(variance > 1e-12, variance, 1.0))
        return replace(made, mean=tuple(map(float, mean)), std=tuple(map(float, std)))

    def density(self, raw: np.ndarray) -> tuple[Coding, np.ndarray, str]:
        for column, span in self.spans():
            gaps = "has gaps" if column.gap is not None else f"is a {column.type}"
            if span.stop > span.start and (
                column.gap is not None or not isinstance(column, Number)
            ):
                raise UsageError(
                    f"rows of this table have no density: column '{column.name}' {gaps}, whose "
                    "codes are points, at which a density grows without bound; leave such "
                    "columns out in training, --set data.columns.NAME=omit."
                )
        codes = self._codes(raw)
        if np.isnan(codes).any():
            raise UsageError("a row with an empty cell has no density; fill it in or remove it.")
        often = [c.name for c in self.columns if isinstance(c, Number) and c.map and c.map.repeats]
        of = "the density is that of the codes, each column's normal scores, not of the numbers"
        if often:
            of += (
                f"; numbers that come again and again raise it without meaning: {', '.join(often)}"
            )
        return Coding(self.mean, self.std, "vector"), codes, of

    def classes(self, raw: np.ndarray) -> Tensor | None:
        import torch

        if self.label is None:
            return None
        found = raw[:, self.label]
        if np.isnan(found).any():
            raise UsageError(
                f"column '{self.columns[self.label].name}' is the model's label, which is given "
                "and not made; fill it in, or train without data.label."
            )
        return torch.from_numpy(found.astype(np.int64))

    def labelled(self, raw: np.ndarray, classes: Sequence[int | None]) -> np.ndarray:
        if self.label is not None:
            raw[:, self.label] = [np.nan if c is None else c for c in classes]
        return raw

    def parse(self, rows: Sequence[Sequence[str]], lines: Sequence[int], place: str) -> np.ndarray:
        """Values of the cells of a file with these columns, (N, columns), NaN where missing.

        Raises:
            DataError: a cell that its column does not know; the line is named.
        """
        values = np.full((len(rows), len(self.columns)), np.nan)
        for k, column in enumerate(self.columns):
            known: dict[str, float] = {}
            for n, row in enumerate(rows):
                text = row[k]
                if missing(text):
                    continue
                if text not in known:
                    known[text] = column.read(text, lines[n], place)
                values[n, k] = known[text]
        return values

    def cells(self, rows: np.ndarray) -> list[list[str]]:
        """Text of every cell of the columns in :attr:`header`."""
        columns = []
        for k, column in enumerate(self.columns):
            if isinstance(column, Left):
                continue
            gap = column.gap or ""
            columns.append([gap if v != v else column.cell(v) for v in rows[:, k].tolist()])
        return [list(row) for row in zip(*columns, strict=True)]

    def files(self, raw: np.ndarray, stem: str) -> dict[str, bytes]:
        return {f"{stem}.csv": write_text(self.style, self.header, self.cells(raw))}

    def about(self, items: np.ndarray) -> list[str]:
        """A line for each column: what it is, its range, its gaps and how many values it has."""
        return column_lines(self.columns, [_width(column) for column in self.columns], items)

    def to_json(self) -> dict[str, Any]:
        return {
            "coding": "table",
            "mean": list(self.mean),
            "std": list(self.std),
            "columns": [column.to_json() for column in self.columns],
            "style": self.style.to_json(),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Table:
        return cls(
            mean=tuple(float(v) for v in fields["mean"]),
            std=tuple(float(v) for v in fields["std"]),
            kind="table",
            columns=tuple(column_from_json(part) for part in fields["columns"]),
            style=Style(**fields["style"]),
        )

    def _codes(self, rows: np.ndarray, whole: bool = False) -> np.ndarray:
        """Codes before standardisation, NaN where a value is missing; ``whole``: none is a gap."""
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise UsageError(
                f"got an array of shape {rows.shape}; rows of this table have "
                f"{len(self.columns)} columns."
            )
        parts = []
        for k, column in enumerate(self.columns):
            there = ~np.isnan(rows[:, k])
            codes = np.full((len(rows), column.width), np.nan)
            codes[there] = column.encode(rows[there, k])
            parts.append(codes)
            if column.gap is not None and _width(column):
                parts.append((there | whole)[:, None] - 0.5)
        return np.concatenate(parts, axis=1)


def _width(column: Column) -> int:
    """Codes of a column, with that for gaps."""
    skipped = isinstance(column, (Left, Label))
    return column.width + (column.gap is not None and not skipped)
