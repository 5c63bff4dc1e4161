"""Laws whose denoiser, density and score are known exactly: the truth all else is checked against.

Each law is a denoiser: called with (x, level) it answers E[x0 | x] and E[eps | x]. Vectors only,
x is (B, D); the arithmetic runs in the precision of x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ornstein.core.denoiser import Estimate
from ornstein.core.level import Level, as_clock
from ornstein.errors import UsageError

CLEAN = Level(torch.tensor(1.0), torch.tensor(0.0))
NONE = 1e-10  # share of the largest variance up to which rounding alone may have made an axis


class Mixture:
    """Mixture of K Gaussians with full covariances, in D dimensions.

    Args:
        weights: Shares of the components, (K,); scaled to sum to 1.
        means: (K, D).
        covariances: (K, D, D), or (K,) standard deviations of isotropic components.
    """

    eigenvalues: Tensor  # of each covariance, (K, D)
    axes: Tensor  # its eigenvectors, in columns, (K, D, D)

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.means = as_clock(means)
        weights, covariances = (as_clock(part).to(self.means) for part in (weights, covariances))
        self.weights = weights / weights.sum()
        if covariances.ndim == 1:
            covariances = covariances[:, None, None] ** 2 * torch.eye(self.dim).to(self.means)
        self.eigenvalues, self.axes = torch.linalg.eigh(covariances)
        if bool((self.eigenvalues < -1e-12).any()):
            raise UsageError("a covariance must have no negative eigenvalue.")
        self.eigenvalues = self.eigenvalues.clamp(min=0)

    @property
    def dim(self) -> int:
        """Number of dimensions D."""
        return self.means.shape[-1]

    @property
    def mean(self) -> Tensor:
        """Mean of the law, (D,)."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """Covariance of the law, (D, D)."""
        within = (self.axes * self.eigenvalues[:, None]) @ self.axes.mT
        off = self.means - self.mean
        return torch.einsum("k,kij->ij", self.weights, within + off[:, :, None] * off[:, None, :])

    def _parts(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """Log joint of (x, component) (B, K); offset from each mean, and variance, on its axes."""
        alpha, sigma = (s.to(x).reshape(-1, 1, 1) for s in (level.alpha, level.sigma))
        offset = x[:, None, :] - alpha * self.means.to(x)  # (B, K, D)
        along = torch.einsum("bkd,kde->bke", offset, self.axes.to(x))
        variance = alpha**2 * self.eigenvalues.to(x) + sigma**2  # (B or 1, K, D)
        log_joint = self.weights.to(x).log() - 0.5 * (
            (along**2 / variance).sum(-1)
            + variance.log().sum(-1)
            + self.dim * math.log(2 * math.pi)
        )
        return log_joint, along, variance

    def __call__(self, x: Tensor, level: Level) -> Estimate:
        """Exact E[x0 | x] and E[eps | x], (B, D) each; any level that is not clean."""
        alpha, sigma = (s.to(x).reshape(-1, 1, 1) for s in (level.alpha, level.sigma))
        log_joint, along, variance = self._parts(x, level)
        share = log_joint.softmax(-1)  # (B, K)
        axes = self.axes.to(x)
        x0 = self.means.to(x) + torch.einsum(
            "bke,kde->bkd", alpha * self.eigenvalues.to(x) / variance * along, axes
        )
        eps = torch.einsum("bke,kde->bkd", sigma / variance * along, axes)
        return Estimate(
            torch.einsum("bk,bkd->bd", share, x0), torch.einsum("bk,bkd->bd", share, eps)
        )

    def variance(self, x: Tensor, level: Level) -> Tensor:
        """Exact Var[x0 | x] of each dimension, (B, D)."""
        alpha, sigma = (s.to(x).reshape(-1, 1, 1) for s in (level.alpha, level.sigma))
        log_joint, along, variance = self._parts(x, level)
        share, axes, spectrum = log_joint.softmax(-1), self.axes.to(x), self.eigenvalues.to(x)
        mean = self.means.to(x) + torch.einsum(
            "bke,kde->bkd", alpha * spectrum / variance * along, axes
        )
        within = torch.einsum("bke,kde->bkd", spectrum * sigma**2 / variance, axes**2)
        overall = torch.einsum("bk,bkd->bd", share, mean)[:, None]
        return torch.einsum("bk,bkd->bd", share, within + (mean - overall) ** 2)

    def log_prob(self, x: Tensor, level: Level = CLEAN) -> Tensor:
        """Log density of alpha·x0 + sigma·eps at x in nats, (B,)."""
        return torch.logsumexp(self._parts(x, level)[0], -1)

    def score(self, x: Tensor, level: Level = CLEAN) -> Tensor:
        """Gradient of the log density, (B, D)."""
        log_joint, along, variance = self._parts(x, level)
        pull = torch.einsum("bke,kde->bkd", along / variance, self.axes.to(x))
        return -torch.einsum("bk,bkd->bd", log_joint.softmax(-1), pull)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``count`` points of the clean law, (count, D) float64."""
        # Drawn on the CPU wherever the law lives, so that it is the same everywhere.
        shares = self.weights.cpu()
        component = torch.multinomial(shares, count, replacement=True, generator=generator)
        z = torch.randn(count, self.dim, dtype=torch.float64, generator=generator)
        scaled = z.to(self.means) * self.eigenvalues[component].sqrt()
        return self.means[component] + torch.einsum("bde,be->bd", self.axes[component], scaled)

    def transport(self, x: Tensor, t: Level, s: Level) -> Tensor:
        """Exact probability-flow map from level t to level s, in one dimension, (B, 1).

        The flow keeps the distribution function: x_s = CDF_s^{-1}(CDF_t(x_t)), by bisection.

        Raises:
            UsageError: the law has more than one dimension.
        """
        if self.dim != 1:
            raise UsageError(f"transport is known in one dimension only, this law has {self.dim}.")
        goal = self._cdf(as_clock(x), t)
        reach = 50 * (s.alpha * (self.means.abs().max() + self.eigenvalues.max().sqrt()) + s.sigma)
        reach = reach.to(goal)
        low, high = -reach.expand_as(goal), reach.expand_as(goal)
        for _ in range(200):
            middle = 0.5 * (low + high)
            below = self._cdf(middle, s) < goal
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)

    def _cdf(self, x: Tensor, level: Level) -> Tensor:
        weights, means, variances = (
            part.to(x) for part in (self.weights, self.means[:, 0], self.eigenvalues[:, 0])
        )
        deviation = (level.alpha**2 * variances + level.sigma**2).sqrt()
        z = (x - level.alpha * means) / deviation  # (B, K)
        below: Tensor = torch.special.ndtr(z) @ weights
        return below[:, None]


class Gaussian(Mixture):
    """A single Gaussian with a full covariance.

    Args:
        mean: (D,).
        covariance: (D, D).
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(torch.ones(1), as_clock(mean)[None], as_clock(covariance)[None])

    def flow(self, x: Tensor, t: Level, s: Level) -> Tensor:
        """Exact probability-flow map from level t to level s, any dimension, (B, D)."""
        variance_t, variance_s = (lv.alpha**2 * self.eigenvalues[0] + lv.sigma**2 for lv in (t, s))
        along = (x - (t.alpha * self.means[0]).to(x)) @ self.axes[0].to(x)
        stretched = (along * (variance_s / variance_t).sqrt().to(x)) @ self.axes[0].mT.to(x)
        return (s.alpha * self.means[0]).to(x) + stretched


class Principal:
    """A Gaussian of a few principal axes, and of one variance in all other directions.

    Probabilistic PCA (Tipping and Bishop 1999): the best linear denoiser of items in many
    dimensions, or with as many axes as dimensions the Gaussian itself.

    Args:
        mean: (*D).
        axes: Orthonormal, in rows, (K, prod(D)).
        variances: Along the axes, (K,).
        rest: Variance in any direction across them.
    """

    def __init__(self, mean: Tensor, axes: Tensor, variances: Tensor, rest: float) -> None:
        self.mean, self.axes, self.variances, self.rest = mean, axes, variances, rest

    @classmethod
    def fit(cls, items: Tensor, most: int) -> Principal:
        """Take mean and largest axes, at most ``most``, from items (N, *D).

        There are fewer where the items do not span so many, such as copies of a few.
        """
        flat = items.double().flatten(1)
        mean = flat.mean(0)
        off = flat - mean
        count, dim = off.shape
        # The axes of the smaller of the two products; both have the same variances.
        wide = dim > count
        variances, vectors = torch.linalg.eigh((off @ off.T if wide else off.T @ off) / count)
        kept = min(most, int((variances > NONE * variances.max()).sum()))
        variances, vectors = variances.flip(0)[:kept], vectors.flip(1)[:, :kept]
        axes = vectors.T @ off / (count * variances)[:, None].sqrt() if wide else vectors.T
        left = float((off**2).sum() / count - variances.sum())
        rest = max(0.0, left) / max(1, dim - kept)
        return cls(mean.reshape(items.shape[1:]), axes, variances, rest)

    def __call__(self, x: Tensor, level: Level) -> Estimate:
        """Exact E[x0 | x] and E[eps | x], (B, *D) each; any level that is not clean."""
        alpha, sigma = (s.to(x).reshape(-1, 1) for s in (level.alpha, level.sigma))
        offset = x.flatten(1) - alpha * self.mean.to(x).flatten()
        axes = self.axes.to(x)
        along = offset @ axes.T  # (B, K)

        def keeps(variance: Tensor | float) -> Tensor:
            return alpha * variance / (alpha**2 * variance + sigma**2)

        pulled = (keeps(self.variances.to(x)) - keeps(self.rest)) * along @ axes
        x0 = self.mean.to(x).flatten() + keeps(self.rest) * offset + pulled
        eps = (x.flatten(1) - alpha * x0) / sigma
        return Estimate(x0.reshape(x.shape), eps.reshape(x.shape))


class FiniteData:
    """The law with equal weight on the items of a finite data set: what perfect memory would do.

    Args:
        items: (N, *D).
    """

    def __init__(self, items: Tensor) -> None:
        self.items = items

    def __call__(self, x: Tensor, level: Level) -> Estimate:
        """Exact E[x0 | x] and E[eps | x], (B, *D) each; any level that is not clean."""
        flat, data = x.flatten(1), self.items.to(x).flatten(1)
        alpha, sigma = (s.to(x).reshape(-1, 1) for s in (level.alpha, level.sigma))
        # |x - alpha·d|² without the terms that all items share.
        log_share = (alpha * (flat @ data.T) - 0.5 * alpha**2 * (data**2).sum(1)) / sigma**2
        x0 = log_share.softmax(-1) @ data
        return Estimate(x0.reshape(x.shape), ((flat - alpha * x0) / sigma).reshape(x.shape))
