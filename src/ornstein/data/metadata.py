"""What a table beside pictures says of them: a column is a condition, typed by its cells.

The file is ``metadata.csv`` or ``metadata.jsonl`` (the convention of Hugging Face's imagefolder),
or ``conditions`` with the same endings, in the folder itself. Its column ``file_name`` names a
picture below the folder; an empty cell says nothing. Pictures that another column names are then
no items. What a column means is told from its cells, see ``ornstein.data.typed``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ornstein.data.conditions import Condition
from ornstein.data.decode import PICTURE_ENDINGS
from ornstein.data.listing import Listing
from ornstein.data.tables import read_text
from ornstein.data.tables.reading import missing
from ornstein.data.typed import Cell, drawn, typed
from ornstein.data.walk import Found, shown
from ornstein.errors import DataError, near

FILES = tuple(f"{stem}.{end}" for stem in ("metadata", "conditions") for end in ("csv", "jsonl"))
KEY = "file_name"


@dataclass(frozen=True)
class Metadata:
    """A table beside pictures.

    Attributes:
        path: The file.
        rows: Number of the line by the picture's path below the folder.
        cells: Cells of each column by that path.
        aside: Pictures that columns name, by the cell: conditions and no items.
    """

    path: Path
    rows: Mapping[bytes, int]
    cells: Mapping[str, Mapping[bytes, Cell]]
    aside: Mapping[str, Found]

    def conditions(
        self, used: Sequence[bytes], pictures: Mapping[str, np.ndarray]
    ) -> tuple[list[Condition], list[str]]:
        """What the columns say of the items, and notes on those that are left out.

        Args:
            used: Path of each item.
            pictures: The decoded pictures by cell, all of one shape for each column.
        """
        told, notes = [], []
        for name, column in self.cells.items():
            cells = [column.get(path) for path in used]
            if self._names_pictures(column):
                found = drawn(name, cells, pictures)
            else:
                found = typed(name, cells, lambda k: f"'{self.path}' line {self.rows[used[k]]}")
            if isinstance(found, str):
                notes.append(f"{self.path.name}: '{name}' is left out: {found}.")
            else:
                told.append(found)
        silent = sum(path not in self.rows for path in used)
        if silent:
            notes.append(f"{silent:,} pictures are not in {self.path.name}: nothing is said.")
        return told, notes

    def columns_of_pictures(self) -> list[list[str]]:
        """The cells that name pictures, column by column."""
        return [
            list(dict.fromkeys(str(cell) for cell in column.values() if cell is not None))
            for column in self.cells.values()
            if self._names_pictures(column)
        ]

    def _names_pictures(self, column: Mapping[bytes, Cell]) -> bool:
        told = [cell for cell in column.values() if cell is not None]
        return bool(told) and all(isinstance(cell, str) and cell in self.aside for cell in told)


def read_metadata(root: Path, files: Listing) -> Metadata | None:
    """The table beside the pictures of a folder, or None where there is none.

    Raises:
        DataError: there are two, or one cannot be read, or names a file that is not there.
    """
    there = [root / name for name in FILES if (root / name).is_file()]
    if not there:
        return None
    if len(there) > 1:
        names = " and ".join(path.name for path in there)
        raise DataError(f"'{root}' holds {names}; leave one of them.")
    path = there[0]
    lines = _lines(path) if path.suffix == ".csv" else _objects(path)
    rows: dict[bytes, int] = {}
    cells: dict[str, dict[bytes, Cell]] = {}
    for number, row in lines:
        name = row.get(KEY)
        if not isinstance(name, str):
            raise DataError(
                f"'{path}' line {number} has no '{KEY}'; that column names the picture."
            )
        place = os.fsencode(os.path.normpath(name))
        if files.get(place) is None:
            hint = near(name, [shown(file.relative) for file in next(files.blocks(), [])])
            raise DataError(f"'{path}' line {number}: there is no file '{name}' beside it.{hint}")
        if place in rows:
            raise DataError(f"'{path}' lines {rows[place]} and {number} both say '{name}'.")
        rows[place] = number
        for column, cell in row.items():
            if column != KEY:
                cells.setdefault(column, {})[place] = cell
    return Metadata(path, rows, cells, _aside(path, rows, cells, files))


def _lines(path: Path) -> list[tuple[int, dict[str, Cell]]]:
    text = read_text(path)
    if text.header is None or KEY not in text.header:
        have = ", ".join(text.header or ("none",))
        raise DataError(
            f"'{path}' needs a column '{KEY}' with the pictures' names; it has {have}."
        )
    header = text.header
    return [
        (line, {n: None if missing(c) else c for n, c in zip(header, cells, strict=True)})
        for line, cells in zip(text.lines, text.rows, strict=True)
    ]


def _objects(path: Path) -> list[tuple[int, dict[str, Cell]]]:
    found = []
    try:
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict) or not all(_is_cell(v) for v in row.values()):
                    raise DataError(
                        f"'{path}' line {number} must be a JSON object of texts, numbers, true, "
                        "false, null, or lists of texts or numbers."
                    )
                found.append((number, row))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{path}' line {len(found) + 1} is no JSON; mend it.") from error
    return found


def _is_cell(value: object) -> bool:
    if isinstance(value, list):
        return all(type(v) is str for v in value) or all(type(v) in (int, float) for v in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _aside(
    path: Path,
    rows: Mapping[bytes, int],
    cells: Mapping[str, Mapping[bytes, Cell]],
    known: Listing,
) -> dict[str, Found]:
    """Files that columns of nothing but picture names point to.

    Raises:
        DataError: one of them is not there.
    """
    found = {}
    for name, column in cells.items():
        told = {place: cell for place, cell in column.items() if cell is not None}
        if told and all(_is_picture(cell) for cell in told.values()):
            for place, cell in told.items():
                file = known.get(os.fsencode(os.path.normpath(str(cell))))
                if file is None:
                    raise DataError(
                        f"'{path}' line {rows[place]}: there is no picture '{cell}', which "
                        f"'{name}' names; put it there or leave the cell empty."
                    )
                found[str(cell)] = file
    return found


def _is_picture(cell: Cell) -> bool:
    return isinstance(cell, str) and Path(cell).suffix.lower() in PICTURE_ENDINGS
