"""A CSV file as text: its header, its cells, and how it was written."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from ornstein.errors import DataError

_GAPS = "NA N/A n/a #N/A <NA> NaN nan NAN -nan NULL null None ?"
MISSING = frozenset(("", *_GAPS.split()))  # texts of a cell that say that nothing is known
_SEPARATORS = ",;\t|"
_LONGEST = 1 << 20  # characters of a cell
_PIECE = 1 << 16  # bytes or characters that are looked at together


UNASSIGNED = "ornstein-unassigned"


def _unassigned(error: UnicodeError) -> tuple[str, int]:
    """The five bytes without a meaning in Windows-1252 stay what they are, so none are confused.

    What else cannot be read, such as half a character of UTF-16, is a question mark.
    """
    if isinstance(error, UnicodeDecodeError) and error.encoding == "charmap":
        return error.object[error.start : error.end].decode("latin-1"), error.end
    return codecs.replace_errors(error)  # type: ignore[return-value]


codecs.register_error(UNASSIGNED, _unassigned)


@dataclass(frozen=True)
class Style:
    """How a file is written.

    Attributes:
        separator: Between cells.
        newline: At the end of a line.
    """

    separator: str = ","
    newline: str = "\n"

    def to_json(self) -> dict[str, Any]:
        """Plain dict for a JSON file."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Text:
    """The cells of a file.

    Attributes:
        path: The file.
        header: Names of the columns; None where the first line holds numbers.
        rows: Cells of each line, blank ones around them taken off.
        lines: Number of the line of each row, from 1.
        style: How it was written.
    """

    path: Path
    header: tuple[str, ...] | None
    rows: list[list[str]]
    lines: list[int]
    style: Style

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.header or self.rows[0])


@dataclass(frozen=True, eq=False)
class Lines:
    """A file that is read line by line.

    Attributes:
        header: Names of the columns; None where the first line holds numbers.
        rows: Number of each line, from 1, and its cells, blank ones around them taken off.
        style: How it was written.
    """

    header: tuple[str, ...] | None
    rows: Iterator[tuple[int, list[str]]]
    style: Style


def read_text(path: Path) -> Text:
    """Read a CSV file into memory, see :func:`open_lines`.

    Raises:
        DataError: it cannot be read, is empty, or a line has too few or many cells.
    """
    with open_lines(path) as found:
        body = list(found.rows)
    rows, lines = [cells for _, cells in body], [line for line, _ in body]
    return Text(path, found.header, rows, lines, found.style)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be read.

    Raises:
        DataError: it cannot be opened, or not be read to its end.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


@contextmanager
def open_lines(path: Path) -> Iterator[Lines]:
    """Open a CSV file: UTF-8 or, failing that, Windows-1252; any usual separator and line end.

    Raises:
        DataError: it cannot be read or is empty; while rows are read, one has too few or many
            cells.
    """
    with opened(path) as found:
        file = found if found.seekable() else io.BytesIO(found.read())
        encoding = _encoding(file, path)
        file.seek(0)
        with io.TextIOWrapper(file, encoding, UNASSIGNED, newline="") as text:
            begins = text.read(_PIECE)
            text.seek(0)
            style = Style(_separator(begins), "\r\n" if "\r\n" in begins else "\n")
            rows = _rows(text, style.separator, path)
            first = next(rows, None)
            if first is None:
                raise DataError(
                    f"'{path}' is empty; a table has a line of names, then a line for each row."
                )
            plain = all(map(_numeric, first[1])) and not _counts(first[1])
            header = None if plain else _header(first[1], path)
            body = chain([first], rows) if plain else rows
            yield Lines(header, _even(body, len(first[1]), path), style)


def missing(text: str) -> bool:
    """Whether a cell says that nothing is known."""
    return text in MISSING


def write_text(style: Style, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """The bytes of a CSV file."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=style.separator, lineterminator=style.newline)
    writer.writerows([*([header] if header else []), *rows])
    return file.getvalue().encode()


def _encoding(file: BinaryIO, path: Path) -> str:
    """How a text is written; all of it is tried, so that no later line is a surprise."""
    if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    pieces = _pieces(file, path)
    try:
        for _ in codecs.iterdecode(pieces, "utf-8-sig"):
            pass
    except UnicodeDecodeError:
        for _ in pieces:
            pass
        return "cp1252"  # Latin-1 but for 128 to 159, which are control characters there
    return "utf-8-sig"


def _pieces(file: BinaryIO, path: Path) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        if b"\0" in piece:
            raise DataError(f"'{path}' is not text: it holds NUL bytes; export the table as CSV.")
        yield piece


def _separator(text: str) -> str:
    """The separator that the first lines agree on best: as often in each, and not in quotes."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    bare = [part for part in ("".join(line.split('"')[::2]) for line in lines) if part]

    def votes(mark: str) -> tuple[int, bool, int]:
        counted = Counter(line.count(mark) for line in bare)
        count = bare[0].count(mark) if bare else 0
        return (counted[count] if count else 0, mark != ",", count)  # 1,5;2,5 has decimal commas

    best = max(_SEPARATORS, key=votes)
    return best if votes(best)[0] else ","


def _rows(text: Iterable[str], separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(text, delimiter=separator)
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                yield begins, [cell.strip() for cell in cells]
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"'{path}' line {reader.line_num} cannot be read as CSV: {error}; look for a quote "
            "that is not closed."
        ) from error


def _even(
    rows: Iterator[tuple[int, list[str]]], width: int, path: Path
) -> Iterator[tuple[int, list[str]]]:
    """The same rows, as long as each has as many cells; there is one at least."""
    line = 0
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(
                f"'{path}' line {line} has {len(cells)} cells, but the first line has {width}; "
                "mend that line (a cell that holds the separator needs quotes)."
            )
        yield line, cells
    if not line:
        raise DataError(f"'{path}' has a line of names and no rows; add a line for each row.")


def _numeric(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _counts(cells: list[str]) -> bool:
    """Whether numbers are names after all: 0, 1, 2, ... or 1, 2, 3, ... of several columns."""
    rising = [str(k + int(cells[0] == "1")) for k in range(len(cells))]
    return len(cells) > 2 and cells == rising


def _header(cells: list[str], path: Path) -> tuple[str, ...]:
    names = [cell or f"column {k}" for k, cell in enumerate(cells, 1)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"'{path}' has two columns called '{twice}'; give each column a name of its own."
        )
    return tuple(names)
