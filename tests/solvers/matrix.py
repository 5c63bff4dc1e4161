"""What the law matrix runs: every target at once, and a law carried through a solver exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import laws
import numpy as np
import torch
from torch import Tensor

from ornstein.core import GRIDS, PROCESSES, TARGETS, Denoiser, Draw, Estimate, Level, Target
from ornstein.errors import TargetError
from ornstein.solvers import Solver, sample

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


class Given:
    """Noise from a list, one tensor per step, the same for each block of rows."""

    def __init__(self, draws: Sequence[Tensor], blocks: int) -> None:
        self.draws, self.blocks = draws, blocks

    def at(self, step: int, /) -> Draw:
        used = False

        def draw(x: Tensor) -> Tensor:
            nonlocal used
            if used:
                raise AssertionError("one draw a step is given; let the matrix give more.")
            used = True
            return self.draws[step].repeat(self.blocks, 1)

        return draw


@cache
def is_random(make: Callable[[], Solver]) -> bool:
    """Whether a solver draws noise."""
    grid, x = levels("linear", "log-snr", 3), torch.ones(2, 2, dtype=torch.float64)
    denoise = through_targets(1, 2, [TARGETS["x0"]()])
    quiet, loud = ([torch.full_like(x, size)] * 3 for size in (0.0, 1.0))
    one, other = (sample(denoise, x, grid, make(), Given(draws, 1)) for draws in (quiet, loud))
    return not torch.equal(one, other)


class Law(NamedTuple):
    """Mean (D,) and covariance (D, D) of an end point."""

    mean: np.ndarray
    covariance: np.ndarray


def impulses(steps: int, dims: int, draws: bool) -> list[Tensor]:
    """Rows 0..D: no noise; then, for each step and dimension, a row with a unit draw there."""
    rows = 1 + dims + (steps * dims if draws else 0)
    made = []
    for k in range(steps):
        z = torch.zeros(rows, dims, dtype=torch.float64)
        if draws:
            z[1 + dims * (k + 1) : 1 + dims * (k + 2)] = torch.eye(dims)
        made.append(z)
    return made


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
