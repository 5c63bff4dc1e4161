"""Fréchet distance between Gaussians fitted to two sets of features.

For means m, n and covariances A, B (Dowson and Landau 1982, the formula of the "FID",
arXiv:1706.08500):

    d^2 = |m - n|^2 + tr A + tr B - 2 tr (A^(1/2) B A^(1/2))^(1/2)

This module returns d^2, as the field does, and never calls it FID: that name belongs to
one network with one resize.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.errors import DataError
from ornstein.evaluate.number import Number, jackknife

WIDE = 512


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of a set of feature vectors, in float64.

    ``scatter`` is the sum of (f - mean)(f - mean)^T, so that two sets merge without loss
    and a group can be taken out again.
    """

    n: int
    mean: Tensor  # (D,)
    scatter: Tensor  # (D, D)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Moments of one block of features, shape (N, D)."""
        if features.ndim != 2 or features.shape[0] == 0:
            raise DataError(
                f"features must be a table (N, D) with N >= 1, not {tuple(features.shape)}."
            )
        block = features.to(torch.float64)
        mean = block.mean(0)
        centred = block - mean
        return cls(block.shape[0], mean, centred.T @ centred)

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance (D, D); needs two vectors or more."""
        if self.n < 2:
            raise DataError(f"a covariance needs at least 2 items, not {self.n}.")
        return self.scatter / (self.n - 1)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets together (Chan, Golub and LeVeque 1979)."""
        n = self.n + other.n
        step = other.mean - self.mean
        mean = self.mean + step * (other.n / n)
        between = torch.outer(step, step) * (self.n * other.n / n)
        return Moments(n, mean, self.scatter + other.scatter + between)


def moments(blocks: Iterable[Tensor]) -> Moments:
    """Moments of features that come block by block, each (n, D); nothing is kept of them."""
    total: Moments | None = None
    for block in blocks:
        part = Moments.of(block)
        total = part if total is None else total + part
    if total is None:
        raise DataError("no features came: the set is empty.")
    return total


def frechet_gaussian(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Squared Fréchet distance of two Gaussians; means (D,), covariances (D, D).

    With A = F F^T and B = G G^T the trace of the square root is the nuclear norm of
    F^T G, since (A^(1/2) B A^(1/2))^(1/2) has its singular values for eigenvalues. That
    keeps all digits where the usual square root of the product loses half of them: it
    works on numbers of the size of A, not of A squared, and singular covariances need no
    ridge.
    """
    if mean_a.shape != mean_b.shape or cov_a.shape != cov_b.shape:
        raise DataError(
            f"features of {mean_a.shape[0]} and of {mean_b.shape[0]} numbers do not compare: "
            "take both from the same extractor."
        )
    f, g = _factor(cov_a), _factor(cov_b)
    root_trace = torch.linalg.svdvals(f.T @ g).sum()
    step = mean_a.to(torch.float64) - mean_b.to(torch.float64)
    squared = step @ step + cov_a.double().trace() + cov_b.double().trace() - 2 * root_trace
    # Exactly zero only on paper: equal sets come out within rounding on either side.
    return max(0.0, float(squared))


def _factor(covariance: Tensor) -> Tensor:
    """Return F with F F^T = covariance, by eigenvectors; rounding below zero counts as zero."""
    if not bool(torch.isfinite(covariance).all()):
        raise DataError("the features hold numbers that are not finite: the samples are broken.")
    values, vectors = torch.linalg.eigh(covariance.to(torch.float64))
    factor: Tensor = vectors * values.clamp(min=0).sqrt()
    return factor


def frechet(a: Moments, b: Moments) -> float:
    """Squared Fréchet distance of two sets of features by their moments.

    Biased upwards by about 1/n of either set: compare equal n, and beside the floor of
    real data at that n.
    """
    return frechet_gaussian(a.mean, a.covariance, b.mean, b.covariance)


def frechet_with_error(features: Tensor, reference: Moments, groups: int | None = None) -> Number:
    """Fréchet distance of features (N, D) to a reference, with its jackknife error.

    Args:
        features: Of the samples, (N, D).
        reference: Moments of the data.
        groups: Parts that are left out in turn; default 20, of wide features 5, whose roots cost.
    """
    groups = groups or (20 if features.shape[1] <= WIDE else 5)
    parts = [Moments.of(block) for block in features.tensor_split(min(groups, len(features)))]
    whole = moments_of_parts(parts)
    value = frechet(whole, reference)
    if len(parts) < 3 or whole.n - max(p.n for p in parts) < 2:
        return Number(value)
    return jackknife(
        value,
        [
            frechet(moments_of_parts(parts[:i] + parts[i + 1 :]), reference)
            for i in range(len(parts))
        ],
    )


def moments_of_parts(parts: Sequence[Moments]) -> Moments:
    """Moments of several sets together."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
