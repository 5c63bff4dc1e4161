"""Score matching: objectives whose optimum is the score, for any function from x to a score.

All differ from 1/2·E|s - grad log p|² by a constant that s has no part in, so they have one
optimum. Denoising regresses the score of the noise that was added; the implicit form needs data
only, but also the trace of the Jacobian of s, exactly or by projections. Each returns the terms of
the items, (B,), summed over dimensions and differentiable with respect to the parameters of s.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ornstein.core import Denoiser, Level, spread
from ornstein.errors import UsageError

ScoreFunction = Callable[[Tensor], Tensor]
"""x, (B, *D), to a score of the same shape; no item may depend on another."""

EXACT = 64  # dimensions up to which an exact trace is offered: it costs a backward pass for each


def score_of(denoise: Denoiser, level: Level) -> ScoreFunction:
    """Return the score at one level that a denoiser implies: -eps/sigma."""
    return lambda x: -denoise(x, level).eps / spread(level.sigma, x)


def denoising(score: ScoreFunction, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """Denoising score matching, 1/2·|s(x) + eps/sigma|² (arXiv:2011.13456, eq. 7), (B,).

    On eps = -sigma·s that is 1/sigma² times the loss of DDPM: the same optimum at each level.
    """
    error = score(level.mix(x0, eps)) + eps / spread(level.sigma, eps)
    return 0.5 * error.flatten(1).square().sum(1)


def implicit(score: ScoreFunction, x: Tensor) -> Tensor:
    """Implicit score matching, tr(grad s) + 1/2·|s|² (Hyvärinen 2005), with the exact trace, (B,).

    Args:
        score: The function trained.
        x: Points of the law whose score is wanted, (B, *D).

    Raises:
        UsageError: more than 64 dimensions.
    """
    dims = math.prod(x.shape[1:])
    if dims > EXACT:
        raise UsageError(
            f"the exact trace is offered up to {EXACT} dimensions, these items have {dims}. "
            "Use sliced(), which estimates it by random projections."
        )
    x, s = _answer(score, x)
    flat = s.flatten(1)
    rows = [
        torch.autograd.grad(flat[:, i].sum(), x, create_graph=True)[0].flatten(1)[:, i]
        for i in range(dims)
    ]
    return torch.stack(rows).sum(0) + 0.5 * flat.square().sum(1)


def sliced(score: ScoreFunction, x: Tensor, v: Tensor, reduced: bool = True) -> Tensor:
    """Sliced score matching, v·(grad s)·v + 1/2·(v·s)² (arXiv:1905.07088, eq. 7), (B,).

    Args:
        score: The function trained.
        x: Points of the law whose score is wanted, (B, *D).
        v: A projection for each item, of unit covariance, (B, *D); see :func:`probes`.
        reduced: Take 1/2·|s|², the mean of the second term over v (eq. 8 there, "SSM-VR").
    """
    x, s = _answer(score, x)
    along = (s * v).flatten(1).sum(1)
    (turned,) = torch.autograd.grad(along.sum(), x, create_graph=True)
    square = s.flatten(1).square().sum(1) if reduced else along.square()
    return (turned * v).flatten(1).sum(1) + 0.5 * square


def probes(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw a projection of random signs for each item: unit covariance at the least variance."""
    signs = torch.randint(0, 2, x.shape, generator=generator)
    return (2 * signs - 1).to(x)


def _answer(score: ScoreFunction, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        return x, score(x)
