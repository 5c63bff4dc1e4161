"""What is told of every family: one line for each number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from ornstein.comparing.measuring import Part
from ornstein.evaluate import Number


class Column(NamedTuple):
    """One number of a part.

    Attributes:
        title: Head of the column.
        told: What is told of the values of all seeds.
    """

    title: str
    told: Callable[[Sequence[float]], str]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return str(Number(mean(values), stdev(values) if len(values) > 1 else None))


def typical(values: Sequence[float]) -> str:
    """The mean, in three digits."""
    found = mean(values)
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


COLUMNS = {
    "frechet": Column("Fréchet", spread),
    "matched": Column("Fréchet, as few as held out", spread),
    "precision": Column("precision", spread),
    "recall": Column("recall", spread),
    "coverage": Column("coverage", spread),
    "classes": Column("classes off", spread),
    "likelihood": Column("{unit}/dim", spread),
    "evaluations": Column("evaluations", typical),
    "each": Column("ms/sample", typical),
    "parameters": Column("weights", typical),
    "steps": Column("steps", typical),
    "seconds": Column("seconds", typical),
}


def values(name: str, parts: Sequence[Part]) -> list[float]:
    """The finite values of one column."""
    found = [part.numbers[name] for part in parts if name in part.numbers]
    return [value for value in found if math.isfinite(value)]
