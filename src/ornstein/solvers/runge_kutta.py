"""Single-step solvers of higher order: they ask the denoiser more than once per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.solvers.base import State
from ornstein.solvers.frame import RHO, Frame


@dataclass(frozen=True)
class Heun:
    """Heun's method (arXiv:2206.00364, algorithm 1): the mean of the slopes at both ends.

    A step to clean data, or from pure noise in a frame that has no place for it, is one of Euler
    and asks once.

    Args:
        frame: The variable in which the trapezium is taken.
    """

    frame: Frame = RHO
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def init(self) -> State:
        """No memory."""
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        first = denoise(x, t)
        y = s.mix(first.x0, first.eps)
        if not self.frame.holds(t, s):
            return y, None
        turn = self.frame.slope(denoise(y, s)) - self.frame.slope(first)
        return y + spread(0.5 * self.frame.stride(t, s), x) * turn, None
