"""One step of every solver, and one model on every schedule (A8, B9, E12)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ornstein.core import (
    GRIDS,
    PROCESSES,
    Denoiser,
    Estimate,
    Level,
    Mixture,
    V,
    from_x0,
    item_normal,
)
from ornstein.model import Model
from ornstein.solvers import DATA, DDIM, FLOW, RHO, SOLVERS, Ancestral, Frame, Heun, sample
from ornstein.testing.affine import Given

MIXTURE = Mixture(
    *(torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4]))
)
X = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
QUANTILES = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400)[:, None]
PURE, CLEAN = (
    Level(torch.tensor(0.0), torch.tensor(1.0)),
    Level(torch.tensor(1.0), torch.tensor(0.0)),
)


def path(first: float, last: float, steps: int) -> Level:
    """Uniform in log-SNR on the variance-preserving scale; the end is not clean."""
    log_snr = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    return Level(log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt())


TO_THE_END = {"flow-ab-2", "flow-ab-3", "lms", "ipndm"}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_both_ends_are_finite_and_the_last_step_is_the_estimate_of_x0(
    name: str, steps: int
) -> None:
    # B9: pure noise at the start, clean data at the end, no noise in the last step. Where the
    # solver's clock reaches clean data, earlier answers have a say in the last step.
    levels = GRIDS["uniform"](PROCESSES["flow"](), steps)
    asked: list[tuple[Tensor, Level]] = []

    def listen(x: Tensor, level: Level) -> Estimate:
        asked.append((x, level))
        return MIXTURE(x, level)

    end = sample(listen, X, levels, SOLVERS[name]())
    assert bool(torch.isfinite(end).all())
    x, level = asked[-1]
    assert float(level.sigma) == float(levels.sigma[-2])
    if name not in TO_THE_END or steps == 1:
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


# Asks above each level, where its noise has brought the point.
ABOVE = {"churn"}


@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in ABOVE])
def test_the_denoiser_is_asked_at_the_levels_of_the_grid_in_order(name: str) -> None:
    # A peer derives the next level from the number of steps, and its own list of levels disagrees.
    levels = GRIDS["trailing"](PROCESSES["linear"](), 9)
    asked: list[float] = []

    def listen(x: Tensor, level: Level) -> Estimate:
        asked.append(float(level.rho))
        return MIXTURE(x, level)

    sample(listen, X, levels, SOLVERS[name]())
    per_step = SOLVERS[name]().evaluations
    assert asked[::per_step] == levels.rho[:-1].tolist()
    for step in range(9):  # a second question of a step lies within it
        inside = asked[per_step * step + 1 : per_step * (step + 1)]
        last = (1 - 1e-9) * levels.rho[step + 1]
        assert all(levels.rho[step] >= rho >= last for rho in inside)


@pytest.mark.parametrize("frame", [RHO, DATA, FLOW])
def test_euler_in_every_straight_frame_is_ddim(frame: Frame) -> None:
    levels = GRIDS["uniform"](PROCESSES["subvp"](), 7)
    x = X
    for i in range(6):
        t, s = levels[i], levels[i + 1]
        slope = frame.slope(MIXTURE(x, t), t)
        x = x / frame.scale(t) * frame.scale(s) + frame.stride(t, s) * slope
    torch.testing.assert_close(x, sample(MIXTURE, X, levels[:-1], DDIM()), rtol=1e-10, atol=1e-12)


def test_ddim_with_all_the_noise_is_the_ancestral_step_of_small_variance() -> None:
    levels = GRIDS["karras"](PROCESSES["subvp"](), 9)
    draws = [item_normal(0, range(len(X)), (1,), step=k).double()[None] for k in range(9)]
    one, other = (
        sample(MIXTURE, X, levels, solver, Given(draws)) for solver in (DDIM(1.0), Ancestral())
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_ddim_with_no_noise_left_tends_to_ddim() -> None:
    # A peer's DDIM with added variance takes x0 at the wrong level and does not.
    levels = GRIDS["karras"](PROCESSES["vp"](), 9)
    draws = [torch.ones_like(X)[None]] * 9
    almost = sample(MIXTURE, X, levels, DDIM(1e-9), Given(draws))
    torch.testing.assert_close(almost, sample(MIXTURE, X, levels, DDIM()), rtol=0, atol=1e-7)


def swapped(by_index: bool) -> tuple[float, float]:
    """Mean and variance when a model of one table is run on the levels of another."""
    trained, sampled = PROCESSES["linear"](), PROCESSES["cosine"]()
    levels = GRIDS["subchain"](sampled, 100)

    def denoise(x: Tensor, level: Level) -> Estimate:
        if not by_index:
            return MIXTURE(x, level)
        index = sampled.time(level.log_snr)
        return from_x0(MIXTURE(x, trained(index)).x0, x, level)  # believes its own table

    end = sample(denoise, QUANTILES, levels, Heun(FLOW))
    return float(end.mean()), float(end.var())


def test_a_swap_of_schedules_keeps_the_law_by_level_and_ruins_it_by_index() -> None:
    # A8 and E12.
    want = float(MIXTURE.mean), float(MIXTURE.covariance)
    assert swapped(by_index=False) == pytest.approx(want, abs=0.01)
    mean, variance = swapped(by_index=True)
    assert abs(mean - want[0]) + abs(variance - want[1]) > 0.15


def as_network(law: Mixture) -> Denoiser:
    """The law behind ``Model``: a network that knows only x on the unit scale and log_snr/8."""

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
    x = MIXTURE.transport(QUANTILES, PURE, levels[0])
    end = sample(as_network(MIXTURE), x, levels, SOLVERS["dpmpp-2m"]())
    truth = MIXTURE.transport(QUANTILES, PURE, CLEAN)
    assert float((end - truth).abs().mean()) < 0.03
    assert float(end.var()) == pytest.approx(float(truth.var()), abs=0.03)
