"""Multistep solvers: one question a step, and a polynomial through the last few answers.

All are Adams-Bashforth methods with exact weights (``weights``). They differ in the frame, which
says what is taken for a polynomial, and in the clock on which it is one:

    frame    clock: its own              log-SNR                        a process's time
    RHO      LMS (rho-AB), iPNDM         DEIS (log-rho AB), DPM-Solver  DEIS (tAB)
    DATA                                 DPM-Solver++, UniPC
    FLOW     FlowAB                      FlowAB
    ANGLE                                AngleAB

A walk starts with what it has: first order at the first step, second at the second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Level
from ornstein.errors import UsageError
from ornstein.solvers.base import State
from ornstein.solvers.frame import ANGLE, DATA, FLOW, LOG_SNR, RHO, Clock, Frame
from ornstein.solvers.weights import ADAMS, EXACT, MIDPOINT, Answer, Framed, Rule, bend


@dataclass(frozen=True)
class Multistep(Framed):
    """A polynomial through ``points`` answers, integrated over the step.

    A step from or to a level that has no place on the clock is of first order.

    Args:
        frame: What the flow is written in.
        clock: In what the slope is a polynomial; None for the frame's own.
        points: How many answers it goes through.
        rule: How the weights are found.
    """

    points: int = 2
    rule: Rule = EXACT
    evaluations: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.points < 1:
            raise UsageError(f"a multistep solver needs 1 answer or more, got {self.points}.")

    @property
    def order(self) -> int:
        """As many as answers, where the rule keeps it."""
        return min(self.points, self.rule.order)

    def init(self) -> State:
        """No earlier answers."""
        return ()

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        estimate = denoise(x, t)
        now, point = self.answer(estimate, t), self.frame.point(estimate, t, s, randn)
        y = bend(point, self.rule, self.span(t, s), now, state[: self.points - 1])
        return y, self.kept(now, state)

    def kept(self, now: Answer, earlier: tuple[Answer, ...]) -> tuple[Answer, ...]:
        """Return the answers to keep; one that has no place on the clock is not."""
        known = bool(torch.isfinite(now.place).all())
        return (now, *earlier)[: self.points - 1] if known else ()


@dataclass(frozen=True)
class DPMpp2M(Multistep):
    """DPM-Solver++ 2M (arXiv:2211.01095, algorithm 2): a line through two estimates of x0."""

    frame: Frame = DATA
    clock: Clock | None = LOG_SNR
    points: int = 2
    rule: Rule = MIDPOINT


@dataclass(frozen=True)
class DPMpp3M(DPMpp2M):
    """DPM-Solver++ 3M: a parabola through three estimates of x0.

    The published method, which all known codes ship, takes half of h²·x0''/2 for the whole of it
    and is of second order (``rule=PUBLISHED``); here the bend has its full weight.
    """

    points: int = 3


@dataclass(frozen=True)
class DPMSolver(Multistep):
    """DPM-Solver (arXiv:2206.00927) as a multistep method: a polynomial of eps in the log-SNR."""

    frame: Frame = RHO
    clock: Clock | None = LOG_SNR
    points: int = 2
    rule: Rule = MIDPOINT


@dataclass(frozen=True)
class DEIS(Multistep):
    """DEIS (arXiv:2204.13902): a polynomial of eps, in log rho or in the time of a process.

    With the clock as it is, log-rho AB: the exponential Adams-Bashforth method for eps. With
    ``clock=clock_of(process)``, tAB.
    """

    frame: Frame = RHO
    clock: Clock | None = LOG_SNR
    points: int = 3


@dataclass(frozen=True)
class DataAB(Multistep):
    """The exponential Adams-Bashforth method for x0: DPM-Solver++ 3M with no shortcut."""

    frame: Frame = DATA
    clock: Clock | None = LOG_SNR
    points: int = 3


@dataclass(frozen=True)
class AngleAB(Multistep):
    """The exponential Adams-Bashforth method for v, of Rosenbrock's type.

    The linear part is that of data of unit variance, as in DPM-Solver-v3 (arXiv:2310.13268)
    without its statistics.
    """

    frame: Frame = ANGLE
    clock: Clock | None = LOG_SNR
    points: int = 3


@dataclass(frozen=True)
class FlowAB(Multistep):
    """Adams-Bashforth on rectified flow's ODE: a polynomial of eps - x0 in its time.

    Both ends lie on its clock, so the last step to clean data keeps its order.
    """

    frame: Frame = FLOW
    points: int = 3


@dataclass(frozen=True)
class LMS(Multistep):
    """The linear multistep method of k-diffusion, rho-AB of DEIS: a polynomial of eps in rho.

    The last step to clean data keeps its order.
    """

    frame: Frame = RHO
    points: int = 4


@dataclass(frozen=True)
class IPNDM(Multistep):
    """iPNDM (arXiv:2204.13902, section 3; of PNDM, arXiv:2202.09778): fixed weights on eps.

    Of fourth order where rho falls evenly, of second elsewhere.
    """

    frame: Frame = RHO
    clock: Clock | None = FLOW.clock  # of no weight here, but it has pure noise
    points: int = 4
    rule: Rule = ADAMS


@dataclass(frozen=True)
class Tapered:
    """A multistep solver that ends a walk at lower order: the last step of first, and so on.

    What other codes call "lower order final", for few steps. A step to clean data is of first
    order anyway with the clocks that lack a place for it.

    Args:
        solver: Whose points are lowered.
        steps: Of the whole walk.
    """

    solver: Multistep
    steps: int
    evaluations: ClassVar[int] = 1

    @property
    def order(self) -> int:
        """At most 2: the one step of first order errs by h²."""
        return min(self.solver.order, 2)

    def init(self) -> State:
        """Steps made, and the solver's memory."""
        return 0, self.solver.init()

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        made, memory = state
        points = max(1, min(self.solver.points, self.steps - made))
        x, memory = replace(self.solver, points=points).step(denoise, x, t, s, memory, randn)
        return x, (made + 1, memory)
