"""The families of forward processes: chains of DDPM and continuous ones, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ornstein.core.level import Level, as_clock
from ornstein.core.process import Process
from ornstein.errors import LevelError


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
        """Alpha = exp(-total/2) and sigma² = 1 - alpha², with total the integral of beta."""
        total = self._integral(as_clock(t))
        return Level((-0.5 * total).exp(), (-torch.expm1(-total)).sqrt())

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR: alpha²/sigma² = 1/(e^total - 1), so alpha² = sigmoid(log_snr)."""
        return self._time_of(logsigmoid(as_clock(log_snr)).abs())

    def _time_of(self, total: Tensor) -> Tensor:
        # The root of a quadratic, in the form that keeps its digits for small totals.
        slope = self.beta_max - self.beta_min
        first = self.beta_min / total
        return 2 / ((first**2 + 2 * slope / total).sqrt() + first)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance-preserving SDE (arXiv:2011.13456, eq. 12 and 29): VP with less noise."""

    def __call__(self, t: Tensor | float) -> Level:
        """Alpha as in VP, sigma = 1 - alpha²."""
        total = self._integral(as_clock(t))
        return Level((-0.5 * total).exp(), -torch.expm1(-total))

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR: sigma/alpha = 2·sinh(total/2)."""
        return self._time_of(2 * torch.asinh((-0.5 * as_clock(log_snr)).exp() / 2))


@dataclass(frozen=True)
class VE(Process):
    """Variance-exploding SDE (arXiv:2011.13456, eq. 9 and 30): alpha = 1, sigma geometric in time.

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
        """Alpha = 1 and sigma = sigma_min·(sigma_max/sigma_min)^t."""
        t = as_clock(t)
        growth = math.log(self.sigma_max / self.sigma_min)
        return Level(torch.ones_like(t), self.sigma_min * (growth * t).exp())

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR: linear in it; below 0 for levels cleaner than sigma_min."""
        growth = math.log(self.sigma_max / self.sigma_min)
        return (-0.5 * as_clock(log_snr) - math.log(self.sigma_min)) / growth

    @property
    def span(self) -> tuple[float, float]:
        """Of sigma_max and sigma_min."""
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
        """Alpha = 1 and sigma = sigma_max·t."""
        t = as_clock(t)
        return Level(torch.ones_like(t), self.sigma_max * t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR: rho/sigma_max."""
        return (-0.5 * as_clock(log_snr)).exp() / self.sigma_max

    @property
    def span(self) -> tuple[float, float]:
        """Of sigma_max and sigma_min."""
        return -2 * math.log(self.sigma_max), -2 * math.log(self.sigma_min)


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow (arXiv:2210.02747, arXiv:2209.03003): straight to pure noise at t = 1."""

    def __call__(self, t: Tensor | float) -> Level:
        """Alpha = 1 - t and sigma = t."""
        t = as_clock(t)
        return Level(1 - t, t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR: (1 - t)/t = exp(log_snr/2)."""
        return torch.sigmoid(-0.5 * as_clock(log_snr))

    @property
    def span(self) -> tuple[float, float]:
        """Of t = 0.999 and t = 0.001: pure noise and clean data lie infinitely far."""
        return -2 * math.log(999.0), 2 * math.log(999.0)


class DDPM(Process):
    """The discrete chain x_k = sqrt(1 - beta_k)·x_{k-1} + sqrt(beta_k)·z of a table of betas.

    (arXiv:2006.11239, eq. 2 and 4.) Time k/T is the chain's level k, k = 0..T. Between two levels
    the log of alpha² is linear in time: the VP SDE whose beta(t) is constant there, and of which
    the chain is the exact discretisation.

    Args:
        betas: Variances of the steps, (T,), each in (0, 1).

    Raises:
        LevelError: a beta outside (0, 1), or too small to add noise; the step is named.
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
                f"beta must lie between 0 and 1 (both excluded), but step {k + 1} of {len(betas)} "
                f"has {betas[k]:.6g}. Linear betas need more than 20 steps; lower the largest one."
            )
        self.betas = betas
        self._log_alpha2 = torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])
        flat = (self._log_alpha2.diff() == 0).nonzero()
        if len(flat):
            k = int(flat[0])
            raise LevelError(
                f"the log-SNR must fall at every step, but step {k + 1} of {len(betas)} keeps it: "
                f"its beta of {betas[k]:.3g} is below float64's precision. Raise it."
            )

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
        """All T + 1 levels, from noise (k = T) to data (k = 0): the grid of the whole chain."""
        return self(torch.arange(self.steps, -1, -1, dtype=torch.float64) / self.steps)

    def __call__(self, t: Tensor | float) -> Level:
        """alpha² = prod(1 - beta) up to step t·T and sigma² = 1 - alpha²."""
        place = (as_clock(t) * self.steps).clamp(0, self.steps)
        k = place.detach().floor().clamp(max=self.steps - 1).long()
        log_alpha2 = torch.lerp(self._log_alpha2[k], self._log_alpha2[k + 1], place - k)
        return Level((0.5 * log_alpha2).exp(), (-torch.expm1(log_alpha2)).sqrt())

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR, 0 or 1 for one beyond the ends of the table."""
        fall = -logsigmoid(as_clock(log_snr))  # -log alpha², rising with time
        table = -self._log_alpha2
        k = torch.searchsorted(table, fall.contiguous()).clamp(1, self.steps)
        inside = (fall - table[k - 1]) / (table[k] - table[k - 1])
        return ((k - 1 + inside) / self.steps).clamp(0, 1)

    @property
    def span(self) -> tuple[float, float]:
        """Of the last and the first step of the chain."""
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
