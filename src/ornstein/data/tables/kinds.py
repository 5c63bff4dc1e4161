"""Every type of column by its name, and the way back from a model file."""

from __future__ import annotations

from typing import Any

from ornstein.data.tables.categories import Category, Label, Left
from ornstein.data.tables.columns import Column
from ornstein.data.tables.numeric import Number
from ornstein.errors import DataError

TYPES: dict[str, type[Column]] = {
    "integer": Number,
    "number": Number,
    "date": Number,
    "category": Category,
    "boolean": Category,
    "constant": Category,
    "label": Label,
    "left out": Left,
}


def column_from_json(fields: dict[str, Any]) -> Column:
    """Column from the dict of ``to_json``.

    Raises:
        DataError: a field is missing, unknown or of the wrong type.
    """
    try:
        return TYPES[fields["type"]].from_json(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a column of the table in the file is damaged: {error!r}.") from error
