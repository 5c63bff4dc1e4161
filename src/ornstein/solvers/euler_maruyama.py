"""Euler and Maruyama's step on the reverse SDE of any process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from ornstein.core import VP, Denoiser, Draw, Level, Process, bridge, spread
from ornstein.solvers.base import State


@dataclass(frozen=True)
class EulerMaruyama:
    """Euler-Maruyama on dx = (f·x - (1 + eta²)/2·g²·score) dt + eta·g dw, backwards in time.

    With eta = 1 the reverse SDE (arXiv:2011.13456, eq. 6), with eta = 0 the probability flow
    (eq. 13); every eta has the same marginals. The one solver that knows time, so the one whose
    steps depend on a process: levels are read as times of its own, and x is brought to its scale.
    From pure noise and to clean data, where the SDE has no finite step, it draws from the bridge.

    Args:
        process: Whose time, drift and diffusion; it need not be the one of the levels.
        eta: Share of the noise.
    """

    process: Process = field(default_factory=VP)
    eta: float = 1.0
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1

    def init(self) -> State:
        """No memory."""
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x from level t to level s."""
        estimate = denoise(x, t)
        if bool((s.sigma == 0).any()):
            return spread(s.alpha, x) * estimate.x0, None
        if bool((t.alpha == 0).any()):
            law = bridge(x, estimate.x0, t, s)
            return law.mean + spread(law.lower.sqrt(), x) * randn(x), None
        start, end = (self.process.time(level.log_snr) for level in (t, s))
        dt, g2 = start - end, self.process.diffusion2(start)
        here, there = self.process(start), self.process(end)
        x = spread(here.norm / t.norm, x) * x
        pull = 0.5 * (1 + self.eta**2) * g2 / here.sigma * dt  # of eps = -sigma·score
        x = spread(1 - self.process.drift(start) * dt, x) * x - spread(pull, x) * estimate.eps
        if self.eta > 0:
            x = x + spread(self.eta * (g2 * dt).sqrt(), x) * randn(x)
        return spread(s.norm / there.norm, x) * x, None
