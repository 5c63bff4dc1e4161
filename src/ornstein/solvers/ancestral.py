"""DDPM's ancestral step: a draw from the reverse chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from ornstein.core import Bridge, Denoiser, Draw, Estimate, Level, bridge, spread
from ornstein.errors import UsageError, near
from ornstein.solvers.base import State

Variance = Literal["small", "large", "learned"]


@dataclass(frozen=True)
class Ancestral:
    """Ancestral sampling of DDPM (arXiv:2006.11239, algorithm 2), between any two levels.

    x_s is drawn from the bridge at the estimated x0; the last step, to clean data, draws no noise.

    Args:
        variance: "small" is beta-tilde, right for a known x0; "large" is beta, right for data of
            unit variance and far too much at few steps; "learned" lies between the two in log
            (arXiv:2102.09672, eq. 15), where the denoiser's ``Estimate.spread`` says.
    """

    variance: Variance = "small"
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1

    def __post_init__(self) -> None:
        allowed = get_args(Variance)
        if self.variance not in allowed:
            raise UsageError(
                f"the variance of an ancestral step is one of {', '.join(allowed)}, "
                f"got '{self.variance}'.{near(str(self.variance), allowed)}"
            )

    def init(self) -> State:
        """No memory."""
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Draw x_s given x at level t.

        Raises:
            UsageError: the variance is "learned" and the denoiser's estimate has none.
        """
        estimate = denoise(x, t)
        law = bridge(x, estimate.x0, t, s)
        variance = self._variance(law, estimate, x)
        if bool((s.sigma == 0).all()):
            return law.mean, None
        return law.mean + variance.sqrt() * randn(x), None

    def _variance(self, law: Bridge, estimate: Estimate, x: Tensor) -> Tensor:
        if self.variance == "small":
            return spread(law.lower, x)
        if self.variance == "large":
            return spread(law.upper, x)
        if estimate.spread is None:
            raise UsageError(
                "this model has learned no variance, which 'learned' asks for. "
                "Use variance='small' or 'large', or train with a learned variance."
            )
        return law.between(estimate.spread)
