"""Dates and times as seconds since 1970-01-01, read and written in the format of their column."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

# Tried in this order; the first that reads every cell is the column's.
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H:%M:%SZ", "%H:%M:%S.%fZ")
FORMATS: tuple[str, ...] = (
    *_DAYS,
    *(f"{day}{between}{time}" for day in _DAYS for between in " T" for time in _TIMES),
    *_TIMES[:3],
)
_START = datetime(1970, 1, 1)


def read_moment(cell: str, form: str) -> float:
    """Seconds of a date or time.

    Raises:
        ValueError: the cell is not in this format.
    """
    return (datetime.strptime(cell, form) - _START).total_seconds()


def written_moment(seconds: float, form: str) -> str:
    """Text of a date or time. Years have four digits on every system."""
    moment = _START + timedelta(seconds=seconds)
    return moment.strftime(form.replace("%Y", f"{moment.year:04d}"))


def format_of(cells: Iterable[str]) -> str | None:
    """First format that reads every cell, or None."""
    listed = list(cells)
    for form in FORMATS:
        if all(_reads(cell, form) for cell in listed):
            return form
    return None


def _reads(cell: str, form: str) -> bool:
    try:
        read_moment(cell, form)
    except (ValueError, OverflowError):
        return False
    return True
