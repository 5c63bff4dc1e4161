"""Fresh noise after or before the step of any single-step solver: ancestral forms, and churn.

Noise of the right size moves a point from its level to a noisier one exactly, so both keep the
solver's order, for the law of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.solvers.base import Solver, State, Wrapper
from ornstein.solvers.first_order import DDIM, ancestral_split
from ornstein.solvers.single_step import Heun


@dataclass(frozen=True)
class Renoised(Wrapper):
    """A step beyond s, to a cleaner level, and fresh noise back: k-diffusion's "ancestral" forms.

    Of DDIM it makes Euler ancestral, which is DDIM with the same eta; of DPM-Solver++ 2S and DPM-2
    their ancestral forms.

    Args:
        solver: One that remembers nothing between steps.
        eta: Fresh noise as a share of the bridge's lower standard deviation, 0 to 1.
    """

    solver: Solver = field(default_factory=DDIM)
    eta: float = 1.0

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        below, fresh = ancestral_split(t, s, self.eta)
        y, state = self.solver.step(denoise, x, t, below, state, randn)
        return y + spread(fresh, x) * randn(x), state


@dataclass(frozen=True)
class Churn(Wrapper):
    """EDM's stochastic sampler (arXiv:2206.00364, algorithm 2): up by fresh noise, then a step.

    Args:
        solver: One that remembers nothing between steps.
        growth: The paper's gamma, by which rho grows before each step: S_churn over the number of
            steps, at most sqrt(2) - 1. None for what undoes half of each step, which suits any
            number of them; the steps from pure noise and to clean data are then left as they are.
        low: Least rho at which noise is added, the paper's S_min.
        high: Greatest rho at which it is, S_max.
        inflation: Deviation of the fresh noise, S_noise; a little above 1 makes up for denoisers
            that take away too much.
    """

    solver: Solver = field(default_factory=Heun)
    growth: float | None = None
    low: float = 0.0
    high: float = inf
    inflation: float = 1.0

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        up = Level(t.alpha, t.sigma * self._factor(t, s))
        fresh = self.inflation * (up.sigma**2 - t.sigma**2).sqrt()
        if bool((fresh > 0).any()):
            x = x + spread(fresh, x) * randn(x)
        return self.solver.step(denoise, x, up, s, state, randn)

    def _factor(self, t: Level, s: Level) -> Tensor:
        grown = (t.rho / s.rho).sqrt() if self.growth is None else 1 + self.growth + 0 * t.alpha
        inside = (t.rho >= self.low) & (t.rho <= self.high) & torch.isfinite(t.rho * grown)
        return torch.where(inside, grown, 1.0)
