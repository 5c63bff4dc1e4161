"""Mixes: what is made of a pair of answers at one level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ornstein.core import Denoiser, Estimate, Level, per_item, spread
from ornstein.errors import UsageError

Pair = Callable[[Tensor, Level], tuple[Estimate, Estimate]]
"""(x, level) to two estimates, (B, *D) each: the one to go to, and the one to go away from."""

Mix = Callable[[Estimate, Estimate, Level], Estimate]
"""(to, away, level) to one estimate. What is known of variances is that of the first."""


def mixed(pair: Pair, mix: Mix) -> Denoiser:
    """The denoiser that asks for both answers and mixes them."""

    def denoise(x: Tensor, level: Level) -> Estimate:
        return mix(*pair(x, level), level)

    return denoise


def towards(scale: float) -> Mix:
    """D_away + scale·(D_to - D_away), for x0 and eps alike (arXiv:2207.12598, eq. 6).

    Args:
        scale: 1 is D_to, 0 is D_away; above 1 goes further. The paper's w is scale - 1.
    """

    def mix(to: Estimate, away: Estimate, level: Level) -> Estimate:
        return to._replace(
            x0=torch.lerp(away.x0, to.x0, scale), eps=torch.lerp(away.eps, to.eps, scale)
        )

    return mix


def across(scale: float, bound: float = float("inf")) -> Mix:
    """Only the part of the difference that is at right angles to D_to (APG, arXiv:2410.02416).

    The part along D_to mainly brightens and saturates; without it large scales stay natural. The
    paper's momentum is left out: a denoiser here remembers nothing between calls.

    Args:
        scale: As of :func:`towards`.
        bound: Of the root mean square of the difference, per dimension; the paper's r is
            bound·sqrt(dimensions).
    """

    def mix(to: Estimate, away: Estimate, level: Level) -> Estimate:
        axes = tuple(range(1, to.x0.ndim))
        gap = to.x0 - away.x0
        size = gap.square().mean(axes, keepdim=True).sqrt()
        gap = gap * (bound / size.clamp(min=1e-12)).clamp(max=1)
        square = to.x0.square().sum(axes, keepdim=True)
        along = (gap * to.x0).sum(axes, keepdim=True) / square.clamp(min=1e-12)
        return _moved(to, (scale - 1) * (gap - along * to.x0), level)

    return mix


def renoised(scale: float, levels: Level) -> Mix:
    """CFG++ (arXiv:2406.08070): the mixed x0 is noised again by the eps of D_away.

    Its DDIM step from rho_t to rho_s is that of :func:`towards` at the scale
    scale/(1 - rho_s/rho_t), so the strength depends on the grid that is walked; in this form
    every solver can walk it.

    Args:
        scale: The paper's lambda, from 0 to 1; 1 is not off.
        levels: The grid, (n + 1,), from noise to data.
    """
    # Where a level lies between two of the grid, it belongs to the step that passes it.
    rising = levels.rho.flip(0)

    def mix(to: Estimate, away: Estimate, level: Level) -> Estimate:
        own = level.rho.to(rising)
        upper = torch.searchsorted(rising, own * (1 - 1e-9)).clamp(1, len(rising) - 1)
        weight = scale / (1 - rising[upper - 1] / rising[upper])
        w = spread(weight.to(to.x0.device), to.x0)
        return to._replace(
            x0=away.x0 + w * (to.x0 - away.x0), eps=away.eps + w * (to.eps - away.eps)
        )

    return mix


def rescaled(mix: Mix, share: float) -> Mix:
    """Bring the deviation of the mixed x0 back to that of D_to (arXiv:2305.08891, section 3.4).

    Args:
        mix: What is rescaled.
        share: 0 leaves it, 1 gives each item the deviation that D_to has; the paper takes 0.7.
    """

    def mixed_and_rescaled(to: Estimate, away: Estimate, level: Level) -> Estimate:
        axes = tuple(range(1, to.x0.ndim))
        x0 = mix(to, away, level).x0
        ratio = _deviation(to.x0, axes) / _deviation(x0, axes).clamp(min=1e-12)
        return _moved(to, x0 * (1 + share * (ratio - 1)) - to.x0, level)

    return mixed_and_rescaled


def inside(level: Level, low: float, high: float) -> Tensor:
    """Whether low < rho <= high, bool of the level's shape."""
    return (level.rho > low) & (level.rho <= high)


def within(guided: Denoiser, plain: Denoiser, low: float, high: float) -> Denoiser:
    """Guide at levels of low < rho <= high only (arXiv:2404.07724); elsewhere ask ``plain``.

    Raises:
        UsageError: there is nothing between the two.
    """
    if not 0 <= low < high:
        raise UsageError(
            f"guidance is kept to levels of rho from a low to a higher number, not {low:g} to "
            f"{high:g}."
        )

    def denoise(x: Tensor, level: Level) -> Estimate:
        here = inside(level, low, high)
        if not bool(here.any()):
            return plain(x, level)
        if bool(here.all()):
            return guided(x, level)
        kept = per_item(here.to(x.device), x)
        return Estimate._make(
            None if one is None or other is None else torch.where(kept, one, other)
            for one, other in zip(guided(x, level), plain(x, level), strict=True)
        )

    return denoise


def _moved(estimate: Estimate, shift: Tensor, level: Level) -> Estimate:
    """Move x0, and eps with it so that both still make up the same x."""
    ratio = spread(level.alpha / level.sigma, shift)
    return estimate._replace(x0=estimate.x0 + shift, eps=estimate.eps - ratio * shift)


def _deviation(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    # A vector of one number has no deviation of its own: its size takes the place.
    centre = x.mean(axes, keepdim=True) if x.shape[1:].numel() > 1 else 0
    return (x - centre).square().mean(axes, keepdim=True).sqrt()
