"""Nonlinear least squares with few unknowns, where a residual costs much and has no gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

REACH = 0.1  # of a finite difference: wide, so that it sees over a jump to another mode
LEAST_GAIN = 0.005  # a promise of less ends a descent, twice as little gain ends all


def fit(residual: Callable[[Tensor], Tensor], start: Tensor, runs: int) -> Tensor:
    """Minimise |residual(v)| by Levenberg and Marquardt's steps, without derivatives.

    The slopes come from finite differences and are kept up to date by Broyden's formula (1965), so
    that a step costs one residual; when they promise no more, they are measured again.

    Args:
        residual: Of the unknowns (N,), a row of numbers; infinite where there is no answer.
        start: First unknowns, (N,) float64, where the residual is finite.
        runs: Residuals to spend, at most.

    Returns:
        The best unknowns found, (N,); never worse than the start.
    """
    best, off = start, residual(start)
    cost, left, damping = off @ off, runs - 1, 1e-2
    while left > len(best) and cost > 0:
        before = cost
        nudges = REACH * torch.eye(len(best), dtype=best.dtype)
        slopes = torch.stack([(residual(best + nudge) - off) / REACH for nudge in nudges], 1)
        slopes, left = slopes.nan_to_num(0, 0, 0), left - len(best)
        while left > 0 and cost > 0:
            move = _step(slopes, off, damping)
            if (off + slopes @ move).square().sum() > (1 - LEAST_GAIN) * cost:
                break
            new, left = residual(best + move), left - 1
            if bool(torch.isfinite(new).all()):
                slopes = slopes + torch.outer(new - off - slopes @ move, move) / (move @ move)
            if new @ new < cost:
                best, off, cost, damping = best + move, new, new @ new, max(damping / 4, 1e-6)
            else:
                damping *= 4
        if cost > (1 - 2 * LEAST_GAIN) * before:
            break
    return best


def _step(slopes: Tensor, off: Tensor, damping: float) -> Tensor:
    # Scaled by Marquardt, with a floor for unknowns that change nothing. A step may change no
    # unknown by more than 1, and then keeps its direction: cut one by one it could lead upwards.
    curvature = slopes.T @ slopes
    scale = curvature.diag() + 1e-3 * curvature.diag().mean() + 1e-30
    move: Tensor = -torch.linalg.solve(curvature + damping * scale.diag(), slopes.T @ off)
    return move / move.abs().max().clamp(min=1)
