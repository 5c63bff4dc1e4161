"""CSV files as data sets: tables of typed columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.tables.categories import Category, Label, Left
from ornstein.data.tables.columns import Column
from ornstein.data.tables.detecting import check_words, told
from ornstein.data.tables.reading import Text, missing
from ornstein.data.tables.table import Table
from ornstein.errors import DataError, near

MOST_CLASSES = 10_000


def open_table(
    text: Text,
    *,
    columns: Mapping[str, str] | None = None,
    label: str | None = None,
    like: Table | None = None,
) -> Dataset:
    """Data set of the rows of a table.

    Args:
        text: The file.
        columns: What its owner says of columns, by name.
        label: Column that is the class.
        like: Coding of a model: the rows are read by its columns, and nothing is measured.

    Raises:
        DataError: a cell or a column that does not fit; its line is named.
        UsageError: something is said of a column that is not there.
    """
    place = str(text.path)
    header = text.header
    if header is None:
        raise DataError(
            f"'{place}' begins with a line of numbers; a table needs names in its first line "
            "(for series say --set data.layout=rows, one to a line, or columns)."
        )
    if like is not None:
        return replace(_dataset(text, like, like_items(text, like)), coding=like)
    words = dict(columns or {})
    check_words(words, header, label)
    words.update({label: "label"} if label else {})
    found = tuple(_told(text, k, name, words.get(name)) for k, name in enumerate(header))
    coding = Table((0.0,), (1.0,), "table", columns=found, style=text.style)
    return _dataset(text, coding, coding.parse(text.rows, text.lines, place))


def like_items(text: Text, like: Table) -> np.ndarray:
    """Rows of a file read by a model's columns, in their order, (N, columns).

    Raises:
        DataError: another set of columns, or a cell that they do not know.
    """
    place, header = str(text.path), text.header or ()
    asked = {column.name: isinstance(column, Left) for column in like.columns}
    odd = next((name for name in header if name not in asked), None)
    lost = next((name for name, left in asked.items() if not left and name not in header), None)
    if odd is not None or lost is not None:
        what = (
            f"has a column '{odd}' that" if odd is not None else f"has no column '{lost}', which"
        )
        raise DataError(
            f"'{place}' {what} the model {'does not know' if odd is not None else 'has'}."
            f"{near(odd or '', asked)} Its columns are: {', '.join(asked)}."
        )
    at = {name: k for k, name in enumerate(header)}
    rows = [[row[at[name]] if name in at else "" for name in asked] for row in text.rows]
    return like.parse(rows, text.lines, place)


def _told(text: Text, k: int, name: str, word: str | None) -> Column:
    cells = [(n, row[k]) for n, row in zip(text.lines, text.rows, strict=True)]
    there = [cell for cell in cells if not missing(cell[1])]
    gaps = [cell[1] for cell in cells if missing(cell[1])]
    gap = max(sorted(set(gaps)), key=gaps.count) if gaps else None
    return told(name, there, gap, word, str(text.path))


def _dataset(text: Text, coding: Table, items: np.ndarray) -> Dataset:
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if coding.label is not None:
        column = coding.columns[coding.label]
        assert isinstance(column, Label)
        labels, classes = items[:, coding.label].astype(np.int64), column.names
        if len(classes) > MOST_CLASSES:
            raise DataError(
                f"'{text.path}': column '{column.name}' has {len(classes):,} different texts; a "
                f"label has {MOST_CLASSES:,} at most."
            )
    if not any(column.width or column.gap is not None for column in coding.columns):
        raise DataError(
            f"'{text.path}' has no column to learn: all are constant, empty or left out."
        )
    return make_dataset(
        text.path.stem,
        "table",
        items,
        labels=labels,
        classes=classes,
        coding=coding,
        source=Source(f"table {text.path.name}"),
        notes=tuple(_notes(coding)),
    )


def _notes(coding: Table) -> list[str]:
    """What its owner should know of the columns."""
    notes = [
        f"Column '{column.name}' is left out: {column.why}."
        for column in coding.columns
        if isinstance(column, Left)
    ]
    return notes + [
        f"Column '{column.name}' is the same everywhere: '{column.names[0]}'."
        for column in coding.columns
        if isinstance(column, Category) and column.type == "constant"
    ]
