"""DDPM's ancestral step: a draw from the reverse chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ornstein.core import VARIANCES, Denoiser, Draw, Level, bridge
from ornstein.errors import look_up
from ornstein.solvers.base import State


@dataclass(frozen=True)
class Ancestral:
    """Ancestral sampling of DDPM (arXiv:2006.11239, algorithm 2), between any two levels.

    x_s is drawn from the bridge at the estimated x0; the last step, to clean data, draws no noise.

    Args:
        variance: Key of ``VARIANCES``: "small" is beta-tilde, right for a known x0; "large" is
            beta, right for data of unit variance and far too much at few steps; "learned" and
            "analytic" are what the denoiser answers; "own" is the best of them that it has.
    """

    variance: str = "own"
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1

    def __post_init__(self) -> None:
        look_up("variance", self.variance, VARIANCES)

    def init(self) -> State:
        """No memory."""
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Draw x_s given x at level t.

        Raises:
            UsageError: the denoiser does not answer the variance asked for.
        """
        estimate = denoise(x, t)
        law = bridge(x, estimate.x0, t, s)
        variance = VARIANCES[self.variance](law, estimate)
        if bool((s.sigma == 0).all()):
            return law.mean, None
        return law.mean + variance.sqrt() * randn(x), None
