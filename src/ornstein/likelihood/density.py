"""Log density of any denoiser's law, by the change of variables along the probability flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import Denoiser, Level, spread
from ornstein.errors import LevelError, UsageError
from ornstein.likelihood.divergence import Probes, chosen, divergence
from ornstein.solvers.adaptive import Parts, Slope, integrate

TOLERANCE = 1e-5
LOOSER = 10.0  # times the tolerance, in the second integration that shows the solver's error

Watch = Callable[[float], None]
"""Called with the share of the way that is done, 0 to 1."""


class LogDensity(NamedTuple):
    """Log densities, and how far each may be off.

    Attributes:
        value: Log density of each point in nats, (B,) float64.
        probe_error: Standard error by the probes of the trace, (B,): 0 with the exact trace, nan
            with a single probe, which cannot tell.
        solver_error: How far an integration with ten times the tolerance is away, (B,), which is
            more than the error; nan where it was not asked for.
        evaluations: Calls of the denoiser for each point, (B,) int64, those of the check included.
    """

    value: Tensor
    probe_error: Tensor
    solver_error: Tensor
    evaluations: Tensor


def log_density(
    denoise: Denoiser,
    x: Tensor,
    data: Level,
    noise: Level,
    *,
    prior_std: float | None = None,
    probes: Probes | None = None,
    tolerance: float = TOLERANCE,
    check: bool = True,
    watch: Watch | None = None,
) -> LogDensity:
    """Log density at x of the law that the probability flow carries from noise to level ``data``.

    In y = x/alpha against rho = sigma/alpha the flow is dy/drho = eps, so along it
    d log p/drho = -div eps (arXiv:2011.13456, eq. 39); no time is needed. Integrated is the same
    flow in z = y/r, r² = 1 + rho², which keeps its size, against log rho: there
    dz = alpha·sigma·v with v = alpha·eps - sigma·x0 and alpha² + sigma² = 1, and for standard
    normal data nothing moves and the divergence is 0.

    It is the density of what a sampler gives that starts from N(0, prior_std²) at level ``noise``
    and stops at level ``data``: of data with that little noise, p at sigma_min and not p_0.

    Args:
        denoise: Answers (x, level) with an Estimate, differentiably.
        x: Points at level ``data``, (B, *D), on its scale. Their dtype is that of the walk.
        data: The level to stop at, (), with some noise left.
        noise: The level to start from, (), noisier, with some signal left.
        prior_std: Standard deviation of the start; default its sigma, as sampling starts.
        probes: How the trace is taken; default exactly up to 64 dimensions.
        tolerance: Of each step, relative and absolute, on z and on the log density.
        check: Integrate a second time to see the solver's error.
        watch: Told how far the integration is.

    Raises:
        LevelError: the levels are not in order, or one is an end without a place on the clock.
        UsageError: no gradient comes through the denoiser.
        DivergedError: the flow is not smooth enough to follow.
    """
    if not 0 < float(data.rho) < float(noise.rho) < math.inf:
        raise LevelError(
            "a density is carried from a level with some signal to a cleaner one with some noise, "
            f"got rho={float(noise.rho):.4g} and {float(data.rho):.4g}. Stop at a small sigma "
            "above 0: what is computed is the density of data with that little noise."
        )
    probes = probes or chosen(x[0].numel(), None)
    directions = list(probes.directions(x))
    slope = _slope(denoise, directions, probes.exact)
    if watch is not None:
        slope = _watched(slope, watch, data, noise)
    start = x * spread(1 / data.norm, x)
    grown = x.new_zeros(len(x), 1 if probes.exact else len(directions), dtype=torch.float64)
    prior = (float(noise.sigma) if prior_std is None else prior_std) / float(noise.norm)

    def carried(tolerance: float) -> tuple[Tensor, Tensor]:
        clock = data.rho.log(), noise.rho.log()
        end = integrate(slope, (start, grown), *clock, rtol=tolerance, atol=tolerance)
        z, grown_ = end.parts
        scale = start[0].numel() * float(data.norm.log())
        return _log_normal(z, prior)[:, None] + grown_ - scale, end.evaluations

    value, evaluations = carried(tolerance)
    mean, gap = value.mean(1), value.new_full((len(x),), math.nan)
    if check:
        other, more = carried(LOOSER * tolerance)
        gap, evaluations = (other.mean(1) - mean).abs(), evaluations + more
    return LogDensity(mean, _standard_error(value, probes.exact), gap, evaluations)


def _slope(denoise: Denoiser, directions: list[Tensor], exact: bool) -> Slope:
    """Derivatives of (z, log density gained) by log rho, (B, *D) and (B, 1 or probes)."""

    def slope(parts: Parts, clock: Tensor) -> Parts:
        level = Level(torch.ones_like(clock), clock.exp()).unit()

        def v(z: Tensor) -> Tensor:
            estimate = denoise(z, level)
            if not estimate.x0.requires_grad:
                raise UsageError(
                    "the denoiser's x0 lets no gradient through, which a density needs. Call it "
                    "without torch.no_grad() and without detach()."
                )
            return spread(level.alpha, z) * estimate.eps - spread(level.sigma, z) * estimate.x0

        value, products = divergence(v, parts[0], directions)
        pace = level.alpha * level.sigma
        gained = products.sum(1, keepdim=True) if exact else products
        return spread(pace, value) * value, spread(pace, gained) * gained

    return slope


def _watched(slope: Slope, watch: Watch, data: Level, noise: Level) -> Slope:
    """The same, telling how much of the way is done on average."""
    start, end = float(data.rho.log()), float(noise.rho.log())

    def told(parts: Parts, clock: Tensor) -> Parts:
        watch((float(clock.mean()) - start) / (end - start))
        return slope(parts, clock)

    return told


def _standard_error(value: Tensor, exact: bool) -> Tensor:
    """Standard error of the mean over the columns, (B,)."""
    if exact:
        return torch.zeros_like(value[:, 0])
    count = value.shape[1]
    return value.std(1) / math.sqrt(count) if count > 1 else torch.full_like(value[:, 0], math.nan)


def _log_normal(z: Tensor, std: float) -> Tensor:
    """Log density of N(0, std²) at each item, (B,) float64."""
    z = z.flatten(1).double()
    return -0.5 * ((z / std) ** 2 + math.log(2 * math.pi * std**2)).sum(1)
