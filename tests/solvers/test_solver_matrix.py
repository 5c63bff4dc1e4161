"""The law matrix: every process, target, solver, grid and number of steps (A8, B1, B7).

Two exact laws go through each combination. A Gaussian with full covariance: for it every step is
an affine map with added noise, so mean and covariance at the end are had without sampling. And
points of a mixture, with given noise. Both must agree to rounding with the same walk written in
the variables of the solver's own paper (tests/oracles/papers*.py): the discretisation error is the
method's own, and no more. A new entry of a table takes part by itself; a solver without a paper's
walk is held to the truth alone, here and, as all are, in test_solver_truth.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

import numpy as np
import papers
import papers_adams
import papers_dpm
import pytest
import torch
from cover import in_turn
from matrix import (
    AXES,
    COVARIANCE,
    MEAN,
    SPECTRUM,
    Law,
    draws_of,
    gaussian,
    law_of,
    levels,
    mixture,
    starting_law,
    targets,
    through_targets,
)

from ornstein.core import GRIDS, PROCESSES, item_normal
from ornstein.solvers import SOLVERS, Solver, sample
from ornstein.testing.affine import Given, impulses, unit_starts

WALKS = papers.WALKS | papers_adams.WALKS | papers_dpm.WALKS
STEPS = (1, 2, 3, 7, 10, 50)
POINTS = 16
Case = tuple[str, str, int]  # process, grid, steps
DATA = torch.tensor(np.random.default_rng(0).normal(0, 0.8, (POINTS, 2)))
MOST = max(draws_of(make) for make in SOLVERS.values())
NOISE = torch.stack(  # (steps, draws, points, 2)
    [
        torch.stack(
            [item_normal(3 + j, range(POINTS), (2,), step=k).double() for j in range(MOST)]
        )
        for k in range(max(STEPS) + 1)
    ]
)


def noised(case: Case) -> torch.Tensor:
    """Points at the start of a grid, (16, 2)."""
    return levels(*case)[0].mix(DATA, NOISE[-1, 0])


@cache
def walked(make: Callable[[], Solver], case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows of ``impulses`` and the points of the mixture end: (targets, rows, 2)."""
    grid, spoken = levels(*case), targets(*case)
    count = draws_of(make)
    unit = impulses(case[2], 2, count)
    start = unit_starts(2, unit.shape[2])
    x = torch.cat([start, noised(case)])
    draws = torch.cat([unit, NOISE[: case[2], :count]], dim=2)
    denoise = through_targets(len(start), len(x), spoken)
    end = sample(denoise, x.repeat(len(spoken), 1), grid, make(), Given(draws))
    ends = end.reshape(len(spoken), *x.shape).numpy()
    return ends[:, : len(start)], ends[:, len(start) :]


def pairs(case: Case) -> list[tuple[float, float]]:
    grid = levels(*case)
    return list(zip(grid.alpha.tolist(), grid.sigma.tolist(), strict=True))


def points_of_the_paper(case: Case, solver: str) -> np.ndarray:
    draw = lambda k, j=0: NOISE[k, j].numpy()  # noqa: E731 - of a step, and a draw in it
    return WALKS[solver](mixture, noised(case).numpy(), pairs(case), draw)


def law_of_the_paper(case: Case, solver: str) -> Law:
    """The law at the end of the paper's walk, on the axes of the covariance: diagonal there."""
    mean = MEAN @ AXES

    def D(x: np.ndarray, a: float, s: float) -> np.ndarray:
        return mean + a * SPECTRUM / (a * a * SPECTRUM + s * s) * (x - a * mean)

    draws = impulses(case[2], 1, draws_of(SOLVERS[solver])).numpy()
    x = np.zeros((draws.shape[2], 2))
    x[1] = 1
    ends = WALKS[solver](D, x, pairs(case), lambda k, j=0: draws[k, j])
    a, s = pairs(case)[0]
    stretch, response = ends[1] - ends[0], ends[2:] - ends[0]
    variance = stretch**2 * (a * a * SPECTRUM + s * s) + (response**2).sum(0)
    return Law(AXES @ (ends[0] + stretch * a * mean), (AXES * variance) @ AXES.T)


def gap(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """Largest difference of the arrays, relative to those of ``want`` that exceed 1."""
    return max(
        float(np.abs(one - other).max() / max(1, np.abs(other).max()))
        for one, other in zip(got, want, strict=True)
    )


def assert_near_the_truth(case: Case, solver: str, ends: list[Law]) -> None:
    """A solver without a paper's walk may miss the law of the data by twice the first order.

    On grids of even ratios, that is; on others even Heun may do worse than Euler.
    """
    alpha = float(levels(*case).alpha[-1])
    truth = Law(alpha * MEAN, alpha**2 * COVARIANCE)
    plain = law_of_the_paper(case, "ddpm" if draws_of(SOLVERS[solver]) else "ddim")
    for law in ends:
        assert gap(law, truth) < 2 * gap(plain, truth) + 1e-6


# The matrix is thinned to one diagonal in 19: every process is met on every grid with every
# number of steps by some solvers, and every solver meets every process, grid and number of steps.
CASES = in_turn(PROCESSES, GRIDS, map(str, STEPS), SOLVERS, period=19)
# Solvers without an order move about at a level before they leave it.
AT_ONCE = [name for name in SOLVERS if SOLVERS[name]().order > 0]


@pytest.mark.parametrize(("process", "grid", "steps", "solver"), CASES)
def test_the_law_at_the_end_is_that_of_the_paper_for_every_target(
    process: str, grid: str, steps: str, solver: str
) -> None:
    case = (process, grid, int(steps))
    rows, points = walked(SOLVERS[solver], case)
    start = starting_law(levels(*case)[0])
    if solver not in WALKS:
        if int(steps) == max(STEPS) and grid in ("karras", "log-snr"):
            assert_near_the_truth(case, solver, [law_of(ends, start) for ends in rows])
        return
    want, path = law_of_the_paper(case, solver), points_of_the_paper(case, solver)
    for k, target in enumerate(targets(*case)):
        got = law_of(rows[k], start)
        error = gap((*got, points[k]), (*want, path))
        # 32 nodes of Gauss against the adaptive rule of scipy, over steps of a huge ratio.
        assert error < (1e-6 if solver.startswith("deis-t") else 1e-7), type(target).__name__


@pytest.mark.parametrize(
    ("process", "grid", "solver"), in_turn(PROCESSES, GRIDS, AT_ONCE, period=5)
)
def test_one_step_gives_the_mean_of_x0_given_the_noise(
    process: str, solver: str, grid: str
) -> None:
    case = (process, grid, 1)
    level, end = levels(*case)
    a, s = float(level.alpha), float(level.sigma)
    _, points = walked(SOLVERS[solver], case)
    want = float(end.alpha) * mixture(noised(case).numpy(), a, s)
    for block in points:
        np.testing.assert_allclose(block, want, rtol=0, atol=1e-9)


def test_the_matrix_leaves_nothing_out() -> None:
    met = {case[:3] for case in CASES}
    assert met == set(product(PROCESSES, GRIDS, map(str, STEPS)))
    for solver in SOLVERS:
        own = [case[:3] for case in CASES if case[3] == solver]
        assert [set(column) for column in zip(*own, strict=True)] == [
            set(PROCESSES), set(GRIDS), set(map(str, STEPS))
        ]  # fmt: skip
    # Only pure noise refuses a target, and only two targets at that.
    for process, grid in product(PROCESSES, GRIDS):
        start = levels(process, grid, 3)[0]
        assert len(targets(process, grid, 3)) == (4 if float(start.alpha) == 0 else 6)


def test_the_gaussian_of_the_matrix_is_the_exact_one() -> None:
    from ornstein.core import Gaussian, Level

    exact = Gaussian(torch.tensor(MEAN), torch.tensor(starting_law(Level(1.0, 0.0)).covariance))
    at = Level(*torch.tensor([0.6, 0.8], dtype=torch.float64))
    np.testing.assert_allclose(exact(DATA, at).x0.numpy(), gaussian(DATA.numpy(), 0.6, 0.8))
