"""What a table beside pictures says of them: a column is a condition, typed by its cells.

The file is ``metadata.csv`` or ``metadata.jsonl`` (the convention of Hugging Face's imagefolder),
or ``conditions`` with the same endings, in the folder itself. Its column ``file_name`` names a
picture below the folder; an empty cell says nothing. Pictures that another column names are then
no items. What a column means is told from its cells, see ``ornstein.data.typed``.

The table is read once, line by line, into the database that lists the folder, and from there one
column at a time and some cells at a time: a million lines take the memory of their conditions.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np

from ornstein.data.conditions import Condition
from ornstein.data.decode import PICTURE_ENDINGS
from ornstein.data.facts import many
from ornstein.data.listing import BLOCK, Listing
from ornstein.data.tables.reading import missing, open_lines, opened
from ornstein.data.typed import Cell, drawn, kept, typed
from ornstein.data.walk import shown
from ornstein.errors import DataError, near

FILES = tuple(f"{stem}.{end}" for stem in ("metadata", "conditions") for end in ("csv", "jsonl"))
KEY = "file_name"
Row = tuple[int, dict[str, Cell]]
"""Number of a line, and its cells by column."""
Paths = Callable[[], Iterable[bytes | None]]
"""Reads paths again each time; None where there is none."""
Draw = Callable[[Paths], tuple[np.ndarray, np.ndarray]]
"""Opens pictures, (M, C, H, W), and tells the index of each path among them, -1 for none."""

# Which row, from 0, tells of a picture; BLOCK rows of a column as JSON; pictures in columns.
TABLES = """
CREATE TABLE told (path BLOB PRIMARY KEY, k, line) WITHOUT ROWID;
CREATE TABLE cells (name, block, part, PRIMARY KEY (name, block));
CREATE TABLE aside (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""
TELL = "INSERT INTO told SELECT path, ?, ? FROM files WHERE path = ?"
LEAVE = "DELETE FROM files WHERE path IN (SELECT path FROM aside EXCEPT SELECT path FROM told)"
PLACES = "SELECT ifnull(k, -1) FROM kept.used LEFT JOIN told USING (path) ORDER BY used.rowid"


@dataclass(frozen=True, eq=False)
class Column(Iterable[Cell]):
    """The cells of a column in the order of the file, read from disk each time.

    Attributes:
        listing: Holds the database.
        number: Of the column, from 0.
        heard: Which rows count, (rows,); the others say nothing.
    """

    listing: Listing
    number: int
    heard: np.ndarray

    def __iter__(self) -> Iterator[Cell]:
        """Read them."""
        cells = chain.from_iterable(map(self._part, range(-(-len(self.heard) // BLOCK))))
        return (cell if heard else None for heard, cell in zip(self.heard, cells, strict=False))

    def _part(self, block: int) -> Iterable[Cell]:
        query = "SELECT part FROM cells WHERE name = ? AND block = ?"
        found = self.listing.ask(query, self.number, block).fetchone()
        return repeat(None, BLOCK) if found is None else json.loads(found[0])

    def paths(self) -> Iterator[bytes | None]:
        """The cells as paths below the folder."""
        return (None if cell is None else _path(str(cell)) for cell in self)

    def names_pictures(self) -> bool:
        """Whether there are cells, and each names a picture."""
        told = (cell for cell in self if cell is not None)
        return _is_picture(next(told, None)) and all(map(_is_picture, told))


@dataclass(frozen=True)
class Metadata:
    """A table beside pictures.

    Attributes:
        path: The file.
        files: Lists the folder, and holds the table.
        names: Of the columns.
        pictures: Those of them that name pictures: conditions and no items.
        many: Number of rows.
    """

    path: Path
    files: Listing
    names: Sequence[str]
    pictures: Sequence[str]
    many: int

    def conditions(self, draw: Draw) -> tuple[list[Condition], list[str]]:
        """What the columns say of the pictures in use, and notes on those that are left out."""
        told, notes = [], []
        rows = np.fromiter((k for (k,) in self.files.ask(PLACES)), np.int64)  # of each picture
        heard = np.bincount(rows[rows >= 0], minlength=self.many) > 0
        for number, name in enumerate(self.names):
            column = Column(self.files, number, heard)
            found = kept(
                drawn(name, *draw(column.paths))
                if name in self.pictures
                else typed(name, column, lambda k: f"'{self.path}' line {_line(self.files, k)}")
            )
            if isinstance(found, str):
                notes.append(f"{self.path.name}: '{name}' is left out: {found}.")
            else:
                told.append(found.at(rows))
        if silent := int((rows < 0).sum()):
            some = f"{many(silent, 'pictures')} {'is' if silent == 1 else 'are'}"
            notes.append(f"{some} not in {self.path.name}: nothing is said.")
        return told, notes


def read_metadata(root: Path, files: Listing) -> Metadata | None:
    """The table beside the pictures of a folder, or None where there is none.

    The table itself and the pictures that its columns name are taken off the list.

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
    files.base.executescript(TABLES)
    files.ask("BEGIN")
    rows = _lines(path) if path.suffix == ".csv" else _objects(path)
    columns, many = _keep(path, files, rows)
    pictures = []
    for number, name in enumerate(columns):
        column = Column(files, number, np.ones(many, dtype=bool))
        if column.names_pictures():
            pictures.append(name)
            _put_aside(path, files, name, column)
    files.ask("INSERT INTO aside VALUES (?)", path.name.encode())
    files.ask(LEAVE)
    files.ask("COMMIT")
    return Metadata(path, files, columns, pictures, many)


def _keep(path: Path, files: Listing, rows: Iterator[Row]) -> tuple[list[str], int]:
    """Put the rows into the tables; returns the names of the columns, and how many rows.

    Raises:
        DataError: a row names no file, or one that another row names, too.
    """
    numbers: dict[str, int] = {}
    many = 0
    for block, part in enumerate(iter(lambda: list(islice(rows, BLOCK)), [])):
        for line, row in part:
            _tell(path, files, many, line, row.pop(KEY, None))
            many += 1
        for name in dict.fromkeys(chain.from_iterable(row for _, row in part)):
            number = numbers.setdefault(name, len(numbers))
            cells = json.dumps([row.get(name) for _, row in part])
            files.ask("INSERT INTO cells VALUES (?, ?, ?)", number, block, cells)
    return list(numbers), many


def _tell(path: Path, files: Listing, k: int, line: int, name: Cell) -> None:
    """Note that row k tells of a file."""
    if not isinstance(name, str):
        raise DataError(f"'{path}' line {line} has no '{KEY}'; that column names the picture.")
    place = _path(name)
    try:
        if files.ask(TELL, k, line, place).rowcount:
            return
    except sqlite3.IntegrityError:
        first = files.one("SELECT line FROM told WHERE path = ?", place)
        raise DataError(f"'{path}' lines {first} and {line} both say '{name}'.") from None
    hint = near(name, [shown(file.relative) for file in next(files.blocks(), [])])
    raise DataError(f"'{path}' line {line}: there is no file '{name}' beside it.{hint}")


def _put_aside(path: Path, files: Listing, name: str, column: Column) -> None:
    """Note which pictures a column names.

    Raises:
        DataError: one of them is not there.
    """
    for k, (cell, place) in enumerate(zip(column, column.paths(), strict=True)):
        if place is not None and files.get(place) is None:
            raise DataError(
                f"'{path}' line {_line(files, k)}: there is no picture '{cell}', which "
                f"'{name}' names; put it there or leave the cell empty."
            )
        files.ask("INSERT OR IGNORE INTO aside VALUES (?)", place)


def _line(files: Listing, k: int) -> int:
    return int(files.one("SELECT line FROM told WHERE k = ?", k))


def _path(name: str) -> bytes:
    return os.fsencode(os.path.normpath(name).replace(os.sep, "/"))


def _lines(path: Path) -> Iterator[Row]:
    with open_lines(path) as found:
        header = found.header or ()
        if KEY not in header:
            have = ", ".join(header) or "none"
            raise DataError(
                f"'{path}' needs a column '{KEY}' with the pictures' names; it has {have}."
            )
        for line, cells in found.rows:
            told = (None if missing(cell) else cell for cell in cells)
            yield line, dict(zip(header, told, strict=True))


def _objects(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"'{path}' line {number} is not JSON; mend it.") from error
            # NaN, which json.dumps of Python writes for a gap, is no JSON and says nothing.
            if not isinstance(row, dict) or not all(map(_is_cell, row.values())):
                raise DataError(
                    f"'{path}' line {number} must be a JSON object of texts, numbers, true, "
                    "false, null, or lists of texts or numbers."
                )
            yield number, {name: None if cell != cell else cell for name, cell in row.items()}


def _is_cell(value: object) -> bool:
    if isinstance(value, list):
        return all(type(v) is str for v in value) or all(type(v) in (int, float) for v in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _is_picture(cell: Cell) -> bool:
    return isinstance(cell, str) and Path(cell).suffix.lower() in PICTURE_ENDINGS
