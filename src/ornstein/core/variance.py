"""Variances of a reverse step: what surrounds the bridge's mean when x0 is only estimated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core.denoiser import Denoiser, Estimate
from ornstein.core.kernel import Bridge
from ornstein.core.level import Level, spread
from ornstein.errors import UsageError

Variance = Callable[[Bridge, Estimate], Tensor]
"""Variance of x_s given x_t, broadcast to (B, *D), from the bridge at the estimate."""


def small(law: Bridge, estimate: Estimate) -> Tensor:
    """Beta-tilde of DDPM: right where x0 is known (arXiv:2006.11239, section 3.2)."""
    return spread(law.lower, estimate.x0)


def large(law: Bridge, estimate: Estimate) -> Tensor:
    """Its beta: right for data of unit variance, and far too much at few steps."""
    return spread(law.upper, estimate.x0)


def learned(law: Bridge, estimate: Estimate) -> Tensor:
    """Between the two in the log, where the network says (arXiv:2102.09672, eq. 15)."""
    if estimate.interpolation is None:
        raise UsageError(
            "this model has learned no variance, which 'learned' asks for. "
            "Use variance='small' or 'large', or train with --set model.variance=learned."
        )
    return law.between(estimate.interpolation)


def analytic(law: Bridge, estimate: Estimate) -> Tensor:
    """The optimum for a known Var[x0 | x] (Analytic-DPM, arXiv:2201.06503, theorem 1)."""
    if estimate.variance is None:
        raise UsageError(
            "nobody has measured the error of this model's x0, which 'analytic' asks for. "
            "Use variance='small' or 'large', or train with --set model.variance=analytic."
        )
    return law.around(estimate.variance.to(estimate.x0))


def own(law: Bridge, estimate: Estimate) -> Tensor:
    """The best that the model has: learned, else analytic, else small."""
    return VARIANCES[resolve("own", estimate)](law, estimate)


VARIANCES: dict[str, Variance] = {
    "own": own,
    "small": small,
    "large": large,
    "learned": learned,
    "analytic": analytic,
}


def resolve(name: str, estimate: Estimate) -> str:
    """Return the name that "own" stands for with this estimate; any other is itself."""
    if name != "own":
        return name
    if estimate.interpolation is not None:
        return "learned"
    return "small" if estimate.variance is None else "analytic"


def knowing(denoise: Denoiser, variance: Callable[[Tensor, Level], Tensor]) -> Denoiser:
    """Let a denoiser also answer Var[x0 | x], which ``variance`` gives for (x, level)."""

    def answer(x: Tensor, level: Level) -> Estimate:
        return denoise(x, level)._replace(variance=variance(x, level))

    return answer


@dataclass(frozen=True)
class Uncertainty:
    """Var[x0 | x], averaged over data and dimensions, as a function of the level alone.

    What is kept is its ratio to 1/(1 + SNR), which it is for standard normal data: that ratio is
    tame, so it is interpolated in log-SNR between the entries and constant beyond them.

    Attributes:
        log_snr: Rising, (K,).
        ratio: Var[x0 | x]·(1 + SNR) there, (K,).
    """

    log_snr: tuple[float, ...]
    ratio: tuple[float, ...]

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Variance at a level, (B, *D)."""
        table, ratio = (
            torch.tensor(part, dtype=torch.float64, device=level.alpha.device)
            for part in (self.log_snr, self.ratio)
        )
        place = level.log_snr.clamp(table[0], table[-1])
        k = torch.searchsorted(table, place.contiguous()).clamp(1, len(table) - 1)
        inside = (place - table[k - 1]) / (table[k] - table[k - 1])
        share = (level.sigma / level.norm) ** 2  # 1/(1 + SNR), also where SNR is 0
        return spread(torch.lerp(ratio[k - 1], ratio[k], inside) * share, x).expand_as(x)
