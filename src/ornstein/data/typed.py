"""From the cells of a column to a condition, by what they are.

tags      lists of texts, or texts such as red|round
numbers   every cell is a number, or a list of as many numbers
class     texts, at most half as many different ones as cells; also true and false
left out  a note says why: texts that all differ, numbers of rows, one value for all

A column called class holds classes: whole numbers in it are names, and what else is there, such
as tags, is left out, since classes alone go by that name.

Cells are read several times, and none is kept: a million of them may be on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import chain, islice

import numpy as np

from ornstein.data.conditions import CLASS, Condition, coded, labelled, tagged
from ornstein.errors import DataError

Cell = str | float | bool | list[str | float] | None
"""A text, a number, a truth, a list of texts or numbers, or None: nothing is said."""

MOST_TAGS = 1_000
WRONG = 0.1  # share of cells that are no numbers up to which a column is meant to be numbers
SAME = "it says the same of every item"
_PIECE = 1 << 16  # texts compared at a time


def typed(name: str, cells: Iterable[Cell], at: Callable[[int], str]) -> Condition | str:
    """The condition that a column is, or why it is none.

    Args:
        name: Of the column.
        cells: One for each item.
        at: Says where cell k stands, for the message.

    Raises:
        DataError: a cell is no number in a column of numbers.
    """
    told = sum(cell is not None for cell in cells)
    if not told:
        return "it says nothing"
    if any(map(_is_tags, cells)):
        return _tags(name, cells)
    if name == CLASS and all(_number(cell) is None or _whole(cell) for cell in cells):
        return _class(name, cells, _named, _rank)
    wrong = told - sum(_number(cell) is not None for cell in cells)
    if wrong == 0:
        return _numbers(name, cells)
    if wrong <= WRONG * told:
        k, cell = next(
            (k, cell) for k, cell in enumerate(cells) if cell is not None and _number(cell) is None
        )
        raise DataError(
            f"{at(k)}: '{name}' is {cell!r}, which is not a number, unlike the other lines; mend "
            "it or leave the cell empty."
        )
    return _class(name, cells)


def drawn(name: str, pictures: np.ndarray, index: np.ndarray) -> Condition | str:
    """The condition of pictures that a column names.

    Args:
        name: Of the column.
        pictures: All of them, (M, C, H, W).
        index: Which of them each item has, (N,); -1 for none, such as one that cannot be read.
    """
    if bool((index < 0).all()):
        return "none of its pictures can be used"
    return coded(np.take(pictures, index, axis=0), name, index >= 0)


def named(name: str, cells: Iterable[Cell]) -> Condition | str:
    """A column of texts and truths: tags where one of them is such, else classes."""
    return (_tags if any(map(_is_tags, cells)) else _class)(name, cells)


def counted(name: str, table: np.ndarray) -> Condition | str:
    """Numbers, (N,) or (N, count); what is not finite says nothing, nor the rest of its row."""
    rows = table.astype(np.float64).reshape(len(table), -1)
    told = rows[np.isfinite(rows).all(axis=1)]
    if not told.size:
        return "it says nothing"
    if np.ptp(told, axis=0).max() == 0:
        return SAME
    flat = np.sort(told[:, 0])
    if rows.shape[1] == 1 and len(flat) > 2 and bool((np.diff(flat) == 1).all()):
        return "it numbers the rows"
    return coded(rows, name)


def kept(found: Condition | str) -> Condition | str:
    """The condition, or why it is none: under the name of classes there are classes alone."""
    if isinstance(found, Condition) and found.name == CLASS and found.kind != "class":
        return f"it is of kind {found.kind}, and only classes are called so; give it another name"
    return found


def _is_tags(cell: Cell) -> bool:
    texts = isinstance(cell, list) and (not cell or isinstance(cell[0], str))
    return texts or (isinstance(cell, str) and "|" in cell)


def _text(cell: Cell) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _whole(cell: Cell) -> bool:
    numbers = None if isinstance(cell, list) else _number(cell)
    return numbers is not None and numbers[0].is_integer()


def _named(cell: Cell) -> str:
    """The name of a class; a number's without point and zeros, as 3 of 3.0, in any file."""
    if not _whole(cell):
        return _text(cell)
    try:
        return str(int(str(cell)))
    except ValueError:
        return str(int(float(str(cell))))


def _rank(name: str) -> tuple[bool, int, str]:
    """Where a class stands: numbers by their size, and then the words."""
    try:
        return False, int(name), name
    except ValueError:
        return True, 0, name


def _number(cell: Cell) -> list[float] | None:
    if cell is None or isinstance(cell, bool):
        return None
    try:
        numbers = [float(n) for n in (cell if isinstance(cell, list) else [cell])]
    except (ValueError, OverflowError):
        return None
    return numbers if numbers and all(map(math.isfinite, numbers)) else None


def _numbers(name: str, cells: Iterable[Cell]) -> Condition | str:
    widths = {len(row) for row in map(_number, cells) if row is not None}
    if len(widths) > 1:
        return "its lists have different lengths"
    (width,) = widths
    gap = [math.nan] * width
    flat = np.fromiter(chain.from_iterable(_number(c) or gap for c in cells), np.float64)
    return counted(name, flat.reshape(-1, width))


def _different(texts: Iterable[str]) -> int:
    """How many different ones there are; of each, eight bytes are kept.

    Two of a million texts have the same hash, and count as one, once in thirty million tables.
    """
    hashes, known = map(hash, texts), np.empty(0, np.int64)
    while len(part := np.fromiter(islice(hashes, _PIECE), np.int64)):
        known = np.union1d(known, part)
    return len(known)


def _tags_of(cell: Cell) -> set[str]:
    if cell is None:
        return set()
    return {str(c).strip() for c in (cell if isinstance(cell, list) else str(cell).split("|"))} - {
        ""
    }


def _tags(name: str, cells: Iterable[Cell]) -> Condition | str:
    many = _different(tag for cell in cells for tag in _tags_of(cell))
    if not 0 < many <= MOST_TAGS:
        return f"it has {many:,} tags, and there may be 1 to {MOST_TAGS:,}"
    names = sorted({tag for cell in cells for tag in _tags_of(cell)})
    place = {tag: k for k, tag in enumerate(names)}
    said = np.fromiter((cell is not None for cell in cells), bool)
    values = np.zeros((len(said), many), dtype=bool)
    for k, cell in enumerate(cells):
        values[k, [place[tag] for tag in _tags_of(cell)]] = True
    return tagged(values, names, said, name)


def _class(
    name: str,
    cells: Iterable[Cell],
    text: Callable[[Cell], str] = _text,
    rank: Callable[[str], tuple[bool, int, str]] | None = None,
) -> Condition | str:
    told = sum(cell is not None for cell in cells)
    many = _different(text(cell) for cell in cells if cell is not None)
    if not told:
        return "it says nothing"
    if many == 1:
        return SAME
    if 2 * many > told:
        return f"{many:,} different texts in {told:,} cells are not classes"
    names = sorted({text(cell) for cell in cells if cell is not None}, key=rank)
    place = {found: k for k, found in enumerate(names)}
    labels = (-1 if cell is None else place[text(cell)] for cell in cells)
    return labelled(np.fromiter(labels, np.int64), names, name)
