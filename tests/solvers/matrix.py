"""What the law matrix runs: every target at once, and a law carried through a solver exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import laws
import numpy as np
import torch
from torch import Tensor

from ornstein.core import GRIDS, PROCESSES, TARGETS, Denoiser, Estimate, Level, Target
from ornstein.errors import TargetError
from ornstein.solvers import Solver
from ornstein.testing import affine

MEAN, COVARIANCE = np.array([0.7, -0.4]), np.array([[1.1, 0.35], [0.35, 0.25]])
SPECTRUM, AXES = np.linalg.eigh(COVARIANCE)
mixture = laws.mixture(laws.GMM3)


def gaussian(x: np.ndarray, a: float, s: float) -> np.ndarray:
    """E[x0 | x] for N(MEAN, COVARIANCE)."""
    gain = a * COVARIANCE @ np.linalg.inv(a * a * COVARIANCE + s * s * np.eye(2))
    return MEAN + (x - a * MEAN) @ gain.T


@cache
def levels(process: str, grid: str, steps: int) -> Level:
    """The grid of a process, by their names."""
    return GRIDS[grid](PROCESSES[process](), steps)


@cache
def targets(process: str, grid: str, steps: int) -> tuple[Target, ...]:
    """All targets of the table that are not refused at the start of a grid."""
    kept = []
    for make in TARGETS.values():
        try:
            make().check(levels(process, grid, steps)[0])
        except TargetError:
            continue
        kept.append(make())
    return tuple(kept)


class Every(Target):
    """All given targets at once: a batch is cut into equal blocks, one for each."""

    def __init__(self, targets: Sequence[Target], rows: int) -> None:
        self.targets, self.rows = targets, rows
        self.known: tuple[Level, tuple[Tensor, Tensor]] | None = None

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        if self.known is None or self.known[0] is not level:  # asked twice about each level
            a, b = zip(*(target.coefficients(level) for target in self.targets), strict=True)
            repeated = (torch.stack(part).repeat_interleave(self.rows) for part in (a, b))
            self.known = level, tuple(repeated)
        return self.known[1]


def through_targets(split: int, rows: int, spoken: Sequence[Target]) -> Denoiser:
    """What a perfect network says: asked on the unit scale, its output read as each target.

    In each block of rows the first ``split`` are of the Gaussian, the others of the mixture.
    """
    target = Every(spoken, rows)

    def denoise(x: Tensor, level: Level) -> Estimate:
        unit = level.unit()
        x = x / level.norm
        a, s = float(unit.alpha), float(unit.sigma)
        blocks = x.numpy().reshape(len(spoken), rows, 2)
        x0 = np.empty_like(blocks)
        x0[:, :split] = gaussian(blocks[:, :split].reshape(-1, 2), a, s).reshape(-1, split, 2)
        x0[:, split:] = mixture(blocks[:, split:].reshape(-1, 2), a, s).reshape(
            -1, rows - split, 2
        )
        exact = torch.from_numpy(x0.reshape(-1, 2))
        eps = (x - unit.alpha * exact) / unit.sigma
        return target.estimate(target.of(exact, eps, unit), x, unit)

    return denoise


@cache
def draws_of(make: Callable[[], Solver]) -> int:
    """How often a solver of the table draws noise in a step."""
    return affine.draws_of(make())


class Law(NamedTuple):
    """Mean (D,) and covariance (D, D) of an end point."""

    mean: np.ndarray
    covariance: np.ndarray


def law_of(ends: np.ndarray, start: Law) -> Law:
    """The law at the end of an affine walk, from where the rows of ``impulses`` ended, (R, D).

    Row 0 started at 0, rows 1..D at the unit vectors, the others at 0 with one draw each: their
    offsets are the columns of the linear map of start and noise.
    """
    dims = ends.shape[1]
    linear = ends[1 : 1 + dims] - ends[0]
    response = ends[1 + dims :] - ends[0]
    mean = ends[0] + start.mean @ linear
    return Law(mean, linear.T @ start.covariance @ linear + response.T @ response)


def starting_law(level: Level) -> Law:
    """The exact law of the noised Gaussian."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    return Law(alpha * MEAN, alpha**2 * COVARIANCE + sigma**2 * np.eye(2))
