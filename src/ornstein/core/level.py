"""A noise level is a value: the pair (alpha, sigma) in x = alpha·x0 + sigma·eps.

Nothing below the processes knows time, so a model trained on one schedule is sampled on another by
handing over another list of levels. Levels are kept in float64: 1 - alpha² of a first DDPM step is
off by 1.7e-4 in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.errors import LevelError


def as_clock(value: Tensor | float) -> Tensor:
    """Return ``value`` as a float64 tensor, the precision of every clock and scale."""
    return torch.as_tensor(value, dtype=torch.float64)


def per_item(values: Tensor, x: Tensor) -> Tensor:
    """Shape values, (B,), so that they broadcast over x, (B, *D), dtype and device as they are."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def spread(scale: Tensor, x: Tensor) -> Tensor:
    """Shape a scale, () or (B,), so that it multiplies x, (B, *D), in the precision of x."""
    if scale.ndim == 0:
        return scale.to(x.dtype)
    return per_item(scale.to(x), x)


@dataclass(frozen=True, eq=False)
class Level:
    """Signal and noise scale alpha, sigma: one level (), one per item (B,), or a grid (n + 1,).

    The ends are legal: alpha = 0 is pure noise, sigma = 0 is clean data.
    """

    alpha: Tensor
    sigma: Tensor

    def __post_init__(self) -> None:
        alpha, sigma = as_clock(self.alpha), as_clock(self.sigma)
        alpha, sigma = torch.broadcast_tensors(alpha, sigma)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "sigma", sigma)

    @classmethod
    def from_log_snr(cls, log_snr: Tensor) -> Level:
        """Return the level of a log-SNR, shaped like it, on the variance-preserving scale."""
        return cls(torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt())

    @property
    def log_snr(self) -> Tensor:
        """Log of alpha²/sigma², +inf when clean, -inf for pure noise; 2·lambda of DPM-Solver."""
        return 2 * (self.alpha.log() - self.sigma.log())

    @property
    def rho(self) -> Tensor:
        """Noise relative to signal, sigma/alpha: what EDM and k-diffusion call sigma."""
        return self.sigma / self.alpha

    @property
    def norm(self) -> Tensor:
        """sqrt(alpha² + sigma²): the standard deviation of x for data of unit variance."""
        return torch.hypot(self.alpha, self.sigma)

    def mix(self, x0: Tensor, eps: Tensor) -> Tensor:
        """Return the noisy point alpha·x0 + sigma·eps, (B, *D)."""
        return spread(self.alpha, x0) * x0 + spread(self.sigma, x0) * eps

    def unit(self) -> Level:
        """Return the same ratio on the variance-preserving scale, alpha² + sigma² = 1."""
        return Level(self.alpha / self.norm, self.sigma / self.norm)

    def to(self, device: torch.device | str) -> Level:
        """Return the level with its scales on ``device``."""
        return Level(self.alpha.to(device), self.sigma.to(device))

    def __getitem__(self, index: int | slice | Tensor) -> Level:
        return Level(self.alpha[index], self.sigma[index])

    def __len__(self) -> int:
        return len(self.alpha)

    def __repr__(self) -> str:
        if self.alpha.ndim == 0:
            return f"Level(alpha={self.alpha:.6g}, sigma={self.sigma:.6g})"
        return f"Level(alpha={self.alpha.tolist()}, sigma={self.sigma.tolist()})"


def check_descent(levels: Level) -> None:
    """Refuse a grid that does not lead from noise to data.

    Raises:
        LevelError: fewer than two levels, or a step that does not grow cleaner; the step is named.
    """
    if levels.alpha.ndim != 1 or len(levels) < 2:
        shape = tuple(levels.alpha.shape)
        raise LevelError(f"a grid needs at least two levels in one row, got shape {shape}.")
    snr = levels.log_snr
    bad = (~(snr[1:] > snr[:-1])).nonzero()
    if len(bad):
        i = int(bad[0])
        rho = levels.rho
        raise LevelError(
            f"levels must grow cleaner: step {i} goes from rho={rho[i]:.4g} to {rho[i + 1]:.4g}. "
            "Sort the grid from most noise to least, each level once."
        )
