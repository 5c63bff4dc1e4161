"""Frames and clocks: changes of variable in which the probability flow is a plain integral.

With z = x/scale the flow is dz/dm = slope, where m is the frame's clock and the slope a fixed
combination of x0 and eps. Most frames are straight: there constant x0 and eps have a constant
slope, and the first-order step is x_s = alpha_s·x0 + sigma_s·eps. Higher orders differ in what
they take for smooth, and on which clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core import Draw, Estimate, Level, Process, spread


@dataclass(frozen=True)
class Clock:
    """A number that tells levels apart, and the way back.

    Attributes:
        number: Of a level, shaped like it; infinite where the clock has no place for the level.
        level: A level with this number, on any scale.
    """

    number: Callable[[Level], Tensor]
    level: Callable[[Tensor], Level]

    def __call__(self, level: Level) -> Tensor:
        """Return the number of a level."""
        return self.number(level)


def straight(estimate: Estimate, t: Level, s: Level, randn: Draw) -> Tensor:
    """Return the first-order point of a straight frame: x at s for constant x0 and eps."""
    return s.mix(estimate.x0, estimate.eps)


@dataclass(frozen=True)
class Frame:
    """A change of variable z = x/scale with dz/dclock = slope along the flow.

    Attributes:
        scale: Of a level, shaped like it.
        clock: The variable of integration.
        slope: Of an estimate at a level, (B, *D).
        point: Of an estimate at t, level t, level s and the step's noise: the first-order point at
            s, (B, *D), finite at both ends.
    """

    scale: Callable[[Level], Tensor]
    clock: Clock
    slope: Callable[[Estimate, Level], Tensor]
    point: Callable[[Estimate, Level, Level, Draw], Tensor] = straight

    def stride(self, t: Level, s: Level) -> Tensor:
        """Return the factor of a constant slope in a move of x from t to s."""
        return self.scale(s) * (self.clock(s) - self.clock(t))


LOG_SNR = Clock(lambda level: level.log_snr, Level.from_log_snr)
"""The clock of the exponential solvers; both ends of a grid lie infinitely far."""


def clock_of(process: Process) -> Clock:
    """Return the time of a process as a clock, for any levels.

    Clean data have no place on it: rho may start there with an infinite slope.
    """

    def time(level: Level) -> Tensor:
        return process.time(level.log_snr).where(level.sigma > 0, torch.inf)

    return Clock(time, process)


RHO = Frame(
    lambda level: level.alpha,
    Clock(lambda level: level.rho, lambda value: Level(torch.ones_like(value), value)),
    lambda estimate, level: estimate.eps,
)
"""EDM's variable (arXiv:2206.00364, eq. 4): x/alpha against rho; pure noise has no place in it."""

DATA = Frame(
    lambda level: level.sigma,
    Clock(lambda level: 1 / level.rho, lambda value: Level(value, torch.ones_like(value))),
    lambda estimate, level: estimate.x0,
)
"""DPM-Solver++'s (arXiv:2211.01095, eq. 8): x/sigma against 1/rho; clean data have no place."""

FLOW = Frame(
    lambda level: level.alpha + level.sigma,
    Clock(
        lambda level: level.sigma / (level.alpha + level.sigma),
        lambda value: Level(1 - value, value),
    ),
    lambda estimate, level: estimate.eps - estimate.x0,
)
"""Rectified flow's variable (arXiv:2209.03003): x/(alpha + sigma); pure noise is its t = 1."""


def _v(estimate: Estimate, level: Level) -> Tensor:
    unit = level.unit()
    return Level(-unit.sigma, unit.alpha).mix(estimate.x0, estimate.eps)


def _along_v(estimate: Estimate, t: Level, s: Level, randn: Draw) -> Tensor:
    if bool((t.alpha == 0).any() | (s.sigma == 0).any()):
        return straight(estimate, t, s, randn)
    turn = spread(ANGLE.clock(s) - ANGLE.clock(t), estimate.x0)
    z = t.unit().mix(estimate.x0, estimate.eps) + turn * _v(estimate, t)
    return spread(s.norm, z) * z


ANGLE = Frame(
    lambda level: level.norm,
    Clock(
        lambda level: torch.atan2(level.sigma, level.alpha),
        lambda value: Level(value.cos(), value.sin()),
    ),
    _v,
    _along_v,
)
"""v-prediction's (arXiv:2202.00512, appendix D): x/norm against the angle of (alpha, sigma).

Not straight: the v of constant x0 and eps turns with the angle.
"""
