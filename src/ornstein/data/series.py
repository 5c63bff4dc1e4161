"""Series from CSV files: one to a line, or one that runs down the lines, cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ornstein.data.coding import Coding, fields_of
from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.tables.moments import format_of
from ornstein.data.tables.numeric import form_of, read_number, written_number
from ornstein.data.tables.reading import Style, Text, missing, write_text
from ornstein.errors import DataError

LAYOUTS = ("table", "rows", "columns")
LONG = 8  # so many numbers on a line are one series; fewer are channels of one that runs down
WINDOW = 64  # numbers of a window when nothing is said
WINDOWS = 1000  # a long series is cut into about so many windows, which overlap if they must
HELDOUT = 0.05  # of the time, at the end


@dataclass(frozen=True)
class Series(Coding):
    """Series as they stand in a CSV file.

    Attributes:
        down: Whether time runs down the lines, a channel to a column; else along a line.
        header: Names of the columns that are coded; empty where the file has none.
        form: How numbers are written, as in a column of a table.
        style: How the file was written.
    """

    down: bool = False
    header: tuple[str, ...] = ()
    form: str = ".6"
    style: Style = field(default_factory=Style)

    def cells(self, raw: np.ndarray) -> list[list[str]]:
        """Text of numbers, (rows, columns)."""
        return [[written_number(value, self.form) for value in row] for row in raw.tolist()]

    def files(self, raw: np.ndarray, stem: str) -> dict[str, bytes]:
        if not self.down:
            lines = self.cells(raw[:, 0])
            return {f"{stem}.csv": write_text(self.style, self.header, lines)}
        return {
            f"{stem}-{k:05d}.csv": write_text(self.style, self.header, self.cells(item.T))
            for k, item in enumerate(raw)
        }

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "coding": "series", "header": list(self.header)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Series:
        return cls(
            **fields_of(fields),
            down=bool(fields["down"]),
            header=tuple(map(str, fields["header"])),
            form=str(fields["form"]),
            style=Style(**fields["style"]),
        )


def layout_of(text: Text) -> str:
    """What a CSV file most likely is: one of ``LAYOUTS``."""
    if text.header is not None:
        return "table"
    return "rows" if text.width >= LONG else "columns"


def open_series(text: Text, layout: str, length: int | None = None) -> Dataset:
    """Data set of the series of a CSV file.

    Args:
        text: The file.
        layout: "rows", each line a series, or "columns", time running down and a channel in each.
        length: Numbers of a window, for "columns".

    Raises:
        DataError: a cell that is no number, or fewer lines than a window has.
    """
    down = layout == "columns"
    first = _first(text) if down else 0
    numbers = read_numbers(text, first)
    if np.isnan(numbers).any():
        row, column = (int(k) for k in np.argwhere(np.isnan(numbers))[0])
        raise DataError(
            f"'{text.path}' line {text.lines[row]} has an empty cell in column "
            f"{column + first + 1}; series are learned without gaps, so fill it in or remove it."
        )
    cells = [cell for row in text.rows for cell in row[first:]]
    coding = Series(
        (0.0,), (1.0,), "series",
        down=down, header=(text.header or ())[first:], form=form_of(cells, _mark(cells)),
        style=text.style,
    )  # fmt: skip
    items, heldout, note = (
        _windows(numbers, length, text) if down else (numbers[:, None], None, "")
    )
    notes = [note or "Each line is a series; --set data.layout=columns lets time run down."]
    if first:
        notes.append("The first column is the time, and not learned.")
    return make_dataset(
        text.path.stem, "series", items.astype(np.float32), coding=coding, heldout=heldout,
        notes=tuple(notes), source=Source(f"series in {text.path.name}"),
    )  # fmt: skip


def read_numbers(text: Text, first: int = 0) -> np.ndarray:
    """Numbers of the columns from ``first`` on, (lines, columns) float64, NaN where missing.

    Raises:
        DataError: a cell that is no number; its line is named.
    """
    cells = [cell for row in text.rows for cell in row[first:]]
    mark, values = _mark(cells), []
    for line, row in zip(text.lines, text.rows, strict=True):
        for cell in row[first:]:
            try:
                values.append(np.nan if missing(cell) else read_number(cell, mark))
            except ValueError:
                raise DataError(
                    f"'{text.path}' line {line}: '{cell[:40]}' is not a number, as all cells of "
                    "series are; remove that column, or read the file as a table: "
                    "--set data.layout=table."
                ) from None
    return np.array(values).reshape(len(text.rows), -1)


def numbers_like(text: Text, like: Series, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Numbers of a file for a model of series, NaN where missing, and its first column of them.

    Raises:
        DataError: another number of columns than the model's data have.
    """
    wide, first = (shape[0], text.width - shape[0]) if like.down else (shape[1], 0)
    if text.width - first != wide or first not in (0, 1):
        what = f"{wide:,} channels" if like.down else f"series of {wide:,} numbers"
        raise DataError(f"'{text.path}' has {text.width:,} columns, but the model makes {what}.")
    numbers = read_numbers(text, first)
    if like.down and len(numbers) < shape[1]:
        raise DataError(
            f"'{text.path}' has {len(numbers):,} lines, fewer than a window, {shape[1]:,}."
        )
    return numbers, first


def _mark(cells: Sequence[str]) -> str:
    return "," if any("," in cell for cell in cells) else "."


def _first(text: Text) -> int:
    """1 where the first column is the time: dates, or numbers that rise by the same step."""
    column = [row[0] for row in text.rows]
    if text.width < 2 or len(column) < 3:
        return 0
    if format_of(column) is not None:
        return 1
    try:
        steps = np.diff([read_number(cell, _mark(column)) for cell in column])
    except ValueError:
        return 0
    return int(steps[0] != 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def _windows(
    numbers: np.ndarray, length: int | None, text: Text
) -> tuple[np.ndarray, np.ndarray, str]:
    """Windows (N, channels, length), those that are held out, and what was done.

    The end of the time is held out; windows that reach over the cut are left.
    """
    side, count = length or min(WINDOW, len(numbers)), len(numbers)
    if side > count:
        raise DataError(
            f"'{text.path}' has {count:,} lines, fewer than the {side:,} of a window; ask for a "
            f"shorter one: --set data.size=N, N at most {count:,}."
        )
    stride = max(1, min(side, (count - side) // WINDOWS))
    starts = np.arange(0, count - side + 1, stride)
    cut = count - max(side, round(HELDOUT * count))
    late = starts >= cut
    kept = (starts + side <= cut) | late
    if not (kept & ~late).any():  # too short for a held-out part
        kept, late = np.ones_like(late), np.zeros_like(late)
    windows = np.lib.stride_tricks.sliding_window_view(numbers, side, axis=0)[starts[kept]]
    note = (
        f"Time runs down the {count:,} lines: windows of {side:,} every {stride:,} lines, "
        "the last of the time held out; --set data.size=N, or data.layout=rows."
    )
    return windows, np.flatnonzero(late[kept]), note
