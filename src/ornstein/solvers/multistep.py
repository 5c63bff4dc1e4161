"""DPM-Solver++ (arXiv:2211.01095): exponential multistep steps in the log-SNR, one question each.

With lambda = log(alpha/sigma) the flow is solved by x_s = (sigma_s/sigma_t)·x + alpha_s·I, where I
is the integral over u in (0, h) of exp(u - h)·x0(lambda_t + u). A constant x0 gives the
first-order step; earlier answers give its slope and bend, ``D1`` and ``D2``, in units of h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.solvers.base import State


class Answer(NamedTuple):
    """An earlier estimate of x0, (B, *D), and the lambda at which it was given."""

    x0: Tensor
    clock: Tensor


def _clock(level: Level) -> Tensor:
    return 0.5 * level.log_snr


def _ask(
    denoise: Denoiser, x: Tensor, t: Level, s: Level, state: tuple[Answer, ...], keep: int
) -> tuple[Tensor, Tensor, Tensor, tuple[Answer, ...], tuple[Answer, ...]]:
    """Return x0, the first-order point, h, the earlier answers to use, and the new memory.

    Pure noise and clean data lie at the ends of the clock, infinitely far: an answer given at pure
    noise is not kept, and a step from or to an end uses no earlier one.
    """
    estimate = denoise(x, t)
    clock = _clock(t)
    h = _clock(s) - clock
    usable = state if bool(torch.isfinite(h).all()) else ()
    memory = (Answer(estimate.x0, clock), *state)[:keep] if bool((t.alpha > 0).all()) else ()
    return estimate.x0, s.mix(estimate.x0, estimate.eps), h, usable, memory


def _second(x0: Tensor, h: Tensor, clock: Tensor, s: Level, last: Answer) -> Tensor:
    """Return what algorithm 2 adds to the first-order point: the slope at half the step."""
    r0 = (clock - last.clock) / h
    return spread(-s.alpha * torch.expm1(-h) / (2 * r0), x0) * (x0 - last.x0)


@dataclass(frozen=True)
class DPMpp2M:
    """DPM-Solver++ 2M (arXiv:2211.01095, algorithm 2): second order, one evaluation a step."""

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1

    def init(self) -> State:
        """No earlier answers."""
        return ()

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        x0, y, h, earlier, memory = _ask(denoise, x, t, s, state, keep=1)
        if earlier:
            y = y + _second(x0, h, _clock(t), s, earlier[0])
        return y, memory


@dataclass(frozen=True)
class DPMpp3M:
    """DPM-Solver++ 3M: third order, one evaluation a step.

    The published method, which all known codes ship, takes half of h²·x0''/2 for the whole of it
    and is of second order; here the bend has its full weight.

    Args:
        as_published: Keep the published weight, for comparison.
    """

    as_published: bool = False
    evaluations: ClassVar[int] = 1

    @property
    def order(self) -> int:
        """3, or 2 as published."""
        return 2 if self.as_published else 3

    def init(self) -> State:
        """No earlier answers."""
        return ()

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        x0, y, h, earlier, memory = _ask(denoise, x, t, s, state, keep=2)
        if len(earlier) == 1:
            return y + _second(x0, h, _clock(t), s, earlier[0]), memory
        if len(earlier) == 2:
            one, two = earlier
            r0, r1 = (_clock(t) - one.clock) / h, (one.clock - two.clock) / h
            near, far = (x0 - one.x0) / spread(r0, x), (one.x0 - two.x0) / spread(r1, x)
            D2 = (near - far) / spread(r0 + r1, x)
            D1 = near + spread(r0, x) * D2
            # The integrals of exp(u - h)·(u/h)^k over u: phi2 for k = 1, -2·phi3 for k = 2.
            phi2 = 1 + torch.expm1(-h) / h
            phi3 = phi2 / h - 0.5
            weight = 1 if self.as_published else 2
            y = y + spread(s.alpha * phi2, x) * D1 - spread(weight * s.alpha * phi3, x) * D2
        return y, memory
