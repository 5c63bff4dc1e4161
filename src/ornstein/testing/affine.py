"""The law at the end of a walk without sampling, for Gaussian data.

There the denoiser is affine, and so is a step of all usual solvers, in x and in its noise. So the
walk is known from its answers to unit vectors, one at a time: mean and covariance follow exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import Draw, Gaussian, Level
from ornstein.errors import UsageError
from ornstein.solvers import Solver, sample


class Law(NamedTuple):
    """Mean (D,) and covariance (D, D) of a Gaussian."""

    mean: Tensor
    covariance: Tensor


def gap(got: Sequence[Tensor], want: Sequence[Tensor]) -> float:
    """Largest difference between tensors, one by one; NaN if there is any."""
    pairs = zip(got, want, strict=True)
    return float(torch.cat([(a - b).abs().flatten() for a, b in pairs]).max())


class Given:
    """Noise from a list, (draws, rows, D) for each step, the same for each block of rows."""

    def __init__(self, draws: Sequence[Tensor] | Tensor) -> None:
        self.draws = draws

    def at(self, step: int, /) -> Draw:
        """Return the draws of one step; it is an error to ask for more than were given."""
        left = iter(self.draws[step])

        def draw(x: Tensor) -> Tensor:
            z: Tensor = next(left)
            return z.repeat(len(x) // len(z), 1)

        return draw


def draws_of(solver: Solver) -> int:
    """How often a solver draws noise in a step, at most; 0 if it is deterministic."""
    asked = [0, 0, 0]

    class Counting:
        def at(self, step: int, /) -> Draw:
            def draw(x: Tensor) -> Tensor:
                asked[step] += 1
                return torch.zeros_like(x)

            return draw

    grid = Level(torch.tensor([0.2, 0.6, 0.9, 0.99]), torch.tensor([1.0, 0.8, 0.4, 0.1]))
    law = Gaussian(torch.zeros(2), torch.eye(2))
    sample(law, torch.ones(2, 2, dtype=torch.float64), grid, solver, Counting())
    return max(asked)


def impulses(steps: int, dims: int, draws: int) -> Tensor:
    """Noise of each step and draw, (steps, draws, rows, D), in which one row has one unit of it.

    Rows 0..D have none; then there is a row for each step, draw and dimension.
    """
    count = steps * draws * dims
    z = torch.zeros(count, 1 + dims + count, dtype=torch.float64)
    z[:, 1 + dims :] = torch.eye(count)
    return z.reshape(steps, draws, dims, z.shape[1]).mT


def unit_starts(dims: int, rows: int) -> Tensor:
    """Where the rows of ``impulses`` start, (rows, D): 0, but for rows 1 to D the unit vectors."""
    x = torch.zeros(rows, dims, dtype=torch.float64)
    x[1 : 1 + dims] = torch.eye(dims)
    return x


def noised(law: Gaussian, level: Level) -> Law:
    """Return the exact law at a level."""
    variance = level.alpha**2 * law.covariance + level.sigma**2 * torch.eye(law.dim)
    return Law(level.alpha * law.mean, variance)


def law_after(solver: Solver, law: Gaussian, levels: Level) -> Law:
    """Mean and covariance at the end of a walk that starts from the exact law of levels[0].

    Raises:
        UsageError: a step is not affine in x and noise, so there is no such short way.
    """
    unit = impulses(len(levels) - 1, law.dim, draws_of(solver))
    x = unit_starts(law.dim, unit.shape[2])
    ends = sample(law, x, levels, solver, Given(unit))
    linear, response = ends[1 : 1 + law.dim] - ends[0], ends[1 + law.dim :] - ends[0]
    both = sample(law, x.sum(0, keepdim=True), levels, solver, Given(unit.sum(2, keepdim=True)))
    if not torch.allclose(both[0], ends[0] + linear.sum(0) + response.sum(0), rtol=1e-6):
        raise UsageError(
            "this solver's step is not affine in x and its noise where the data are Gaussian, so "
            "the law of its samples cannot be had without sampling. Its bias is measured anyway."
        )
    start = noised(law, levels[0])
    covariance = linear.T @ start.covariance @ linear + response.T @ response
    return Law(ends[0] + start.mean @ linear, covariance)
