"""What a network predicts: every target is F = a·x0 + b·eps with (a, b) a function of the level.

Together with x = alpha·x0 + sigma·eps that is a 2x2 system, so one solve replaces a converter for
each pair of targets. Sources: eps arXiv:2006.11239; v arXiv:2202.00512; flow velocity
arXiv:2210.02747; EDM arXiv:2206.00364, eq. 7.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core.denoiser import Estimate
from ornstein.core.level import Level, spread
from ornstein.errors import TargetError


class Target(ABC):
    """A prediction target F = a·x0 + b·eps."""

    @abstractmethod
    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """Return (a, b) at a level, each of the level's shape."""

    def of(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        """Return what a perfect network would output, (B, *D)."""
        a, b = self.coefficients(level)
        return spread(a, x0) * x0 + spread(b, x0) * eps

    def estimate(self, output: Tensor, x: Tensor, level: Level) -> Estimate:
        """Turn a network output F at the noisy point x into x0 and eps, all (B, *D)."""
        a, b = self.coefficients(level)
        d = level.alpha * b - level.sigma * a
        x0 = spread(b / d, x) * x - spread(level.sigma / d, x) * output
        eps = spread(level.alpha / d, x) * output - spread(a / d, x) * x
        return Estimate(x0, eps)

    def gain2(self, level: Level) -> Tensor:
        """(dF/dx0)² at fixed x.

        A weight on the x0-error divided by this is the weight on the F-error.
        """
        a, b = self.coefficients(level)
        return ((a * level.sigma - b * level.alpha) / level.sigma) ** 2

    def check(self, level: Level, name: str = "this process") -> None:
        """Refuse levels where F does not give x0 and eps (eps-prediction at alpha = 0, for one).

        Raises:
            TargetError: the determinant vanishes at one of the levels.
        """
        a, b = self.coefficients(level)
        d = level.alpha * b - level.sigma * a
        if bool(((d == 0) | ~torch.isfinite(d)).any()):
            noise = bool((level.alpha == 0).any())
            raise TargetError(
                f"{type(self).__name__} prediction says nothing about "
                f"{'x0 at pure noise' if noise else 'eps at clean data'}, which {name} reaches. "
                "Use V, Velocity or EDMTarget, or a process that keeps a little "
                f"{'signal' if noise else 'noise'}."
            )


@dataclass(frozen=True)
class X0(Target):
    """The clean data."""

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(1, 0)."""
        return torch.ones_like(level.alpha), torch.zeros_like(level.alpha)


@dataclass(frozen=True)
class Eps(Target):
    """The noise."""

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, 1)."""
        return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class Score(Target):
    """Gradient of the log density of x: -eps/sigma in the mean."""

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, -1/sigma)."""
        return torch.zeros_like(level.alpha), -1 / level.sigma


@dataclass(frozen=True)
class V(Target):
    """alpha·eps - sigma·x0 on the variance-preserving scale."""

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(-sigma, alpha)/norm."""
        return -level.sigma / level.norm, level.alpha / level.norm


@dataclass(frozen=True)
class Velocity(Target):
    """The rectified flow's velocity eps - x0."""

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(-1, 1)."""
        return -torch.ones_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class EDMTarget(Target):
    """EDM's preconditioned output: unit variance at every level.

    Args:
        data_std: Standard deviation of the data.
    """

    data_std: float = 1.0

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(sigma/(data_std·r), -alpha·data_std/r), with r the standard deviation of x."""
        r = torch.hypot(level.alpha * self.data_std, level.sigma)
        return level.sigma / (self.data_std * r), -level.alpha * self.data_std / r


TARGETS: dict[str, Callable[[], Target]] = {
    "x0": X0,
    "eps": Eps,
    "score": Score,
    "v": V,
    "velocity": Velocity,
    "edm": EDMTarget,
}
