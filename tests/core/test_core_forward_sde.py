"""The forward SDE by Euler-Maruyama against the closed kernels (MISSION A10, A11, A13, E5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ornstein.core import PROCESSES, Draw, ItemNoise, forward_path, forward_sde
from ornstein.errors import LevelError

START = torch.tensor(1.5, dtype=torch.float64)


class Impulses:
    """At step k, noise of one size in row k of the batch and none elsewhere."""

    def __init__(self, size: float = 1.0) -> None:
        self.size = size

    def at(self, step: int, /) -> Draw:
        def draw(x: Tensor) -> Tensor:
            unit = torch.zeros_like(x)
            unit[step] = self.size
            return unit

        return draw


def law(name: str, steps: int, last: float, size: float = 1.0) -> tuple[float, float]:
    """Mean and variance at the last time for x0 = 1.5: the scheme is linear in its noise."""
    times = torch.linspace(0, last, steps + 1, dtype=torch.float64)
    x0 = torch.cat([START.expand(1), torch.zeros(steps + 1)])[:, None].double()
    silent = forward_sde(PROCESSES[name](), x0[:1], times, Silence())
    rows = forward_sde(PROCESSES[name](), torch.zeros_like(x0), times, Impulses(size))
    return float(silent[-1, 0]), float((rows[-1] ** 2).sum())


class Silence:
    def at(self, step: int, /) -> Draw:
        return torch.zeros_like


@pytest.mark.parametrize(
    ("name", "last"), [("vp", 1.0), ("subvp", 1.0), ("ve", 1.0), ("edm", 1.0), ("flow", 0.9)]
)
def test_euler_maruyama_tends_to_the_kernel_at_the_first_order(name: str, last: float) -> None:
    # A10: q(x_t | x0) = N(alpha·x0, sigma²), which for VP is 1 - exp(-integral of beta).
    level = PROCESSES[name]()(last)
    want = float(level.alpha * START), float(level.sigma**2)
    gaps = [
        [abs(a - b) / want[1] for a, b in zip(law(name, steps, last), want, strict=True)]
        for steps in (200, 400)
    ]
    for coarse, fine in zip(*gaps, strict=True):
        assert fine < 0.03
        if coarse > 1e-9:
            assert math.log2(coarse / fine) == pytest.approx(1, abs=0.15)


def test_erratum_e5_the_printed_increments_lose_the_noise() -> None:
    # Increments of deviation g·dt for g·sqrt(dt): half the step, half the variance, 0 in the end.
    sigma2 = float(PROCESSES["vp"]()(1.0).sigma ** 2)
    printed = [law("vp", steps, 1.0, size=(1 / steps) ** 0.5)[1] for steps in (200, 400)]
    assert printed[0] < 0.01 * sigma2
    assert printed[1] == pytest.approx(printed[0] / 2, rel=0.05)
    assert law("vp", 400, 1.0)[1] == pytest.approx(sigma2, rel=0.02)


def test_simulated_points_have_the_law_of_the_exact_path() -> None:
    # Fresh noise at each step, in two dimensions, compared at two times at once.
    process, count = PROCESSES["vp"](), 4_000
    x0 = torch.full((count, 2), 0.8, dtype=torch.float64)
    times = torch.linspace(0, 0.5, 51, dtype=torch.float64)
    path = forward_sde(process, x0, times, ItemNoise(5, range(count)))
    for k in (25, 50):
        level = process(times[k])
        assert float((path[k] - level.alpha * x0).std() / level.sigma) == pytest.approx(
            1, abs=0.03
        )
    early, late = process(times[25]), process(times[50])
    product = (path[25] - early.alpha * x0) * (path[50] - late.alpha * x0)
    want = float(late.alpha / early.alpha * early.sigma**2)
    assert float(product.mean()) == pytest.approx(want, rel=0.06)


@pytest.mark.parametrize("times", [[0.0, 0.5, 0.5], [0.5, 0.2]])
def test_times_that_do_not_rise_are_refused(times: list[float]) -> None:
    with pytest.raises(LevelError, match="must rise"):
        forward_sde(PROCESSES["vp"](), torch.ones(1, 1), torch.tensor(times), Silence())


def test_any_law_becomes_the_prior_under_the_repeated_kernel() -> None:
    """A13: a spiral in the plane; Kolmogorov's distance of its coordinates from N(0, 1)."""
    angle = 3 * math.pi * (0.5 + np.random.default_rng(0).uniform(size=5000))
    roll = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1)
    roll = torch.tensor((roll - roll.mean(0)) / roll.std(0))
    path = forward_path(roll, PROCESSES["linear"]().levels[::100], ItemNoise(2, range(5000)))
    gaps = [
        max(stats.kstest(x[:, axis].numpy(), "norm").statistic for axis in (0, 1)) for x in path
    ]
    assert gaps[-1] > 0.05  # the data, last of the path
    assert gaps[0] < 1.63 / 5000**0.5  # the noise: no difference at the 1 % level
    assert gaps[0] < gaps[-1] / 2
