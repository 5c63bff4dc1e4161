"""The first-order step that serves every family, and DDIM with fresh noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.solvers.base import State


@dataclass(frozen=True)
class DDIM:
    """DDIM (arXiv:2010.02502, eq. 12 and 16): x_s = alpha_s·x0 + sigma_s·eps.

    Without fresh noise (eta = 0) it is the same step as Euler on EDM's ODE, as the Euler of
    rectified flow and as DPM-Solver-1. With eta = 1 it is DDPM's ancestral step with the smaller
    variance.

    Args:
        eta: Fresh noise as a share of the bridge's lower standard deviation, 0 to 1.
    """

    eta: float = 0.0
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
        if self.eta == 0:
            return s.mix(estimate.x0, estimate.eps), None
        # Fresh noise of eta times the bridge's lower deviation; the rest stays along eps.
        share = -torch.expm1(t.log_snr - s.log_snr)
        fresh = self.eta * s.sigma * share.sqrt()
        kept = (s.sigma**2 - fresh**2).clamp(min=0).sqrt()
        y = Level(s.alpha, kept).mix(estimate.x0, estimate.eps)
        return y + spread(fresh, x) * randn(x), None
