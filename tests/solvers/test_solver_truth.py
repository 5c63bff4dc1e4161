"""Every solver of the table against the truth: order, exact laws, both ends (A8, B1, B16, B20)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matrix import Given, Law, gaussian, impulses, is_random, law_of, starting_law
from torch import Tensor

from ornstein.core import (
    GRIDS,
    PROCESSES,
    Denoiser,
    Estimate,
    Level,
    Mixture,
    from_x0,
    item_normal,
)
from ornstein.solvers import DDIM, FLOW, RHO, SOLVERS, Ancestral, DPMpp3M, Heun, Solver, sample

MIXTURE = Mixture(
    *(torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4]))
)
X = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
ODE = [name for name in SOLVERS if not is_random(SOLVERS[name])]
SDE = [name for name in SOLVERS if is_random(SOLVERS[name])]


def path(first: float, last: float, steps: int) -> Level:
    """Uniform in log-SNR on the variance-preserving scale; the end is not clean."""
    log_snr = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    return Level(log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt())


def exactly(x: Tensor, level: Level) -> Estimate:
    """The exact denoiser of the Gaussian of the matrix."""
    return from_x0(
        torch.tensor(gaussian(x.numpy(), float(level.alpha), float(level.sigma))), x, level
    )


def law_at_the_end(solver: Solver, levels: Level, draws: bool) -> Law:
    """Mean and covariance at the end for Gaussian data, without sampling."""
    unit = impulses(len(levels) - 1, 2, draws)
    x = torch.zeros_like(unit[0])
    x[1:3] = torch.eye(2)
    ends = sample(exactly, x, levels, solver, Given(unit, 1))
    return law_of(ends.numpy(), starting_law(levels[0]))


def gap(one: Law, other: Law) -> float:
    """Largest error of mean and covariance."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ODE)
def test_error_shrinks_at_the_claimed_order(name: str) -> None:
    # The truth is the one-dimensional transport that keeps the distribution function.
    error = []
    for steps in (128, 256):
        levels = path(-10, 5, steps)
        truth = MIXTURE.transport(X, levels[0], levels[-1])
        got = sample(MIXTURE, X, levels, SOLVERS[name]())
        error.append(float((got - truth).abs().mean()))
    assert math.log2(error[0] / error[1]) == pytest.approx(SOLVERS[name]().order, abs=0.2)


@pytest.mark.parametrize("name", SDE)
def test_the_law_of_a_stochastic_solver_converges_at_the_claimed_order(name: str) -> None:
    error = []
    for steps in (128, 256):
        levels = path(-10, 5, steps)
        got = law_at_the_end(SOLVERS[name](), levels, draws=True)
        error.append(gap(got, starting_law(levels[-1])))
    assert math.log2(error[0] / error[1]) == pytest.approx(SOLVERS[name]().order, abs=0.2)


def test_third_order_lasts_only_from_high_noise_as_documented() -> None:
    # The first two steps are of lower order; from a middle level their error stays.
    error = []
    for steps in (128, 256):
        levels = path(-4, 4, steps)
        truth = MIXTURE.transport(X, levels[0], levels[-1])
        error.append(float((sample(MIXTURE, X, levels, DPMpp3M()) - truth).abs().mean()))
    assert 1.9 < math.log2(error[0] / error[1]) < 2.5


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("process", PROCESSES)
def test_twice_the_steps_bring_the_law_of_the_data_nearer(process: str, name: str) -> None:
    # On EDM's grid, whose last step to clean data is of first order for all.
    error, solver = [], SOLVERS[name]()
    for steps in (50, 100):
        levels = GRIDS["karras"](PROCESSES[process](), steps)
        got = law_at_the_end(solver, levels, is_random(SOLVERS[name]))
        error.append(gap(got, starting_law(levels[-1])))
    assert error[1] < {1: 0.65, 2: 0.5, 3: 0.35}[solver.order] * error[0]
    assert error[1] < {1: 0.26, 2: 0.02, 3: 0.02}[solver.order]


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_sampling_of_the_whole_chain_gives_the_mixture(variance: str) -> None:
    # B1: the density itself is carried from step to step, by quadrature.
    chain = PROCESSES["linear"]()
    levels = GRIDS["subchain"](chain, 150)
    levels = levels[levels.sigma > 0.15]  # down to where a step is as wide as three cells
    x = torch.linspace(-4.5, 4.5, 401, dtype=torch.float64)[:, None]
    width = float(x[1] - x[0])
    solver = Ancestral(variance)  # type: ignore[arg-type]
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
    draws = impulses(len(levels) - 1, 1, draws=True)
    x = torch.zeros_like(draws[0])
    x[1] = 1
    solver = Ancestral(variance)  # type: ignore[arg-type]
    ends = sample(law, x, levels, solver, Given(draws, 1)).numpy()
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


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_both_ends_are_finite_and_the_last_step_is_the_estimate_of_x0(
    name: str, steps: int
) -> None:
    # B9: pure noise at the start, clean data at the end, no noise in the last step.
    levels = GRIDS["uniform"](PROCESSES["flow"](), steps)
    asked: list[tuple[Tensor, Level]] = []

    def listen(x: Tensor, level: Level) -> Estimate:
        asked.append((x, level))
        return MIXTURE(x, level)

    end = sample(listen, X, levels, SOLVERS[name]())
    assert bool(torch.isfinite(end).all())
    x, level = asked[-1]
    assert float(level.sigma) == float(levels.sigma[-2])
    torch.testing.assert_close(end, MIXTURE(x, level).x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_evaluations_per_step_are_the_claimed_number(name: str) -> None:
    calls = 0

    def count(x: Tensor, level: Level) -> Estimate:
        nonlocal calls
        calls += 1
        return MIXTURE(x, level)

    sample(count, X, path(-6, 4, 11), SOLVERS[name]())
    assert calls == 11 * SOLVERS[name]().evaluations


@pytest.mark.parametrize("name", SOLVERS)
def test_the_denoiser_is_asked_at_the_levels_of_the_grid_in_order(name: str) -> None:
    # A peer derives the next level from the number of steps, and its own list of levels disagrees.
    levels = GRIDS["trailing"](PROCESSES["linear"](), 9)
    asked: list[float] = []

    def listen(x: Tensor, level: Level) -> Estimate:
        asked.append(float(level.sigma))
        return MIXTURE(x, level)

    sample(listen, X, levels, SOLVERS[name]())
    per_step = SOLVERS[name]().evaluations
    assert asked[::per_step] == levels.sigma[:-1].tolist()
    assert set(asked) <= set(levels.sigma.tolist())


@pytest.mark.parametrize("frame", [RHO, FLOW])
def test_euler_in_either_frame_is_ddim(frame: object) -> None:
    assert frame in (RHO, FLOW)
    levels = GRIDS["uniform"](PROCESSES["subvp"](), 7)
    x = X
    for i in range(6):
        t, s = levels[i], levels[i + 1]
        slope = frame.slope(MIXTURE(x, t))  # type: ignore[attr-defined]
        x = x / frame.scale(t) * frame.scale(s) + frame.stride(t, s) * slope  # type: ignore[attr-defined]
    torch.testing.assert_close(x, sample(MIXTURE, X, levels[:-1], DDIM()), rtol=1e-10, atol=1e-12)


def test_ddim_with_all_the_noise_is_the_ancestral_step_of_small_variance() -> None:
    levels = GRIDS["karras"](PROCESSES["subvp"](), 9)
    draws = [item_normal(0, range(len(X)), (1,), step=k).double() for k in range(9)]
    one, other = (
        sample(MIXTURE, X, levels, solver, Given(draws, 1)) for solver in (DDIM(1.0), Ancestral())
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_ddim_with_no_noise_left_tends_to_ddim() -> None:
    # A peer's DDIM with added variance takes x0 at the wrong level and does not.
    levels = GRIDS["karras"](PROCESSES["vp"](), 9)
    draws = [torch.ones_like(X)] * 9
    almost = sample(MIXTURE, X, levels, DDIM(1e-9), Given(draws, 1))
    torch.testing.assert_close(almost, sample(MIXTURE, X, levels, DDIM()), rtol=0, atol=1e-7)


def test_half_the_noise_keeps_the_law_between_the_two() -> None:
    # DDIM, eq. 16: each eta is a process with the same marginals; N(0, 1) data show it exactly.
    levels = path(-8, 4, 400)
    gaps = [
        gap(law_at_the_end(DDIM(eta), levels, draws=eta > 0), starting_law(levels[-1]))
        for eta in (0.0, 0.5, 1.0)
    ]
    assert gaps == sorted(gaps)
    assert max(gaps) < 0.02


def test_published_third_order_is_the_record_of_the_papers_and_ours_is_nearer() -> None:
    levels = path(-10, 5, 40)
    truth = MIXTURE.transport(X, levels[0], levels[-1])
    ours, published = (
        float((sample(MIXTURE, X, levels, DPMpp3M(flag)) - truth).abs().mean())
        for flag in (False, True)
    )
    assert ours < 0.6 * published


def swapped(by_index: bool) -> tuple[float, float]:
    """Mean and variance when a model of one table is run on the levels of another."""
    trained, sampled = PROCESSES["linear"](), PROCESSES["cosine"]()
    levels = GRIDS["subchain"](sampled, 100)

    def denoise(x: Tensor, level: Level) -> Estimate:
        if not by_index:
            return MIXTURE(x, level)
        index = sampled.time(level.log_snr)
        return from_x0(MIXTURE(x, trained(index)).x0, x, level)  # believes its own table

    z = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400)[:, None]
    end = sample(denoise, z, levels, Heun(FLOW))
    return float(end.mean()), float(end.var())


def test_a_swap_of_schedules_keeps_the_law_by_level_and_ruins_it_by_index() -> None:
    # A8 and E12.
    want = float(MIXTURE.mean), float(MIXTURE.covariance)
    assert swapped(by_index=False) == pytest.approx(want, abs=0.01)
    mean, variance = swapped(by_index=True)
    assert abs(mean - want[0]) + abs(variance - want[1]) > 0.15


def as_network(law: Mixture) -> Denoiser:
    """The law behind ``Model``: a network that knows only x on the unit scale and log_snr/8."""
    from ornstein.core import V
    from ornstein.model import Model

    class Perfect(torch.nn.Module):
        def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
            level = Level(*((sign * 8 * noise).sigmoid().sqrt() for sign in (1, -1)))
            scale = level.norm[:, None]
            exact = law(x * scale, level)
            return V().of(exact.x0, exact.eps, level)

    return Model(Perfect(), V()).given({})


@pytest.mark.parametrize("process", PROCESSES)
def test_one_model_samples_the_law_on_every_process(process: str) -> None:
    levels = GRIDS["log-snr"](PROCESSES[process](), 60)
    start = levels[0]
    z = torch.special.ndtri((torch.arange(200, dtype=torch.float64) + 0.5) / 200)[:, None]
    x = MIXTURE.transport(z, Level(0.0, 1.0), start)  # type: ignore[arg-type]
    end = sample(as_network(MIXTURE), x, levels, SOLVERS["dpmpp-2m"]())
    truth = MIXTURE.transport(z, Level(0.0, 1.0), Level(1.0, 0.0))  # type: ignore[arg-type]
    assert float((end - truth).abs().mean()) < 0.03
    assert float(end.var()) == pytest.approx(float(truth.var()), abs=0.03)
