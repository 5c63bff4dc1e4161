"""Precision and recall of samples by nearest neighbours in feature space.

Kynkäänniemi et al., arXiv:1904.06991: a set's support is the union of balls around its
points that reach to their k-th neighbour. Precision is the share of samples within the
support of the data, recall the share of data within the support of the samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ornstein.errors import DataError


def radii(points: Tensor, k: int = 3, block: int = 1000) -> Tensor:
    """Distance of each point (N, D) to its k-th neighbour in the same set, shape (N,)."""
    if len(points) <= k:
        raise DataError(f"{len(points)} items have no {k}th neighbour each: take more than {k}.")
    # The nearest of the k + 1 is the point itself, at distance 0.
    near = [
        torch.cdist(part, points).topk(k + 1, largest=False).values for part in points.split(block)
    ]
    return torch.cat(near)[:, -1]


def share_within(points: Tensor, centres: Tensor, reach: Tensor, block: int = 1000) -> float:
    """Share of points (N, D) that lie in at least one ball around centres (M, D)."""
    inside = 0
    for part in points.split(block):
        inside += int((torch.cdist(part, centres) <= reach).any(1).sum())
    return inside / len(points)


def precision_recall(samples: Tensor, data: Tensor, k: int = 3) -> tuple[float, float]:
    """Precision and recall of samples (N, D) against data (M, D); compare equal N and M only."""
    return (
        share_within(samples, data, radii(data, k)),
        share_within(data, samples, radii(samples, k)),
    )
