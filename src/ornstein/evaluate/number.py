"""A measured value, how sure it is, and the two ways by which that is known.

Means over items are bootstrapped (Efron 1979). Distances between whole sets are not: drawing
with replacement repeats items, and repeats raise a distance, so there the jackknife or the
projections of a U-statistic serve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SIDES = (0.025, 0.975)  # of the intervals, which are of 95 %
Z = 1.959964
DRAWS = 1000


@dataclass(frozen=True)
class Number:
    """A measured value, its standard error over the choice of samples and its 95 % interval."""

    value: float
    error: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"{self.value:.4g}" + ("" if self.error is None else f" ± {self.error:.2g}")


def normal(value: float, error: float) -> Number:
    """Number with the interval of a normal law."""
    return Number(value, error, (value - Z * error, value + Z * error))


def jackknife(whole: float, left_out: Sequence[float]) -> Number:
    """Number from its values with each of g groups left out (Quenouille, Tukey)."""
    points = torch.tensor(left_out, dtype=torch.float64)
    g = len(points)
    variance = (g - 1) / g * ((points - points.mean()) ** 2).sum()
    return normal(whole, float(variance.sqrt()))


def bootstrap(scores: Tensor, seed: int = 0) -> Number:
    """Mean of scores (N,), with the percentile interval of 1,000 draws with replacement."""
    scores = scores.to(torch.float64)
    n = len(scores)
    if n < 2:
        return Number(float(scores.mean()))
    random = torch.Generator().manual_seed(seed)
    means = torch.cat([
        scores[torch.randint(n, (DRAWS // 10, n), generator=random)].mean(1) for _ in range(10)
    ])  # fmt: skip
    low, high = torch.quantile(means, torch.tensor(SIDES, dtype=torch.float64)).tolist()
    return Number(float(scores.mean()), float(scores.std()) / math.sqrt(n), (low, high))
