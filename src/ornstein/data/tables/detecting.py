"""What each column of a table is, told from its cells, or as its owner says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ornstein.data.tables.categories import Category, Label, Left
from ornstein.data.tables.columns import Column
from ornstein.data.tables.moments import format_of, read_moment
from ornstein.data.tables.numeric import Number, form_of, read_number
from ornstein.errors import DataError, UsageError, near

WORDS = ("number", "category", "date", "omit")  # what an owner may say; date takes a format too
MOSTLY = 0.9  # with such a share of numbers, a cell that is none is a mistake
IDENTIFIER = 0.5  # text with more different words than such a share of its cells is no category
FEW = 20  # so few rows or words say nothing about what a column is
MOST_NAMES = 65_536
_CODE = re.compile(r"0\d+")  # 01234 is no number: the zero would be lost
_TRUTHS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"0", "1"})

Cells = list[tuple[int, str]]
"""Line and text of the cells of a column that are not missing."""


def told(name: str, cells: Cells, gap: str | None, word: str | None, place: str) -> Column:
    """What a column is, still without what is measured.

    Args:
        name: As in the header.
        cells: Those that are not missing.
        gap: Text of a missing cell, if there are any.
        word: What its owner says it is: one of ``WORDS``, "date:FORMAT", "label", or None.
        place: The file, for messages.

    Raises:
        DataError: a cell that does not fit the others; its line is named.
    """
    if word is not None:
        kind, _, detail = word.partition(":")
        return _SAID[kind](name, cells, gap, detail, place)
    texts = [text for _, text in cells]
    distinct = Counter(texts)
    if not cells or (len(distinct) == 1 and gap is None):
        return Category(name, "constant", None, tuple(distinct) or (gap or "",))
    if {text.lower() for text in distinct} in _TRUTHS:
        return Category(name, "boolean", gap, _ordered(distinct))
    if not any(_CODE.fullmatch(text) for text in distinct):
        mark, wrong = _not_numbers(cells, distinct)
        if len(wrong) == 0:
            return _counting(name, cells, gap, mark) or _number(name, texts, gap, mark)
        endless = [cell for cell in wrong if _float(cell[1])]
        if endless or (len(cells) >= 10 and len(wrong) <= (1 - MOSTLY) * len(cells)):
            others = len(cells) - len(wrong)
            raise _odd(place, name, (endless or wrong)[0], "number up to 1e300", others)
    form = format_of(distinct)
    if form is not None:
        return Number(name, "date", gap, form)
    _check_dates(name, cells, place)
    if len(distinct) > FEW and len(distinct) > IDENTIFIER * len(cells):
        why = f"{len(distinct):,} different texts in {len(cells):,} cells: a name or free text"
        return Left(name, "left out", gap, why)
    return _category(name, cells, gap, "", place)


def _ordered(distinct: Counter[str]) -> tuple[str, ...]:
    """Most frequent first, equally frequent ones by the alphabet."""
    return tuple(sorted(distinct, key=lambda text: (-distinct[text], text)))


def _not_numbers(cells: Cells, distinct: Counter[str]) -> tuple[str, Cells]:
    """The decimal mark that suits most cells, and the cells that are then no numbers."""
    bad = {mark: {text for text in distinct if not _reads(text, mark)} for mark in ".,"}
    mark = "," if len(bad[","]) < len(bad["."]) else "."
    return mark, [cell for cell in cells if cell[1] in bad[mark]]


def _reads(text: str, mark: str) -> bool:
    try:
        read_number(text, mark)
    except ValueError:
        return False
    return True


def _float(text: str) -> bool:
    """Whether it is a number at all, such as inf or 1e999."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(name: str, texts: Sequence[str], gap: str | None, mark: str) -> Column:
    form = form_of(texts, mark)
    return Number(name, "integer" if form[1:] == "0" else "number", gap, form)


def _counting(name: str, cells: Cells, gap: str | None, mark: str) -> Column | None:
    """A column that counts the rows, or None."""
    if gap is not None or len(cells) <= FEW:
        return None
    steps = np.diff([read_number(text, mark) for _, text in cells])
    counts = bool((np.abs(steps) == 1).all() and (steps == steps[0]).all())
    return Left(name, "left out", None, "it counts the rows") if counts else None


def _check_dates(name: str, cells: Cells, place: str) -> None:
    """Refuse a column of dates with a few cells that are none."""
    if len(cells) < 10:
        return
    form = format_of([cells[len(cells) // 2][1]])
    wrong = [cell for cell in cells if form is not None and not _dated(cell[1], form)]
    if form is not None and len(wrong) <= (1 - MOSTLY) * len(cells):
        raise _odd(place, name, wrong[0], f"date like {form}", len(cells) - len(wrong))


def _dated(text: str, form: str) -> bool:
    try:
        read_moment(text, form)
    except (ValueError, OverflowError):
        return False
    return True


def _odd(place: str, name: str, cell: tuple[int, str], what: str, others: int) -> DataError:
    line, text = cell
    return DataError(
        f"'{place}' line {line}: '{text[:40]}' in column '{name}' is not a {what}, as the other "
        f"{others:,} are; mend or empty it, or say what the column is: "
        f"--set data.columns=\"{{'{name}'='category'}}\"."
    )


def _said_number(name: str, cells: Cells, gap: str | None, _: str, place: str) -> Column:
    texts = [text for _, text in cells]
    mark, wrong = _not_numbers(cells, Counter(texts))
    if wrong or not cells:
        raise _refused(place, name, wrong, "number")
    return _number(name, texts, gap, mark)


def _said_date(name: str, cells: Cells, gap: str | None, form: str, place: str) -> Column:
    found = form or format_of({text for _, text in cells})
    wrong = [cell for cell in cells if found is not None and not _dated(cell[1], found)]
    if found is None or "%" not in found or wrong or not cells:
        raise _refused(place, name, wrong or cells, f"date like {found or '2024-12-31'}")
    return Number(name, "date", gap, found)


def _refused(place: str, name: str, wrong: Cells, what: str) -> DataError:
    line, text = wrong[0] if wrong else (1, "")
    return DataError(
        f"'{place}' line {line}: '{text[:40]}' in column '{name}' is not a {what}, which it is "
        "said to be; mend or empty it, or say something else (date:%d/%m/%y for other dates)."
    )


def _category(name: str, cells: Cells, gap: str | None, _: str, place: str) -> Column:
    distinct = Counter(text for _, text in cells)
    if len(distinct) > MOST_NAMES or not distinct:
        raise DataError(
            f"'{place}': column '{name}' has {len(distinct):,} different texts; a category has 1 "
            f"to {MOST_NAMES:,}. Leave it out: --set data.columns=\"{{'{name}'='omit'}}\"."
        )
    return Category(name, "category", gap, _ordered(distinct))


def _label(name: str, cells: Cells, gap: str | None, _: str, place: str) -> Column:
    made = _category(name, cells, None, "", place)
    if gap is not None:
        raise DataError(
            f"'{place}': column '{name}' has empty cells, so it cannot be the label; fill them or "
            "remove those rows."
        )
    assert isinstance(made, Category)
    return Label(name, "label", None, tuple(sorted(made.names)))


def _omitted(name: str, cells: Cells, gap: str | None, _: str, place: str) -> Column:
    return Left(name, "left out", gap, "as asked")


_SAID: dict[str, Callable[[str, Cells, str | None, str, str], Column]] = {
    "number": _said_number,
    "category": _category,
    "date": _said_date,
    "omit": _omitted,
    "label": _label,
}


def check_words(words: Mapping[str, str], header: Sequence[str], label: str | None) -> None:
    """Refuse what is said about columns that are not there, and words without meaning.

    Raises:
        UsageError: the column or the word is named, with what there is.
    """
    for name in (*words, *([label] if label else [])):
        if name not in header:
            raise UsageError(
                f"there is no column '{name}'.{near(name, header)} There are: "
                f"{', '.join(header[:40])}."
            )
    for name, word in words.items():
        if word.partition(":")[0] not in WORDS:
            raise UsageError(
                f"column '{name}' cannot be '{word}'; say one of {', '.join(WORDS)}, or a date "
                "with its format: date:%d/%m/%y."
            )
