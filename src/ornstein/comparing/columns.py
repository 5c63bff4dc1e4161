"""What is told of every family: one line for each number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np

from ornstein.comparing.measuring import Part, off
from ornstein.evaluate import Number, Reference


class Column(NamedTuple):
    """One number of a part.

    Attributes:
        title: Head of the column.
        of: Its value, None where there is none.
        sum: What is told of the values of all seeds: one text.
    """

    title: str
    of: Callable[[Part], float | None]
    sum: Callable[[Sequence[float]], str]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return str(Number(mean(values), stdev(values) if len(values) > 1 else None))


def typical(values: Sequence[float]) -> str:
    """The mean, in three digits."""
    found = mean(values)
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


def worst(values: Sequence[float]) -> str:
    """The greatest."""
    return f"{max(values):.4g}"


def _metric(name: str, field: str = "value") -> Callable[[Part], float | None]:
    return lambda part: getattr(part.quality.rows[name], field) if part.quality else None


def _spent(name: str) -> Callable[[Part], float | None]:
    return lambda part: getattr(part.spent, name, None)


COLUMNS = {
    "frechet": Column("Fréchet", _metric("frechet_train"), spread),
    "matched": Column("Fréchet, as few as held out", _metric("frechet_train", "matched"), spread),
    "worst": Column("worst seed", _metric("frechet_train"), worst),
    "precision": Column("precision", _metric("precision"), spread),
    "recall": Column("recall", _metric("recall"), spread),
    "coverage": Column("coverage", _metric("coverage"), spread),
    "classes": Column("classes off", lambda part: part.off, spread),
    "likelihood": Column("{unit}/dim", lambda part: part.likelihood, spread),
    "evaluations": Column("evaluations", lambda part: part.evaluations, typical),
    "each": Column("ms/sample", lambda part: part.each and 1e3 * part.each, typical),
    "weights": Column("weights", _spent("parameters"), typical),
    "steps": Column("steps", _spent("steps"), typical),
    "seconds": Column("seconds", _spent("seconds"), typical),
}  # fmt: skip


def floor_of(parts: Sequence[Part], reference: Reference) -> dict[str, float]:
    """The same numbers of real held-out items in the place of samples, by name of the column."""
    quality = next((part.quality for part in parts if part.quality is not None), None)
    if quality is None:
        return {}
    row = quality.rows["frechet_train"]
    floor = {name: quality.rows[name].floor for name in ("precision", "recall", "coverage")}
    floor["frechet" if row.floor_n == row.n else "matched"] = row.floor
    found = reference.heldout.reading.classes
    if found is not None:
        counts = np.bincount(found.numpy(), minlength=len(reference.classes))
        floor["classes"] = off(counts, reference) or 0.0
    return floor


def told(column: Column, parts: Sequence[Part]) -> str:
    """The text of one column for the parts of one family; a dash where there is no number."""
    values = [float(v) for v in map(column.of, parts) if v is not None and math.isfinite(v)]
    return column.sum(values) if values else "–"
