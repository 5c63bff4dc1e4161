"""Chains: processes given by a table of betas, step by step, as DDPM has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ornstein.core.level import Level, as_clock
from ornstein.core.process import Process
from ornstein.errors import LevelError, look_up

MOST = 1_000_000  # steps of a chain, which is a table in memory


class DDPM(Process):
    """The discrete chain x_k = sqrt(1 - beta_k)·x_{k-1} + sqrt(beta_k)·z of a table of betas.

    (arXiv:2006.11239, eq. 2 and 4.) Time k/T is the chain's level k, k = 0..T. Between two levels
    the log of alpha² is linear in time: the VP SDE whose beta(t) is constant there, and of which
    the chain is the exact discretisation.

    Args:
        betas: Variances of the steps, (T,), each in (0, 1).

    Raises:
        LevelError: a beta outside (0, 1), or too small to add noise; the step is named.
    """

    def __init__(self, betas: Tensor) -> None:
        betas = as_clock(betas)
        if betas.ndim != 1 or len(betas) == 0:
            raise LevelError(
                f"a table of betas is one row of numbers, got shape {tuple(betas.shape)}."
            )
        bad = (~((betas > 0) & (betas < 1))).nonzero()
        if len(bad):
            k = int(bad[0])
            raise LevelError(
                f"beta must lie between 0 and 1 (both excluded), but step {k + 1} of {len(betas)} "
                f"has {betas[k]:.6g}. Linear betas need more than 20 steps; lower the largest one."
            )
        self.betas = betas
        self._log_alpha2 = torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])
        flat = (self._log_alpha2.diff() == 0).nonzero()
        if len(flat):
            k = int(flat[0])
            raise LevelError(
                f"the log-SNR must fall at every step, but step {k + 1} of {len(betas)} keeps it: "
                f"its beta of {betas[k]:.3g} is below float64's precision. Raise it."
            )

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> DDPM:
        """Linear betas of DDPM (section 4), rescaled by 1000/steps so that the end stays noise."""
        _check(steps)
        scale = 1000 / steps
        return cls(torch.linspace(first * scale, last * scale, steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, cap: float = 0.999) -> DDPM:
        """Betas of the cosine schedule (arXiv:2102.09672, eq. 17), capped at ``cap``."""
        _check(steps)
        k = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha2 = ((k + offset) / (1 + offset) * math.pi / 2).cos() ** 2
        return cls((1 - alpha2[1:] / alpha2[:-1]).clamp(max=cap))

    @classmethod
    def scaled_linear(cls, steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> DDPM:
        """Betas of latent diffusion (arXiv:2112.10752): their roots are linear.

        Its last level keeps 0.5 % of the signal's variance, which a sample starts without.
        """
        _check(steps)
        scale = 1000 / steps
        roots = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64)
        return cls(scale * roots**2)

    def keep(self, steps: Sequence[int] | Tensor) -> DDPM:
        """Return the shorter chain of some of the steps 1..T, ascending.

        Levels are kept, so the betas grow: beta' = 1 - alpha2_i/alpha2_{i-1} over kept steps
        (arXiv:2102.09672, section 4).
        """
        table = self._log_alpha2
        kept = table[torch.as_tensor(steps, dtype=torch.long, device=table.device)]
        return DDPM(-torch.expm1(torch.cat([kept.new_zeros(1), kept]).diff()))

    @property
    def steps(self) -> int:
        """Number of steps T of the chain."""
        return len(self.betas)

    @property
    def levels(self) -> Level:
        """All T + 1 levels, from noise (k = T) to data (k = 0): the grid of the whole chain."""
        return self(torch.arange(self.steps, -1, -1, dtype=torch.float64) / self.steps)

    def __call__(self, t: Tensor | float) -> Level:
        """alpha² = prod(1 - beta) up to step t·T and sigma² = 1 - alpha²."""
        place = (as_clock(t) * self.steps).clamp(0, self.steps)
        k = place.detach().floor().clamp(max=self.steps - 1).long()
        table = self._log_alpha2.to(place.device)
        log_alpha2 = torch.lerp(table[k], table[k + 1], place - k)
        # 0 minus it, and not its negative: clean data have sigma 0, and not -0, whose inverse is
        # -inf.
        return Level((0.5 * log_alpha2).exp(), (0 - torch.expm1(log_alpha2)).sqrt())

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR, 0 or 1 for one beyond the ends of the table."""
        fall = -logsigmoid(as_clock(log_snr))  # -log alpha², rising with time
        table = -self._log_alpha2.to(fall.device)
        k = torch.searchsorted(table, fall.contiguous()).clamp(1, self.steps)
        inside = (fall - table[k - 1]) / (table[k] - table[k - 1])
        return ((k - 1 + inside) / self.steps).clamp(0, 1)

    @property
    def span(self) -> tuple[float, float]:
        """Log-SNRs of the last and the first step of the chain."""
        ends = self(torch.tensor([1.0, 1 / self.steps], dtype=torch.float64)).log_snr
        return float(ends[0]), float(ends[1])


def _check(steps: int) -> None:
    if steps > MOST:
        raise LevelError(f"a chain has at most {MOST:,} steps, got {steps:,}; take fewer.")


class ZeroSNR(Process):
    """A chain changed to end in pure noise (arXiv:2305.08891, algorithm 1).

    Alpha is shifted and stretched so that it is 0 at the last step and as before at the first.
    There eps and score say nothing about x0: predict v, velocity or EDM's output. To start at pure
    noise, sample on the grids "trailing", "uniform" or "subchain".

    Args:
        chain: The chain to change.

    Raises:
        LevelError: the chain has a single step.
    """

    def __init__(self, chain: DDPM) -> None:
        if chain.steps < 2:
            raise LevelError("a chain that is to end in pure noise needs at least 2 steps, got 1.")
        self.chain = chain
        alpha = chain.levels.alpha
        self._first, self._last = alpha[-2], alpha[0]

    @property
    def _gain(self) -> Tensor:
        return self._first / (self._first - self._last)

    def __call__(self, t: Tensor | float) -> Level:
        """From step 1 on, (alpha - alpha_T)·alpha_1/(alpha_1 - alpha_T) for alpha."""
        plain = self.chain(t)
        alpha = (plain.alpha - self._last) * self._gain
        before = plain.alpha >= self._first
        sigma = (1 - alpha.clamp(max=self._first) ** 2).sqrt()
        return Level(
            torch.where(before, plain.alpha, alpha), torch.where(before, plain.sigma, sigma)
        )

    def time(self, log_snr: Tensor | float) -> Tensor:
        """Time of a log-SNR, through the alpha of the plain chain."""
        log_snr = as_clock(log_snr)
        plain = self._last + torch.sigmoid(log_snr).sqrt() / self._gain
        changed = 2 * plain.log() - torch.log1p(-(plain**2))
        first = self.chain(1 / self.chain.steps).log_snr
        return self.chain.time(torch.where(log_snr >= first, log_snr, changed))

    @property
    def span(self) -> tuple[float, float]:
        """Log-SNRs of the last step but one, for the last is infinitely far, and of the first."""
        steps = self.chain.steps
        ends = self(torch.tensor([1 - 1 / steps, 1 / steps], dtype=torch.float64)).log_snr
        return float(ends[0]), float(ends[1])


CHAINS: dict[str, Callable[..., DDPM]] = {
    "linear": DDPM.linear,
    "cosine": DDPM.cosine,
    "scaled-linear": DDPM.scaled_linear,
}
"""Tables of betas by name, each made from a number of steps."""


def zero_snr(betas: str = "linear", steps: int = 1000) -> ZeroSNR:
    """Make the chain of a table of betas end in pure noise; see :class:`ZeroSNR`."""
    return ZeroSNR(look_up("table of betas", betas, CHAINS, LevelError)(steps))
