"""A CSV file as text: its header, its cells, and how it was written."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ornstein.errors import DataError

MISSING = frozenset(
    (
        "",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "<NA>",
        "NaN",
        "nan",
        "NAN",
        "-nan",
        "NULL",
        "null",
        "None",
        "?",
    )
)  # texts of a cell that say that nothing is known
_SEPARATORS = ",;\t|"
_LONGEST = 1 << 20  # characters of a cell


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

    def columns(self) -> list[list[str]]:
        """Cells of each column."""
        return [list(cells) for cells in zip(*self.rows, strict=True)]


def read_text(path: Path) -> Text:
    """Read a CSV file: UTF-8 or, failing that, Latin-1; any usual separator and line end.

    Raises:
        DataError: it cannot be read, is empty, or a line has too few or many cells.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error
    text = _decoded(raw, path)
    newline = "\r\n" if "\r\n" in text else "\n"
    style = Style(_separator(text), newline)
    listed = list(_rows(text, style.separator, path))
    if not listed:
        raise DataError(
            f"'{path}' is empty; a table has a line of names, then a line for each row."
        )
    plain = all(_numeric(cell) for cell in listed[0][1]) and not _counts(listed[0][1])
    header = None if plain else _header(listed[0][1], path)
    body = listed if header is None else listed[1:]
    width = len(listed[0][1])
    for line, cells in body:
        if len(cells) != width:
            raise DataError(
                f"'{path}' line {line} has {len(cells)} cells, but the first line has {width}; "
                "mend that line (a cell that holds the separator needs quotes)."
            )
    if not body:
        raise DataError(f"'{path}' has a line of names and no rows; add a line for each row.")
    return Text(path, header, [cells for _, cells in body], [line for line, _ in body], style)


def missing(text: str) -> bool:
    """Whether a cell says that nothing is known."""
    return text in MISSING


def write_text(style: Style, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """The bytes of a CSV file."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=style.separator, lineterminator=style.newline)
    writer.writerows([*([header] if header else []), *rows])
    return file.getvalue().encode()


def _decoded(raw: bytes, path: Path) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw:
        raise DataError(f"'{path}' is no text: it holds NUL bytes; export the table as CSV.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _separator(text: str) -> str:
    """The separator that the first lines agree on best: as often in each, and not in quotes."""
    lines = [line for line in text[: 1 << 16].splitlines()[:50] if line.strip()]
    bare = [part for part in ("".join(line.split('"')[::2]) for line in lines) if part]

    def votes(mark: str) -> tuple[int, bool, int]:
        counted = Counter(line.count(mark) for line in bare)
        count = bare[0].count(mark) if bare else 0
        return (counted[count] if count else 0, mark != ",", count)  # 1,5;2,5 has decimal commas

    best = max(_SEPARATORS, key=votes)
    return best if votes(best)[0] else ","


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
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
