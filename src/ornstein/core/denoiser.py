"""A denoiser maps (x, level) to an estimate of (x0, eps)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from ornstein.core.level import Level, spread


class Estimate(NamedTuple):
    """What a denoiser answers, all (B, *D).

    Attributes:
        x0: E[x0 | x].
        eps: E[eps | x].
        interpolation: In [0, 1], how far the log-variance of a reverse step lies from the lower
            to the upper bound of the bridge; None when the variance was not learned.
        variance: Var[x0 | x] of each dimension; None when it is not known.
    """

    x0: Tensor
    eps: Tensor
    interpolation: Tensor | None = None
    variance: Tensor | None = None


class Denoiser(Protocol):
    """Anything that answers (x, level) with an Estimate: a model, an exact law, a guided pair."""

    def __call__(self, x: Tensor, level: Level, /) -> Estimate:
        """Estimate x0 and eps at x, (B, *D), of a level that is not clean, () or (B,)."""
        ...


def from_x0(x0: Tensor, x: Tensor, level: Level) -> Estimate:
    """Complete an estimate of x0 by the eps that x = alpha·x0 + sigma·eps implies (sigma > 0)."""
    return Estimate(x0, (x - spread(level.alpha, x) * x0) / spread(level.sigma, x))
