"""Denoisers of p(x0 | y) for a linear measurement y of x0: functions from denoiser to denoiser.

By Bayes and Tweedie E[x0 | x, y] = D + (sigma²/alpha)·grad log p(y | x). With x0 given x taken as
a Gaussian of mean D and covariance C that is

    D + V·Aᵀ·(A·C·Aᵀ + std²)⁻¹·(y - A·D),   V = Cov[x0 | x] = (sigma²/alpha)·dD/dx,

exact for Gaussian data when C = V. The methods differ in C alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core import Denoiser, Estimate, Level, from_x0, spread
from ornstein.edit.operators import Linear, adjoint, pseudo_inverse, solve


@dataclass(frozen=True, eq=False)
class Measurement:
    """What is known: y = operator(x0) + std·n.

    Attributes:
        operator: Linear, (B, *D) to (B, *E).
        y: (B, *E).
        std: Standard deviation of the noise in y, in the units of x0.
    """

    operator: Linear
    y: Tensor
    std: float = 0.0


def projected(denoise: Denoiser, known: Measurement) -> Denoiser:
    """Put the measurement into every estimate: D + A⁺·(y - A·D) (DDNM, arXiv:2212.00490, eq. 13).

    The result agrees with y exactly, noise in y included; biased, since the part that y does not
    see is estimated without it. Costs nothing.
    """

    def answer(x: Tensor, level: Level) -> Estimate:
        said = denoise(x, level)
        gap = known.y.to(x) - known.operator(said.x0)
        found = from_x0(said.x0 + pseudo_inverse(known.operator, gap, x), x, level)
        return found._replace(interpolation=said.interpolation, variance=said.variance)

    return answer


def pseudoinverse_guided(denoise: Denoiser, known: Measurement) -> Denoiser:
    """Posterior by C = r²·1, r² = sigma²/(alpha² + sigma²) (PiGDM, Song et al. 2023, eq. 7-8).

    Exact for white data of unit variance. Costs a backward pass for each evaluation.
    """

    def covariance(level: Level, x: Tensor, _: Linear) -> Linear:
        r2 = spread((level.sigma / level.norm) ** 2, x)
        return lambda v: r2 * v

    return _posterior(denoise, known, covariance)


def moment_matched(denoise: Denoiser, known: Measurement, products: int = 2) -> Denoiser:
    """Posterior by C = V, the denoiser's own covariance (MMPS, arXiv:2405.13712, section 3).

    Exact for Gaussian data, given as many products as the measurement has dimensions. The V of a
    network is no covariance to the last digit: few products keep clear of what is wrong in it,
    and strides are bounded, without which samples of a short training run away.

    Args:
        denoise: The denoiser.
        known: The measurement.
        products: Products of the conjugate gradients, each a backward pass.
    """
    return _posterior(denoise, known, lambda level, x, V: V, products, _REACH)


POSTERIORS: dict[str, Callable[[Denoiser, Measurement], Denoiser]] = {
    "project": projected,
    "pigdm": pseudoinverse_guided,
    "mmps": moment_matched,
}

# Noise of a measurement relative to what is unknown of unit data at a level: with less of it the
# conjugate gradients would need more digits than float32 has.
_FLOOR = 1e-3

# No stride towards a measurement changes what is left of it by more than so many times. 2 and 4
# keep heart beats from running away, and take nothing from pictures enlarged four times.
_REACH = 2.0


def _posterior(
    denoise: Denoiser,
    known: Measurement,
    covariance: Callable[[Level, Tensor, Linear], Linear],
    products: int = 100,
    reach: float = math.inf,
) -> Denoiser:
    def answer(x: Tensor, level: Level) -> Estimate:
        x0, V = _moments(denoise, x, level)

        C = covariance(level, x, V)
        A, back = known.operator, adjoint(known.operator, x0)
        noise = spread(
            (known.std**2 + (_FLOOR * level.sigma / level.norm) ** 2).expand(len(x)), known.y
        )
        gap = known.y.to(x0) - A(x0)
        v = solve(lambda v: A(C(back(v))) + noise * v, gap, most=products, reach=reach)
        return from_x0(x0 + V(back(v)), x, level)

    return answer


def _moments(denoise: Denoiser, x: Tensor, level: Level) -> tuple[Tensor, Linear]:
    """Return E[x0 | x] and Cov[x0 | x] as an operator; it is symmetric, so its transpose does.

    At pure noise the covariance is taken as 0.
    """
    pulled = torch.func.vjp(lambda x: denoise(x, level).x0, x)
    x0, pull = pulled[0], pulled[1]
    # At pure noise V is the covariance of the data, as infinity times 0: x tells nothing there, so
    # that D does not depend on it. Taken as 0, it leaves y unheard for one step of all.
    scale = spread(torch.where(level.alpha > 0, level.sigma**2 / level.alpha, 0.0), x)

    def covariance(v: Tensor) -> Tensor:
        along: Tensor = pull(v)[0]
        return scale * along

    return x0, covariance
