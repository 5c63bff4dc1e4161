"""From the cells of a column to a condition, by what they are.

tags      lists of texts, or texts such as red|round
numbers   every cell is a number, or a list of as many numbers
class     texts, at most half as many different ones as cells; also true and false
left out  a note says why: texts that all differ, numbers of rows, one value for all
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ornstein.data.conditions import Condition, coded, labelled, tagged
from ornstein.errors import DataError

Cell = str | float | bool | list[str | float] | None
"""A text, a number, a truth, a list of texts or numbers, or None: nothing is said."""

MOST_TAGS = 1_000
WRONG = 0.1  # share of cells that are no numbers up to which a column is meant to be numbers


def typed(name: str, cells: Sequence[Cell], at: Callable[[int], str]) -> Condition | str:
    """The condition that a column is, or why it is none.

    Args:
        name: Of the column.
        cells: One for each item.
        at: Says where cell k stands, for the message.

    Raises:
        DataError: a cell is no number in a column of numbers.
    """
    said = np.array([cell is not None for cell in cells])
    told = [cell for cell in cells if cell is not None]
    if not told:
        return "it says nothing"
    if any(_is_tags(cell) for cell in told):
        return _tags(name, cells, said)
    numbers = [_number(cell) for cell in cells]
    wrong = len(told) - sum(number is not None for number in numbers)
    if wrong == 0:
        return _numbers(name, numbers)
    if wrong <= WRONG * len(told):
        k = next(k for k, n in enumerate(numbers) if n is None and cells[k] is not None)
        raise DataError(
            f"{at(k)}: '{name}' is {cells[k]!r}, which is no number as in the other lines; mend "
            "it or leave the cell empty."
        )
    return named(name, cells)


def drawn(name: str, cells: Sequence[Cell], pictures: Mapping[str, np.ndarray]) -> Condition | str:
    """The condition of pictures that a column names; those that could not be read say nothing."""
    found = [pictures.get(str(cell)) for cell in cells]
    blank = next((picture for picture in found if picture is not None), None)
    if blank is None:
        return "none of its pictures can be used"
    values = np.stack([np.zeros_like(blank) if picture is None else picture for picture in found])
    return coded(values, name, np.array([picture is not None for picture in found]))


def named(name: str, cells: Sequence[Cell]) -> Condition | str:
    """A column of texts and truths: tags where one of them is such, else classes."""
    if any(_is_tags(cell) for cell in cells):
        return _tags(name, cells, np.array([cell is not None for cell in cells]))
    return _class(name, [None if cell is None else _text(cell) for cell in cells])


def counted(name: str, table: np.ndarray) -> Condition | str:
    """Numbers, (N,) or (N, count); what is not finite says nothing."""
    rows = table.astype(np.float64).reshape(len(table), -1)
    cells = [row.tolist() if np.isfinite(row).all() else None for row in rows]
    return _numbers(name, cells) if any(cells) else "it says nothing"


def _is_tags(cell: Cell) -> bool:
    texts = isinstance(cell, list) and (not cell or isinstance(cell[0], str))
    return texts or (isinstance(cell, str) and "|" in cell)


def _text(cell: Cell) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _number(cell: Cell) -> list[float] | None:
    if isinstance(cell, bool):
        return None
    try:
        numbers = [float(n) for n in (cell if isinstance(cell, list) else [cell])]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return numbers if numbers and np.isfinite(numbers).all() else None


def _numbers(name: str, numbers: list[list[float] | None]) -> Condition | str:
    told = [row for row in numbers if row is not None]
    width = len(told[0])
    if any(len(row) != width for row in told):
        return "its lists have different lengths"
    table = np.array([[np.nan] * width if row is None else row for row in numbers])
    flat = np.sort(np.array(told)[:, 0])
    if np.ptp(np.array(told), axis=0).max() == 0:
        return "it says the same of every item"
    if width == 1 and len(flat) > 2 and bool((np.diff(flat) == 1).all()):
        return "it numbers the rows"
    return coded(table, name)


def _tags(name: str, cells: Sequence[Cell], said: np.ndarray) -> Condition | str:
    sets = [
        {str(c).strip() for c in (cell if isinstance(cell, list) else str(cell).split("|"))} - {""}
        if cell is not None
        else set()
        for cell in cells
    ]
    names = sorted(set().union(*sets))
    if not 0 < len(names) <= MOST_TAGS:
        return f"it has {len(names):,} tags, and there may be 1 to {MOST_TAGS:,}"
    values = np.array([[tag in row for tag in names] for row in sets])
    return tagged(values, names, said, name)


def _class(name: str, texts: list[str | None]) -> Condition | str:
    told = [text for text in texts if text is not None]
    names = sorted(set(told))
    if len(names) == 1:
        return "it says the same of every item"
    if 2 * len(names) > len(told):
        return f"{len(names):,} different texts in {len(told):,} cells are no classes"
    index = {text: k for k, text in enumerate(names)}
    return labelled(np.array([-1 if t is None else index[t] for t in texts]), names, name)
