"""Forward processes: they name noise levels by a time t in [0, 1], 0 being data.

Everything follows from alpha(t) and sigma(t) (arXiv:2107.00630, section 3; arXiv:2206.00927,
eq. 2.2-2.3): drift f = d log alpha/dt, diffusion g² = d sigma²/dt - 2·f·sigma² of dx = f·x·dt + g·dw.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core.level import Level, as_clock
from ornstein.errors import LevelError


class Process(ABC):
    """A family of levels indexed by time, whose log-SNR falls strictly as t grows."""

    @abstractmethod
    def __call__(self, t: Tensor | float) -> Level:
        """Return the level at time t in [0, 1], of the shape of t."""

    @abstractmethod
    def time(self, log_snr: Tensor | float) -> Tensor:
        """Return the time at which the level has this log-SNR: the inverse of the schedule."""

    @property
    def span(self) -> tuple[float, float]:
        """Least and greatest finite log-SNR that training covers and that geometric grids run over."""
        return float(self(1.0).log_snr), float(self(1e-3).log_snr)

    def level(self, log_snr: Tensor | float) -> Level:
        """Return the level of this process with the given log-SNR."""
        return self(self.time(log_snr))

    def _slopes(self, t: Tensor | float) -> tuple[Level, Tensor, Tensor]:
        t = as_clock(t).detach().requires_grad_()
        with torch.enable_grad():
            level = self(t)
            # 0·t keeps a constant scale in the graph, so that its slope is 0 rather than an error.
            (alpha_dot,) = torch.autograd.grad((level.alpha + 0 * t).sum(), t, retain_graph=True)
            (sigma_dot,) = torch.autograd.grad((level.sigma + 0 * t).sum(), t)
        return Level(level.alpha.detach(), level.sigma.detach()), alpha_dot, sigma_dot

    def drift(self, t: Tensor | float) -> Tensor:
        """f(t) in dx = f·x·dt + g·dw."""
        level, alpha_dot, _ = self._slopes(t)
        return alpha_dot / level.alpha

    def diffusion2(self, t: Tensor | float) -> Tensor:
        """g(t)² in dx = f·x·dt + g·dw."""
        level, alpha_dot, sigma_dot = self._slopes(t)
        return 2 * level.sigma * (sigma_dot - alpha_dot / level.alpha * level.sigma)


@dataclass(frozen=True)
class VP(Process):
    """Variance-preserving SDE with beta(t) linear (arXiv:2011.13456, eq. 11 and 33)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise LevelError(
                f"VP needs 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max}."
            )

    def _integral(self, t: Tensor) -> Tensor:
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t * t

    def __call__(self, t: Tensor | float) -> Level:
        total = self._integral(as_clock(t))
        return Level((-0.5 * total).exp(), (-torch.expm1(-total)).sqrt())

    def time(self, log_snr: Tensor | float) -> Tensor:
        # alpha²/sigma² = 1/(e^total - 1), so total = softplus(-log_snr); then a quadratic in t,
        # solved in the form that keeps its digits for small totals.
        return self._time_of(torch.nn.functional.softplus(-as_clock(log_snr)))

    def _time_of(self, total: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return 2 * total / ((self.beta_min**2 + 2 * slope * total).sqrt() + self.beta_min)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance-preserving SDE (arXiv:2011.13456, eq. 12 and 29): the alpha of VP, sigma = 1 - alpha²."""

    def __call__(self, t: Tensor | float) -> Level:
        total = self._integral(as_clock(t))
        return Level((-0.5 * total).exp(), -torch.expm1(-total))

    def time(self, log_snr: Tensor | float) -> Tensor:
        # sigma/alpha = 2·sinh(total/2).
        return self._time_of(2 * torch.asinh((-0.5 * as_clock(log_snr)).exp() / 2))


@dataclass(frozen=True)
class VE(Process):
    """Variance-exploding SDE (arXiv:2011.13456, eq. 9 and 30): sigma grows geometrically, alpha = 1.

    At t = 0 a noise of sigma_min is left, as in the paper's code; the transition kernel from there
    has variance sigma(t)² - sigma_min².
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise LevelError(
                f"VE needs 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}."
            )

    def __call__(self, t: Tensor | float) -> Level:
        t = as_clock(t)
        growth = math.log(self.sigma_max / self.sigma_min)
        return Level(torch.ones_like(t), self.sigma_min * (growth * t).exp())

    def time(self, log_snr: Tensor | float) -> Tensor:
        growth = math.log(self.sigma_max / self.sigma_min)
        return (-0.5 * as_clock(log_snr) - math.log(self.sigma_min)) / growth

    @property
    def span(self) -> tuple[float, float]:
        return -2 * math.log(self.sigma_max), -2 * math.log(self.sigma_min)


@dataclass(frozen=True)
class EDM(Process):
    """EDM's process (arXiv:2206.00364): alpha = 1 and sigma proportional to time."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise LevelError(
                f"EDM needs 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}."
            )

    def __call__(self, t: Tensor | float) -> Level:
        t = as_clock(t)
        return Level(torch.ones_like(t), self.sigma_max * t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        return (-0.5 * as_clock(log_snr)).exp() / self.sigma_max

    @property
    def span(self) -> tuple[float, float]:
        return -2 * math.log(self.sigma_max), -2 * math.log(self.sigma_min)


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow (arXiv:2210.02747, arXiv:2209.03003): alpha = 1 - t, sigma = t; t = 1 is pure noise."""

    def __call__(self, t: Tensor | float) -> Level:
        t = as_clock(t)
        return Level(1 - t, t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        return torch.sigmoid(-0.5 * as_clock(log_snr))

    @property
    def span(self) -> tuple[float, float]:
        return -2 * math.log(999.0), 2 * math.log(999.0)


class DDPM(Process):
    """The discrete chain x_k = sqrt(1 - beta_k)·x_{k-1} + sqrt(beta_k)·z of a table of betas, k = 1..T.

    (arXiv:2006.11239, eq. 2 and 4.) Time k/T is the chain's level k. Between two levels the
    log of alpha² is linear in time: the VP SDE whose beta(t) is constant there, and of which the
    chain is the exact discretisation.

    Args:
        betas: Variances of the steps, (T,), each in (0, 1).

    Raises:
        LevelError: a beta outside (0, 1); the step is named.
    """

    def __init__(self, betas: Tensor) -> None:
        betas = as_clock(betas)
        if betas.ndim != 1 or len(betas) == 0:
            raise LevelError(
                f"a table of betas is one row of numbers, got shape {tuple(betas.shape)}."
            )
        bad = (~((betas > 0) & (betas < 1))).nonzero()
        if len(bad):
            k = int(bad[0])
            raise LevelError(
                f"beta must lie between 0 and 1 (both excluded), but step {k + 1} of {len(betas)} has "
                f"{betas[k]:.6g}. Linear betas need more than 20 steps; lower the largest beta."
            )
        self.betas = betas
        self._log_alpha2 = torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> DDPM:
        """Linear betas of DDPM (section 4), rescaled by 1000/steps so that the end stays noise."""
        scale = 1000 / steps
        return cls(torch.linspace(first * scale, last * scale, steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, cap: float = 0.999) -> DDPM:
        """Betas of the cosine schedule (arXiv:2102.09672, eq. 17), capped at ``cap``."""
        k = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha2 = ((k + offset) / (1 + offset) * math.pi / 2).cos() ** 2
        return cls((1 - alpha2[1:] / alpha2[:-1]).clamp(max=cap))

    @property
    def steps(self) -> int:
        """Number of steps T of the chain."""
        return len(self.betas)

    @property
    def levels(self) -> Level:
        """All T + 1 levels, from noise (k = T) to data (k = 0): the grid of full ancestral sampling."""
        return self(torch.arange(self.steps, -1, -1, dtype=torch.float64) / self.steps)

    def __call__(self, t: Tensor | float) -> Level:
        place = (as_clock(t) * self.steps).clamp(0, self.steps)
        k = place.detach().floor().clamp(max=self.steps - 1).long()
        log_alpha2 = torch.lerp(self._log_alpha2[k], self._log_alpha2[k + 1], place - k)
        return Level((0.5 * log_alpha2).exp(), (-torch.expm1(log_alpha2)).sqrt())

    def time(self, log_snr: Tensor | float) -> Tensor:
        fall = torch.nn.functional.softplus(-as_clock(log_snr))  # -log alpha², rising with time
        table = -self._log_alpha2
        k = torch.searchsorted(table, fall.contiguous()).clamp(1, self.steps)
        inside = (fall - table[k - 1]) / (table[k] - table[k - 1])
        return ((k - 1 + inside) / self.steps).clamp(0, 1)

    @property
    def span(self) -> tuple[float, float]:
        ends = self(torch.tensor([1.0, 1 / self.steps], dtype=torch.float64)).log_snr
        return float(ends[0]), float(ends[1])


PROCESSES: dict[str, Callable[[], Process]] = {
    "linear": DDPM.linear,
    "cosine": DDPM.cosine,
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "flow": Flow,
}
