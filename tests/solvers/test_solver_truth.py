"""Every solver of the table against the truth: order, exact laws, both ends (A8, B1, B16, B20)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cover import in_turn
from matrix import Law, draws_of, gaussian, law_of, starting_law
from torch import Tensor

from ornstein.core import (
    GRIDS,
    PROCESSES,
    Estimate,
    Level,
    Mixture,
    from_x0,
)
from ornstein.solvers import DDIM, SOLVERS, Ancestral, DPMpp3M, Solver, sample
from ornstein.testing import measure_order
from ornstein.testing.affine import Given, impulses, unit_starts
from ornstein.testing.solver import path

MIXTURE = Mixture(
    *(torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4]))
)
X = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]


def exactly(x: Tensor, level: Level) -> Estimate:
    """The exact denoiser of the Gaussian of the matrix."""
    return from_x0(
        torch.tensor(gaussian(x.numpy(), float(level.alpha), float(level.sigma))), x, level
    )


def law_at_the_end(solver: Solver, levels: Level, draws: int) -> Law:
    """Mean and covariance at the end for Gaussian data, without sampling."""
    unit = impulses(len(levels) - 1, 2, draws)
    x = unit_starts(2, unit.shape[2])
    ends = sample(exactly, x, levels, solver, Given(unit))
    return law_of(ends.numpy(), starting_law(levels[0]))


def gap(one: Law, other: Law) -> float:
    """Largest error of mean and covariance."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", [name for name in SOLVERS if SOLVERS[name]().order > 0])
def test_error_shrinks_at_the_claimed_order(name: str) -> None:
    # Against the transport that keeps the distribution function; for solvers that draw noise,
    # against mean and covariance of a Gaussian, without sampling.
    assert measure_order(SOLVERS[name]()) == pytest.approx(SOLVERS[name]().order, abs=0.2)


def test_third_order_lasts_only_from_high_noise_as_documented() -> None:
    # The first two steps are of lower order; from a middle level their error stays.
    error = []
    for steps in (128, 256):
        levels = path(-4, 4, steps)
        truth = MIXTURE.transport(X, levels[0], levels[-1])
        error.append(float((sample(MIXTURE, X, levels, DPMpp3M()) - truth).abs().mean()))
    assert 1.9 < math.log2(error[0] / error[1]) < 2.5


@pytest.mark.parametrize(("process", "name"), in_turn(PROCESSES, SOLVERS, period=13))
def test_twice_the_steps_bring_the_law_of_the_data_nearer(process: str, name: str) -> None:
    # On EDM's grid. Its last step, to clean data, gives E[x0 | x] or little more, which lacks the
    # spread of x0 around it: about rho² for all solvers, whatever the steps before. And a small
    # error may be one that happens to pass through 0.
    error, solver = [], SOLVERS[name]()
    for steps in (50, 100):
        levels = GRIDS["karras"](PROCESSES[process](), steps)
        got = law_at_the_end(solver, levels, draws_of(SOLVERS[name]))
        error.append(gap(got, starting_law(levels[-1])))
    floor = 2 * float(levels[-2].rho) ** 2
    shrunk = {0: 0.65, 1: 0.65, 2: 0.5}.get(solver.order, 0.35) * error[0] + floor
    assert error[1] < max(shrunk, 0.003)
    most = 0.05 if draws_of(SOLVERS[name]) else 0.02
    assert error[1] < {0: 0.26, 1: 0.26}.get(solver.order, most)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_sampling_of_the_whole_chain_gives_the_mixture(variance: str) -> None:
    # B1: the density itself is carried from step to step, by quadrature.
    chain = PROCESSES["linear"]()
    levels = GRIDS["subchain"](chain, 150)
    levels = levels[levels.sigma > 0.15]  # down to where a step is as wide as three cells
    x = torch.linspace(-4.5, 4.5, 401, dtype=torch.float64)[:, None]
    width = float(x[1] - x[0])
    solver = Ancestral(variance)
    density = MIXTURE.log_prob(x, levels[0]).exp()
    for i in range(len(levels) - 1):
        t, s = levels[i], levels[i + 1]
        mean, _ = solver.step(MIXTURE, x, t, s, None, torch.zeros_like)
        moved, _ = solver.step(MIXTURE, x, t, s, None, torch.ones_like)
        std = moved - mean
        kernel = torch.exp(-0.5 * ((x.T - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        density = width * density @ kernel
    exact = MIXTURE.log_prob(x, levels[-1]).exp()
    assert float(density.sum()) * width == pytest.approx(1, abs=1e-3)
    assert 0.5 * width * float((density - exact).abs().sum()) < 0.03  # total variation
    moments = [(width * p @ x**k).item() for p in (density, exact) for k in (1, 2)]
    assert moments[:2] == pytest.approx(moments[2:], abs=0.02)


@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "edm", "flow"])
def test_a_short_ancestral_step_is_a_step_of_the_reverse_sde(process: str) -> None:
    # B15, B20: dx = (f·x - g²·score)·dt + g·dw backwards; the two differ by dt².
    made = PROCESSES[process]()
    gaps = []
    for dt in (1e-3, 5e-4):
        t, s = made(0.5), made(0.5 - dt)
        f, g2 = made.drift(0.5), made.diffusion2(0.5)
        mean, std = (
            Ancestral().step(MIXTURE, X, t, s, None, draw)[0]
            for draw in (torch.zeros_like, torch.ones_like)
        )
        euler = X - (f * X - g2 * MIXTURE.score(X, t)) * dt
        variance = (std - mean) ** 2 - g2 * dt
        gaps.append([float(gap.abs().max()) for gap in (mean - euler, variance)])
    for coarse, fine in zip(*gaps, strict=True):
        assert coarse / fine == pytest.approx(4, abs=0.2)


def test_beta_as_variance_at_few_steps_is_terrible() -> None:
    # DDIM, table 1: the larger variance ruins short chains; the smaller does not.
    narrow = Mixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([0.1]))
    levels = GRIDS["subchain"](PROCESSES["linear"](), 10)[:-1]
    (large, truth), (small, _) = (
        ancestral_law(narrow, levels, variance) for variance in ("large", "small")
    )
    assert large.covariance.item() > 5 * truth.covariance.item()
    assert small.covariance.item() < truth.covariance.item()


def ancestral_law(law: Mixture, levels: Level, variance: str) -> tuple[Law, Law]:
    """The law at the end of ancestral sampling for Gaussian data in 1-D, and the truth."""
    draws = impulses(len(levels) - 1, 1, draws=1)
    x = unit_starts(1, draws.shape[2])
    solver = Ancestral(variance)
    ends = sample(law, x, levels, solver, Given(draws)).numpy()
    start, truth = (
        Law(a * law.mean.numpy(), a * a * law.covariance.numpy() + s * s)
        for a, s in zip(
            levels.alpha[[0, -1]].tolist(), levels.sigma[[0, -1]].tolist(), strict=True
        )
    )
    return law_of(ends, start), truth


def test_each_variance_is_optimal_where_it_should_be() -> None:
    # B3: beta is exact for N(0, 1) data, beta-tilde for a point.
    levels = GRIDS["subchain"](PROCESSES["linear"](), 7)[:-1]
    normal = Mixture(torch.ones(1), torch.zeros(1, 1), torch.ones(1))
    point = Mixture(torch.ones(1), torch.full((1, 1), 0.8).double(), torch.zeros(1))
    for law, variance in ((normal, "large"), (point, "small")):
        assert gap(*ancestral_law(law, levels, variance)) < 1e-12


def test_the_flow_of_a_gaussian_keeps_its_variance_and_the_printed_one_does_not() -> None:
    # B16 and E4: f - g²·score/2 on N(0, 4) ends at 4; without the half it collapses to 0.0007.
    data = Mixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([2.0]))
    levels = path(-10, 12, 400)
    one = torch.ones(1, 1, dtype=torch.float64)
    start = float(levels.alpha[0] ** 2 * 4 + levels.sigma[0] ** 2)
    factor = float(sample(data, one, levels, DPMpp3M()))
    assert factor**2 * start / float(levels.alpha[-1] ** 2) == pytest.approx(4, abs=1e-3)

    def printed(x: Tensor, level: Level) -> Estimate:
        # Twice the pull of the score: eps doubled, x0 to match.
        eps = 2 * data(x, level).eps
        return Estimate((x - level.sigma * eps) / level.alpha, eps)

    factor = float(sample(printed, one, levels, DPMpp3M()))
    assert factor**2 * start < 0.002


def test_half_the_noise_keeps_the_law_between_the_two() -> None:
    # DDIM, eq. 16: each eta is a process with the same marginals; N(0, 1) data show it exactly.
    levels = path(-8, 4, 400)
    gaps = [
        gap(law_at_the_end(DDIM(eta), levels, draws=int(eta > 0)), starting_law(levels[-1]))
        for eta in (0.0, 0.5, 1.0)
    ]
    assert gaps == sorted(gaps)
    assert max(gaps) < 0.02


def test_published_third_order_is_the_record_of_the_papers_and_ours_is_nearer() -> None:
    levels = path(-10, 5, 40)
    truth = MIXTURE.transport(X, levels[0], levels[-1])
    ours, published = (
        float((sample(MIXTURE, X, levels, SOLVERS[name]()) - truth).abs().mean())
        for name in ("dpmpp-3m", "dpmpp-3m-published")
    )
    assert ours < 0.6 * published
