"""Tables: CSV files with columns typed by measuring, and an exact way back to their cells."""

from __future__ import annotations

from ornstein.data.tables.categories import Category, Label, Left
from ornstein.data.tables.columns import Column
from ornstein.data.tables.numeric import Number
from ornstein.data.tables.opening import like_items, open_table
from ornstein.data.tables.reading import Style, Text, read_text, write_text
from ornstein.data.tables.table import Table

__all__ = [
    "Category",
    "Column",
    "Label",
    "Left",
    "Number",
    "Style",
    "Table",
    "Text",
    "like_items",
    "open_table",
    "read_text",
    "write_text",
]
