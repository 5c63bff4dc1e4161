"""The families of continuous forward processes, and the table of all processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ornstein.core.chain import CHAINS, zero_snr
from ornstein.core.level import Level, as_clock
from ornstein.core.process import Process, Shifted
from ornstein.errors import LevelError, look_up


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
        """Log-SNRs of sigma_max and sigma_min."""
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
        """Log-SNRs of sigma_max and sigma_min."""
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
        """Log-SNRs at t = 0.999 and 0.001: pure noise and clean data lie infinitely far."""
        return -2 * math.log(999.0), 2 * math.log(999.0)


@dataclass(frozen=True)
class Trig(Process):
    """Along a quarter circle: TrigFlow (arXiv:2410.11081), cosine betas without offset and cap."""

    def __call__(self, t: Tensor | float) -> Level:
        """Alpha = cos(t·pi/2) and sigma = sin(t·pi/2)."""
        t = as_clock(t)
        return Level((0.5 * math.pi * (1 - t)).sin(), (0.5 * math.pi * t).sin())

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR: tan(t·pi/2) = rho."""
        return (-0.5 * as_clock(log_snr)).exp().atan() * (2 / math.pi)

    @property
    def span(self) -> tuple[float, float]:
        """Log-SNRs at t = 0.999 and 0.001: pure noise and clean data lie infinitely far."""
        ends = self(torch.tensor([0.999, 0.001], dtype=torch.float64)).log_snr
        return float(ends[0]), float(ends[1])


def shifted(process: str = "flow", factor: float = 3.0) -> Shifted:
    """Shift a process of this table towards noise; see :class:`Shifted`."""
    return Shifted(look_up("process", process, PROCESSES, LevelError)(), factor)


PROCESSES: dict[str, Callable[..., Process]] = {
    **CHAINS,
    "zero-snr": zero_snr,
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "flow": Flow,
    "trig": Trig,
    "shifted": shifted,
}
