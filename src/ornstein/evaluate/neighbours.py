"""Precision, recall, density and coverage by nearest neighbours in feature space.

A set's support is the union of balls around its points that reach to their k-th neighbour
(arXiv:1904.06991). Precision is the share of samples within the support of the data, recall the
share of data within the support of the samples. Density counts in how many balls of the data a
sample lies, and coverage is the share of those balls that hold a sample (arXiv:2002.09797): one
stray item fools them less.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.errors import DataError
from ornstein.evaluate.features import Rows

BLOCK = 1000
NUMBERS, ROWS = 1 << 24, 1 << 15  # of one side that are in memory at once
NARROW, CLOSE = 16, 1e-2  # numbers of which all distances are exact; share of the length
K_SUPPORT, K_COVER = 3, 5  # neighbours, as the two papers take them


class Support(NamedTuple):
    """What each item says; the means are the four numbers.

    Attributes:
        plausible: Whether each sample lies in the data's support, (N,): precision.
        found: Whether each item of the data lies in the samples' support, (M,): recall.
        density: Balls of the data around each sample over k, (N,).
        covered: Whether the ball of each item of the data holds a sample, (M,): coverage.
    """

    plausible: Tensor
    found: Tensor
    density: Tensor
    covered: Tensor


def distances(points: Tensor, data: Tensor) -> Tensor:
    """Distances of points (N, D) to data (M, D), (N, M).

    The fast way is by products, in which a distance far below the length of the vectors drowns:
    equal items would lie apart, by another rounding for each size of a batch. So those are
    computed once more, by their differences.
    """
    if points.shape[1] <= NARROW:
        return torch.cdist(points, data, compute_mode="donot_use_mm_for_euclid_dist")
    far = torch.cdist(points, data)
    length = torch.maximum(points.norm(dim=1).max(), data.norm(dim=1).max())
    row, column = (far < CLOSE * length).nonzero(as_tuple=True)
    block = max(1, NUMBERS // 4 // points.shape[1])
    for i, j in zip(row.split(block), column.split(block), strict=True):
        far[i, j] = (points[i].double() - data[j].double()).square().sum(1).sqrt().to(far)
    return far


def radii(points: Tensor, k: int = K_SUPPORT) -> Tensor:
    """Distance of each point (N, D) to its k-th neighbour in the same set, shape (N,)."""
    return distances_within(points, k)[:, -1]


def distances_within(points: Tensor, k: int) -> Tensor:
    """Distances of each point (N, D) to its k nearest others, (N, k), rising."""
    if len(points) <= k:
        raise DataError(f"{len(points)} items have no {k}th neighbour each: take more than {k}.")
    # The nearest of the k + 1 is the point itself, at distance 0.
    near = [
        distances(part, points).topk(k + 1, largest=False).values for part in points.split(BLOCK)
    ]
    return torch.cat(near)[:, 1:]


def support(samples: Tensor, data: Tensor, k: int = K_SUPPORT, k_cover: int = K_COVER) -> Support:
    """Hold samples (N, D) and data (M, D) against each other; compare equal N and M only.

    Raises:
        DataError: a side has no k-th neighbours.
    """
    reach = distances_within(data, max(k, k_cover))
    data_reach, ball = reach[:, k - 1], reach[:, k_cover - 1]
    sample_reach = radii(samples, k)
    plausible, density = [], []
    found = torch.zeros(len(data), dtype=torch.bool)
    covered = torch.zeros(len(data), dtype=torch.bool)
    for part, own in zip(samples.split(BLOCK), sample_reach.split(BLOCK), strict=True):
        far = distances(part, data)
        inside = far <= ball
        plausible.append((far <= data_reach).any(1))
        density.append(inside.sum(1) / k_cover)
        found |= (far <= own[:, None]).any(0)
        covered |= inside.any(0)
    return Support(torch.cat(plausible), found, torch.cat(density), covered)


def precision_recall(samples: Tensor, data: Tensor, k: int = K_SUPPORT) -> tuple[float, float]:
    """Precision and recall of samples (N, D) against data (M, D); compare equal N and M only."""
    seen = support(samples, data, k)
    return float(seen.plausible.double().mean()), float(seen.found.double().mean())


def nearest(points: Tensor, data: Rows, k: int) -> tuple[Tensor, Tensor]:
    """Distances (N, k), rising, and places (N, k) of the k nearest of data (M, D) to points.

    The distances of those k are computed once more by their differences: the fast way to all
    distances loses the small ones, and copies are small distances. Data are asked for in pieces,
    so that they may be more than memory holds.
    """
    k = min(k, len(data))
    near = _candidates(points, data, min(k + 4, len(data)))
    order = _distances(points, data, near).sort(dim=1)
    return order.values[:, :k], near.gather(1, order.indices)[:, :k]


def _candidates(points: Tensor, data: Rows, count: int) -> Tensor:
    """Places (N, count) of the data that lie nearest by the fast way."""
    far = points.new_empty(len(points), 0)
    near = far.long()
    size = _rows(data)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        found = [
            torch.cdist(part, piece).topk(min(count, len(piece)), largest=False)
            for part in points.split(BLOCK)
        ]
        far = torch.cat([far, torch.cat([each.values for each in found])], 1)
        near = torch.cat([near, start + torch.cat([each.indices for each in found])], 1)
        best = far.topk(min(count, far.shape[1]), largest=False)
        far, near = best.values, near.gather(1, best.indices)
    return near


def _distances(points: Tensor, data: Rows, near: Tensor) -> Tensor:
    """Distances (N, K), by differences in float64, of points to their own data at near (N, K)."""
    far = torch.empty(near.shape, dtype=torch.float64, device=near.device)
    block = max(1, NUMBERS // 4 // points.shape[1])  # twice as wide numbers, and two sides of them
    for wanted in near.unique().split(_rows(data)):
        piece = data[wanted]
        row, column = ((near >= wanted[0]) & (near <= wanted[-1])).nonzero(as_tuple=True)
        place = torch.searchsorted(wanted, near[row, column])
        for i, j, k in zip(row.split(block), column.split(block), place.split(block), strict=True):
            far[i, j] = (points[i].double() - piece[k].double()).square().sum(1).sqrt()
    return far


def _rows(data: Rows) -> int:
    """How many of the data are in memory at once."""
    return max(1, min(ROWS, NUMBERS // data.shape[1]))
