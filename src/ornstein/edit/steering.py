"""Solvers that keep a walk at what is known: functions from solver to solver."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Estimate, Level, spread, transition
from ornstein.edit.posterior import Measurement
from ornstein.errors import UsageError
from ornstein.solvers.base import Solver, State, Wrapper


@dataclass(frozen=True, eq=False)
class Replaced(Wrapper):
    """Put the known coordinates, noised to the level reached, into every step.

    With one go this is plain replacement (arXiv:2011.13456, appendix I.2), which is biased: the
    unknown part is drawn as if the known one were noise that happens to fit. With more goes each
    step is noised again and repeated, which lets the two parts agree (RePaint, arXiv:2201.09865,
    algorithm 1 with jumps of one step), and costs as many times more.

    Attributes:
        solver: What walks.
        known: Clean items, (B, *D); read where ``seen`` is 1.
        seen: 1 where an item is known, 0 where it is to be made, (*D) or (B, *D).
        goes: How often each step is made.
    """

    solver: Solver
    known: Tensor
    seen: Tensor
    goes: int = 1

    def __post_init__(self) -> None:
        if self.goes < 1:
            raise UsageError(f"each step is made at least once, not {self.goes} times.")

    @property
    def order(self) -> int:
        """1, whatever the solver's: what is known enters as noise."""
        return 1

    @property
    def evaluations(self) -> int:
        """Those of the solver, for each go."""
        return self.goes * self.solver.evaluations

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s, the known part given."""
        seen = self.seen.to(device=x.device, dtype=torch.bool)
        scale, variance = transition(s, t)
        for go in range(self.goes):
            if go:
                x = spread(scale, x) * x + spread(variance.sqrt(), x) * randn(x)
            y, after = self.solver.step(denoise, x, t, s, state, randn)
            x = torch.where(seen, s.mix(self.known.to(y), randn(y)), y)
        return x, after


@dataclass(frozen=True, eq=False)
class Descended(Wrapper):
    """Follow each step by one down the gradient of the misfit (DPS, arXiv:2209.14687, alg. 1).

    x_s loses strength·grad |y - A·D(x_t)|²/|y - A·D(x_t)|, on the variance-preserving scale. A
    rule of thumb, not a posterior; works where the operator's noise is unknown.

    Attributes:
        solver: What walks.
        known: The measurement.
        strength: zeta' of the paper.
    """

    solver: Solver
    known: Measurement
    strength: float = 1.0

    @property
    def order(self) -> int:
        """1, whatever the solver's."""
        return 1

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s, and down the misfit of its estimate."""
        with torch.enable_grad():
            free = x.detach().requires_grad_()
            estimate = denoise(free, t)
            gap = self.known.y.to(x) - self.known.operator(estimate.x0)
            squared = gap.flatten(1).square().sum(1)
            (gradient,) = torch.autograd.grad(squared.sum(), free)
        given = Estimate._make(None if part is None else part.detach() for part in estimate)
        y, after = self.solver.step(
            lambda point, level: given if point is x else denoise(point, level),
            x, t, s, state, randn,
        )  # fmt: skip
        size = self.strength * t.norm * s.norm / squared.detach().sqrt().clamp(min=1e-12)
        return y - spread(size, y) * gradient, after
