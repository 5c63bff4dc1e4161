"""The first-order step that serves every family, and DDIM with fresh noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.solvers.base import State


def ancestral_split(t: Level, s: Level, eta: float) -> tuple[Level, Tensor]:
    """Split the move from t to s: to a level below s, and back up to it by fresh noise.

    k-diffusion's ``get_ancestral_step``, for any process: the marginal variance at s is kept.

    Args:
        t: Level to start from.
        s: Level to reach, cleaner than t.
        eta: Fresh noise as a share of the bridge's lower standard deviation, 0 to 1.

    Returns:
        The level below, on the scale of s, and the standard deviation of the noise, of its shape.
    """
    share = -torch.expm1(t.log_snr - s.log_snr)  # 1 - SNR_t/SNR_s
    fresh = eta * s.sigma * share.sqrt()
    return Level(s.alpha, (s.sigma**2 - fresh**2).clamp(min=0).sqrt()), fresh


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
        below, fresh = ancestral_split(t, s, self.eta)
        return below.mix(estimate.x0, estimate.eps) + spread(fresh, x) * randn(x), None
