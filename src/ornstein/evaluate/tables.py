"""The usual checks of made tables against real ones: rows of plain numbers.

Tables come as values, (N, columns) float64 with NaN for missing cells; a category is the place of
its word in a list. What an ideal model would score, two halves of the real rows tell: hand them in
as real and made.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ornstein.errors import UsageError

ROWS, LEAST_ROWS = 20_000, 1_000  # of associations, at most; and for however many pairs
WORK = 2 * 10**8  # rows of all pairs together


@dataclass(frozen=True)
class Schema:
    """What the columns of a table are.

    Attributes:
        names: Of the columns.
        words: Number of words of each category, 0 for a column of numbers.
    """

    names: tuple[str, ...]
    words: tuple[int, ...]

    def place(self, name: str) -> int:
        """Place of a column.

        Raises:
            UsageError: there is no such column.
        """
        if name not in self.names:
            raise UsageError(f"no column '{name}'; there are: {', '.join(self.names)}.")
        return self.names.index(name)


class Marginal(NamedTuple):
    """How far one column of made rows is from the real one.

    Attributes:
        name: Of the column.
        measure: "KS" (numbers: largest gap of the distribution functions) or "TV" (categories:
            total variation).
        distance: In [0, 1], of the cells that are not missing.
        missing: Share of missing cells made, minus the real one.
    """

    name: str
    measure: str
    distance: float
    missing: float


def marginals(real: np.ndarray, made: np.ndarray, schema: Schema) -> list[Marginal]:
    """Compare column by column."""
    rows = []
    for k, (name, words) in enumerate(zip(schema.names, schema.words, strict=True)):
        a, b = (table[~np.isnan(table[:, k]), k] for table in (real, made))
        distance = _variation(a, b, words) if words else _kolmogorov(a, b)
        gaps = [float(np.isnan(table[:, k]).mean()) for table in (real, made)]
        rows.append(Marginal(name, "TV" if words else "KS", distance, gaps[1] - gaps[0]))
    return rows


def _kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of two empirical distribution functions; 1 if one of them is empty."""
    if not len(a) or not len(b):
        return float(len(a) != len(b))
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(part), at, side="right") / len(part) for part in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _variation(a: np.ndarray, b: np.ndarray, words: int) -> float:
    shares = [
        np.bincount(part.astype(int), minlength=words) / max(1, len(part)) for part in (a, b)
    ]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


class Pair(NamedTuple):
    """How two columns hang together, in real and in made rows.

    Attributes:
        names: Of the columns.
        measure: "Spearman" (two of numbers), "eta" (numbers and a category: root of the share of
            the variance of ranks between the words) or "Cramer" (two categories: V).
        real: In the real rows.
        made: In the made ones.
    """

    names: tuple[str, str]
    measure: str
    real: float
    made: float


def associations(real: np.ndarray, made: np.ndarray, schema: Schema) -> list[Pair]:
    """Compare every two columns, by the rows in which neither is missing.

    Of many rows some thousands are taken, evenly spread: fewer, the more pairs there are.
    """
    pairs = list(combinations(range(len(schema.names)), 2))
    most = max(LEAST_ROWS, min(ROWS, WORK // max(1, len(pairs))))
    real, made = (_thinned(table, most) for table in (real, made))
    rows = []
    for i, j in pairs:
        if schema.words[i] and not schema.words[j]:
            i, j = j, i
        words = schema.words[i], schema.words[j]
        name = "Cramer" if words[0] else "eta" if words[1] else "Spearman"
        values = [_association(table[:, [i, j]], words) for table in (real, made)]
        rows.append(Pair((schema.names[i], schema.names[j]), name, *values))
    return rows


def _thinned(table: np.ndarray, most: int) -> np.ndarray:
    if len(table) <= most:
        return table
    return np.take(table, np.linspace(0, len(table) - 1, most).round().astype(int), axis=0)


def _association(pair: np.ndarray, words: tuple[int, int]) -> float:
    """Of two columns, the category last; 0 where there is nothing to hang together."""
    pair = pair[~np.isnan(pair).any(1)]
    if len(pair) < 2:
        return 0.0
    if words[0]:
        return _cramer(pair.astype(int), words)
    ranks = _ranks(pair[:, 0])
    if words[1]:
        inside = np.bincount(pair[:, 1].astype(int), ranks) ** 2
        count = np.bincount(pair[:, 1].astype(int))
        between = float((inside / np.maximum(count, 1)).sum())
        return float(np.sqrt(between / max(float((ranks**2).sum()), 1e-12)))
    other = _ranks(pair[:, 1])
    norm = float(np.sqrt((ranks**2).sum() * (other**2).sum()))
    return float((ranks * other).sum()) / norm if norm > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, mean of ties, less their mean."""
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    return np.asarray(middle[index] - (len(values) + 1) / 2)


def _cramer(pair: np.ndarray, words: tuple[int, int]) -> float:
    """By the cells that are not empty: of long lists of words nearly all are."""
    cells, count = np.unique(pair[:, 0] * words[1] + pair[:, 1], return_counts=True)
    one, two = (np.bincount(column) for column in pair.T)
    expected = one[cells // words[1]] * two[cells % words[1]] / len(pair)
    squared = max(0.0, float((count**2 / expected).sum()) / len(pair) - 1)
    return float(np.sqrt(squared / max(min((one > 0).sum(), (two > 0).sum()) - 1, 1)))
