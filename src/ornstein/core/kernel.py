"""The Gaussian kernels between two levels of one item: forward transition and bridge."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core.level import Level, spread
from ornstein.errors import LevelError


class Transition(NamedTuple):
    """x_t given x_s for s cleaner than t: N(scale·x_s, variance), each of the level's shape."""

    scale: Tensor
    variance: Tensor


class Bridge(NamedTuple):
    """Law of x_s given x_t and x0: mean (B, *D), and numbers like the level.

    ``lower`` is the variance for a known x0 (beta-tilde of DDPM), ``upper`` the one that is right
    for data of unit variance (its beta), ``pull`` the factor of x0 in the mean.
    """

    mean: Tensor
    lower: Tensor
    upper: Tensor
    pull: Tensor

    def between(self, share: Tensor) -> Tensor:
        """Variance at ``share``, (B, *D) in [0, 1], of the way from lower to upper in the log.

        (arXiv:2102.09672, eq. 15.) At a clean s, where lower is 0, so is this for any share < 1.
        """
        low, high = spread(self.lower, share), spread(self.upper, share)
        return low ** (1 - share) * high**share

    def around(self, variance: Tensor) -> Tensor:
        """Variance of x_s given x_t when x0 is known up to ``variance``, (B, *D).

        By the law of total variance; optimal for the bound (arXiv:2201.06503, theorem 1).
        """
        return spread(self.lower, variance) + spread(self.pull**2, variance) * variance


def transition(s: Level, t: Level) -> Transition:
    """Forward kernel from level s to the noisier level t (arXiv:2107.00630, appendix A)."""
    _check_cleaner(t, s)
    scale = t.alpha / s.alpha
    # sigma_t² - scale²·sigma_s², without the cancellation: scale²·sigma_s²/sigma_t² is the ratio
    # of the two SNRs.
    return Transition(scale, -(t.sigma**2) * torch.expm1(t.log_snr - s.log_snr))


def bridge(x: Tensor, x0: Tensor, t: Level, s: Level) -> Bridge:
    """Law of x_s given x_t = x and x0, for s cleaner than t.

    The q(x_{t-1} | x_t, x_0) of DDPM (arXiv:2006.11239, eq. 6-7) for any two levels, so that a
    shorter chain needs no table of its own.

    Args:
        x: Noisy point at level t, (B, *D).
        x0: Clean point, (B, *D).
        t: Level of x, () or (B,).
        s: Level to go to, cleaner than t.

    Returns:
        Mean (B, *D); the lower and upper variances and the factor of x0, shaped like the level.
        The lower variance is 0 at a clean s. The upper one is DDPM's beta on the
        variance-preserving scale, carried over to the scale of s.

    Raises:
        LevelError: s is not cleaner than t.
    """
    scale, variance = transition(s, t)
    share = variance / t.sigma**2  # 1 - SNR_t/SNR_s
    pull = s.alpha * share
    mean = spread(scale * s.sigma**2 / t.sigma**2, x) * x + spread(pull, x) * x0
    return Bridge(mean, share * s.sigma**2, variance * (s.norm / t.norm) ** 2, pull)


def _check_cleaner(t: Level, s: Level) -> None:
    if not bool((s.log_snr > t.log_snr).all()):
        raise LevelError(
            f"the second level must be cleaner than the first, got rho={t.rho.max():.4g} and then "
            f"{s.rho.max():.4g}. Swap the two."
        )
