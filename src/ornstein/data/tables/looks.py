"""A table's columns as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ornstein.data.tables.categories import Left
from ornstein.data.tables.columns import Column

HEAD = ("column", "type", "missing", "distinct", "codes", "values")


def column_lines(columns: Sequence[Column], widths: Sequence[int], items: np.ndarray) -> list[str]:
    """A line for each column: what it is, its gaps, how many values it has, and its range.

    Args:
        columns: Of the table.
        widths: Codes of each.
        items: The rows, (N, columns).
    """
    rows = [HEAD]
    for k, (column, width) in enumerate(zip(columns, widths, strict=True)):
        there = items[~np.isnan(items[:, k]), k]
        counts = (f"{len(items) - len(there):,}", f"{len(np.unique(there)):,}")
        gaps, distinct = ("", "") if isinstance(column, Left) else counts
        rows.append((column.name, column.type, gaps, distinct, str(width), column.range_text()))
    sides = [max(len(row[k]) for row in rows) for k in range(5)]
    return [
        "  ".join([*(t.ljust(w) for t, w in zip(row[:5], sides, strict=True)), row[5]])
        for row in rows
    ]
