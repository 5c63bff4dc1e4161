"""Forward processes: they name noise levels by a time t in [0, 1], 0 being data.

Everything follows from alpha(t) and sigma(t) (arXiv:2107.00630, section 3; arXiv:2206.00927,
eq. 2.2-2.3): drift f = d log alpha/dt and diffusion g² = d sigma²/dt - 2·f·sigma² of the SDE
dx = f·x·dt + g·dw.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

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
        """Least and greatest finite log-SNR: what training covers and geometric grids run over."""
        return float(self(1.0).log_snr), float(self(1e-3).log_snr)

    def level(self, log_snr: Tensor | float) -> Level:
        """Return the level of this process with the given log-SNR."""
        return self(self.time(log_snr))

    def _slopes(self, t: Tensor | float) -> tuple[Level, Tensor, Tensor]:
        # Not quite 0: a square root has no slope there, while its product with sigma has a limit.
        t = as_clock(t).detach().clamp(min=1e-30).requires_grad_()
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


class Shifted(Process):
    """Another process with ``factor`` times its noise for the same signal at every time.

    That is log-SNR less 2·log(factor): the shift by resolution of simple diffusion
    (arXiv:2301.11093, section 3.1), whose factor is the side of the pictures over that of a
    reference. For rectified flow it is the shift of time t' = m·t/(1 + (m - 1)·t) of
    arXiv:2403.03206 (eq. 23), with m the factor: the root of the ratio of pixels. Levels are on
    the variance-preserving scale, since their ratio is all that a model sees.

    Args:
        process: What is shifted.
        factor: Above 1 for more noise, below 1 for less.

    Raises:
        LevelError: the factor is not above 0.
    """

    def __init__(self, process: Process, factor: float) -> None:
        if not 0 < factor < math.inf:
            raise LevelError(f"a shift multiplies the noise by a factor above 0, got {factor:g}.")
        self.process, self.factor = process, factor
        self._fall = 2 * math.log(factor)

    def __call__(self, t: Tensor | float) -> Level:
        """(alpha, factor·sigma), scaled to unit length."""
        plain = self.process(t)
        return Level(plain.alpha, self.factor * plain.sigma).unit()

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time at which the other process has 2·log(factor) more."""
        return self.process.time(as_clock(log_snr) + self._fall)

    @property
    def span(self) -> tuple[float, float]:
        """That of the other process, lower."""
        low, high = self.process.span
        return low - self._fall, high - self._fall
