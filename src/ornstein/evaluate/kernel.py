"""Kernel distance between two sets of features, and their mean pairwise distance.

The squared maximum mean discrepancy with the kernel (x·y / D + 1)^3, unbiased (the formula of
the "KID", arXiv:1801.01401, eq. 4): unlike the Fréchet distance it has no floor that falls with
the number of samples, and for equal laws it is 0 on average, now and then below it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ornstein.errors import DataError
from ornstein.evaluate.neighbours import distances
from ornstein.evaluate.number import Number, normal

ROWS = 500


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x·y / D + 1)^3 of every pair, (N, M) float64."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def kernel_distance(samples: Tensor, data: Tensor) -> Number:
    """Unbiased squared kernel distance of features (N, D) and (M, D), with its error.

    The error is that of a U-statistic (Hoeffding 1948), of the choice of the samples: its first
    order from the projection of each sample, its second from what is left of each pair.

    Raises:
        DataError: a side has fewer than two items, or another number of features.
    """
    if samples.shape[1:] != data.shape[1:] or min(len(samples), len(data)) < 2:
        raise DataError(
            f"features of shapes {tuple(samples.shape)} and {tuple(data.shape)} do not compare: "
            "two or more items of each, from one extractor."
        )
    n = len(samples)
    within, squares = _means_of_pairs(samples)
    across = torch.cat([kernel(part, data).mean(1) for part in samples.split(ROWS)])
    real, _ = _means_of_pairs(data)
    value = within.mean() + real.mean() - 2 * across.mean()
    # What a pair says beyond its two members: K - a_i - a_j + mean, of which this is the variance.
    # The means a_i over the other items hold some of it, which is not of the first order.
    own = (squares - within.mean() ** 2 - 2 * within.var()).clamp(min=0)
    first = ((within - across).var() - own / (n - 1)).clamp(min=0)
    return normal(float(value), float((4 * first / n + 2 * own / (n * (n - 1))).sqrt()))


def mean_distance(points: Tensor) -> Number:
    """Mean Euclidean distance of two different points of (N, D), with its error."""
    n = len(points)
    rows = [distances(part, points).sum(1) / (n - 1) for part in points.split(ROWS)]
    own = torch.cat(rows).double()
    return normal(float(own.mean()), float(2 * own.std() / n**0.5))


def _own(points: Tensor) -> Tensor:
    """Kernel of each point with itself, (N,)."""
    return ((points.double() ** 2).mean(1) + 1) ** 3


def _means_of_pairs(points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean kernel of each point with the others, (N,), and mean square over all pairs."""
    n = len(points)
    rows, squares = [], torch.zeros((), dtype=torch.float64)
    for part in points.split(ROWS):
        block, own = kernel(part, points), _own(part)
        rows.append((block.sum(1) - own) / (n - 1))
        squares += (block**2).sum() - (own**2).sum()
    return torch.cat(rows), squares / (n * (n - 1))
