"""Single-step solvers: they ask the denoiser again inside a step, and remember nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ornstein.core import Denoiser, Draw, Level
from ornstein.errors import UsageError
from ornstein.solvers.base import State
from ornstein.solvers.frame import DATA, LOG_SNR, RHO, Clock, Frame
from ornstein.solvers.weights import EXACT, MIDPOINT, Answer, Framed, Rule, bend


@dataclass(frozen=True)
class SingleStep(Framed):
    """A Runge-Kutta method in a frame: each question bends the line from the start to the next.

    A step to clean data, or from a level that has no place on the clock, is of first order and
    asks once.

    Args:
        frame: What the flow is written in.
        clock: In what the slope is a line, and the step is divided; None for the frame's own.
        inner: Where to ask again, in shares of the step on the clock; 1 is its end.
        rule: How a line is weighed.
    """

    inner: tuple[float, ...] = (0.5,)
    rule: Rule = MIDPOINT

    def __post_init__(self) -> None:
        if not self.inner or not all(0 < share <= 1 for share in self.inner):
            raise UsageError(
                "a single-step solver asks again at shares of the step above 0 and up to 1, "
                f"got {self.inner}."
            )

    @property
    def order(self) -> int:
        """As many as questions."""
        return self.evaluations

    @property
    def evaluations(self) -> int:
        """One at the start, and those inside."""
        return 1 + len(self.inner)

    def init(self) -> State:
        """No memory."""
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        first = denoise(x, t)
        whole, now = self.span(t, s), self.answer(first, t)
        last: tuple[Answer, ...] = ()
        asks = whole.finite and bool((s.sigma > 0).all())
        for share in self.inner if asks else ():
            level = s if share == 1 else whole.clock.level(now.place + share * whole.length)
            point = self.frame.point(first, t, level, randn)
            point = bend(point, self.rule, self.span(t, level), now, last)
            last = (self.answer(denoise(point, level), level),)
        return bend(self.frame.point(first, t, s, randn), self.rule, whole, now, last), None


@dataclass(frozen=True)
class Heun(SingleStep):
    """Heun's method (arXiv:2206.00364, algorithm 1): the mean of the slopes at both ends."""

    frame: Frame = RHO
    inner: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class DPM2(SingleStep):
    """DPM-Solver-2 (arXiv:2206.00927, algorithm 1), which is DPM-2 of k-diffusion.

    The whole step is made with the eps of its middle in log rho.
    """

    frame: Frame = RHO
    clock: Clock | None = LOG_SNR


@dataclass(frozen=True)
class DPM3(SingleStep):
    """DPM-Solver-3 (arXiv:2206.00927, algorithm 2): eps at one and two thirds of the step."""

    frame: Frame = RHO
    clock: Clock | None = LOG_SNR
    inner: tuple[float, ...] = (1 / 3, 2 / 3)
    rule: Rule = EXACT


@dataclass(frozen=True)
class DPMpp2S(DPM2):
    """DPM-Solver++ 2S (arXiv:2211.01095, algorithm 1): DPM-Solver-2 for x0."""

    frame: Frame = DATA


@dataclass(frozen=True)
class DPMpp3S(DPM3):
    """DPM-Solver++ 3S: DPM-Solver-3 for x0."""

    frame: Frame = DATA
