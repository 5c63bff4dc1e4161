"""Frames: changes of variable in which the probability flow is a plain ODE, for Runge-Kutta steps.

With z = x/scale the flow is dz/dclock = slope, a fixed combination of x0 and eps. The Euler step
is the same in every frame, x_s = alpha_s·x0 + sigma_s·eps; higher orders differ in their error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core import Estimate, Level


@dataclass(frozen=True)
class Frame:
    """A change of variable z = x/scale with dz/dclock = slope along the flow.

    Attributes:
        scale: Of a level, shaped like it.
        clock: Of a level, shaped like it; falls towards data.
        slope: Of an estimate, (B, *D).
    """

    scale: Callable[[Level], Tensor]
    clock: Callable[[Level], Tensor]
    slope: Callable[[Estimate], Tensor]

    def stride(self, t: Level, s: Level) -> Tensor:
        """Return the factor of a slope in a move of x from t to s."""
        return self.scale(s) * (self.clock(s) - self.clock(t))

    def holds(self, t: Level, s: Level) -> bool:
        """Whether t has a place on the clock, and the denoiser may be asked at s (not clean)."""
        return bool(torch.isfinite(self.clock(t)).all() & (s.sigma > 0).all())


RHO = Frame(lambda level: level.alpha, lambda level: level.rho, lambda estimate: estimate.eps)
"""EDM's variable (arXiv:2206.00364, eq. 4): x/alpha against rho; pure noise has no place in it."""

FLOW = Frame(
    lambda level: level.alpha + level.sigma,
    lambda level: level.sigma / (level.alpha + level.sigma),
    lambda estimate: estimate.eps - estimate.x0,
)
"""Rectified flow's variable (arXiv:2209.03003): x/(alpha + sigma); pure noise is its t = 1."""
