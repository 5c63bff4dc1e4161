"""Data sets: built-in ones, pictures, arrays, tables; opened once, split and standardised."""

from __future__ import annotations

from ornstein.data.coding import Coding
from ornstein.data.conditions import Condition, Declared
from ornstein.data.dataset import Dataset, Refused, Source, make_dataset
from ornstein.data.folder import BadFilesError
from ornstein.data.one import read_item
from ornstein.data.opening import names, open_data
from ornstein.data.prior import left_in_noise, prior_report
from ornstein.data.report import details, report
from ornstein.data.sources import SOURCES
from ornstein.data.toys import TOYS

__all__ = [
    "SOURCES",
    "TOYS",
    "BadFilesError",
    "Coding",
    "Condition",
    "Dataset",
    "Declared",
    "Refused",
    "Source",
    "details",
    "left_in_noise",
    "make_dataset",
    "names",
    "open_data",
    "prior_report",
    "read_item",
    "report",
]
