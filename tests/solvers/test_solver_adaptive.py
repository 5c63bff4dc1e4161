"""The adaptive integrator: what scipy and torchdiffeq find, item by item."""

from __future__ import annotations

import math

import laws
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ornstein.core import Gaussian, Level, Mixture
from ornstein.errors import DivergedError, LevelError
from ornstein.solvers.adaptive import Parts, flow, integrate

MIXTURE = Mixture(*(torch.tensor(part, dtype=torch.float64) for part in laws.GMM3))
LINE = Mixture(*(torch.tensor(part, dtype=torch.float64) for part in laws.GMM1))
PURE = Level(torch.tensor(0.0), torch.tensor(1.0))
NEAR = Level(torch.tensor(1.0), torch.tensor(0.01))  # hardly any noise
STARTS = torch.tensor([[2.0, 0.0], [0.5, 1.0], [-1.0, 2.0], [1e-3, 0.0]], dtype=torch.float64)


def van_der_pol(parts: Parts, time: Tensor) -> Parts:
    (y,) = parts
    return (torch.stack([y[:, 1], 3 * (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]], 1),)


def alone(time: float, y: np.ndarray) -> np.ndarray:
    return np.array([y[1], 3 * (1 - y[0] ** 2) * y[1] - y[0]])


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
@pytest.mark.parametrize("ends", [(0.0, 5.0), (0.3, 0.0)])
def test_each_item_is_scipys_rk45_to_rounding_with_as_many_evaluations(
    ends: tuple[float, float], tolerance: float
) -> None:
    got = integrate(van_der_pol, (STARTS,), *ends, rtol=tolerance, atol=tolerance)
    for k, start in enumerate(STARTS.numpy()):
        want = solve_ivp(alone, ends, start, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(got.parts[0][k], want.y[:, -1], rtol=1e-9, atol=1e-9)
        assert int(got.evaluations[k]) == want.nfev


def test_an_empty_batch_arrives_empty() -> None:
    got = flow(MIXTURE, torch.zeros(0, 2, dtype=torch.float64), PURE, NEAR)
    assert got.parts[0].shape == (0, 2)
    assert got.evaluations.shape == got.errors[0].shape == (0,)


def test_the_flow_of_a_mixture_is_that_of_a_method_of_eighth_order() -> None:
    x = torch.tensor(np.random.default_rng(1).normal(size=(6, 2)))
    got = flow(MIXTURE, x, PURE, NEAR, rtol=1e-8, atol=1e-8)

    def slope(time: float, z: np.ndarray) -> np.ndarray:
        # On y = x/alpha against log rho, numpy alone: dy/dlog rho = y - D.
        rho = math.exp(time)
        return z - laws.mixture(laws.GMM3)(z[None], 1.0, rho)[0]

    for k in range(len(x)):
        ends = math.log(1e6), math.log(0.01)
        want = solve_ivp(slope, ends, 1e6 * x[k].numpy(), method="DOP853", rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(got.parts[0][k], want.y[:, -1], rtol=0, atol=3e-6)


def test_the_flow_agrees_with_torchdiffeq() -> None:
    torchdiffeq = pytest.importorskip("torchdiffeq")
    x = torch.tensor(np.random.default_rng(2).normal(size=(1, 2)))

    def slope(time: Tensor, z: Tensor) -> Tensor:
        estimate = MIXTURE(z, Level(1 - time, time))
        return estimate.eps - estimate.x0

    times = torch.tensor([1.0, 0.01], dtype=torch.float64)
    end = torchdiffeq.odeint(slope, x, times, rtol=1e-9, atol=1e-9, method="dopri5")[-1]
    level = Level(0.99, 0.01)
    got = flow(MIXTURE, x, PURE, level, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(got.parts[0], end, rtol=0, atol=1e-7)


def test_an_item_does_not_notice_the_batch_it_is_in() -> None:
    x = torch.tensor(np.random.default_rng(3).normal(size=(8, 2))) * 3
    together = flow(MIXTURE, x, PURE, NEAR)
    assert len(set(together.evaluations.tolist())) > 2  # they do walk at different paces
    for k in range(8):
        single = flow(MIXTURE, x[k : k + 1], PURE, NEAR)
        torch.testing.assert_close(single.parts[0][0], together.parts[0][k], rtol=0, atol=1e-12)
        assert int(single.evaluations) == int(together.evaluations[k])
        assert float(single.errors[0]) == pytest.approx(float(together.errors[0][k]), rel=1e-6)


def test_the_error_follows_the_tolerance_and_the_estimate_the_error() -> None:
    # The truth is the map that keeps the distribution function.
    x = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
    truth = LINE.transport(x, PURE, NEAR)
    worst = []
    for tolerance in (1e-6, 1e-8):
        got = flow(LINE, x, PURE, NEAR, rtol=tolerance, atol=tolerance)
        error = (got.parts[0] - truth).abs()[:, 0]
        assert float((error / got.errors[0]).median()) < 1
        worst.append(float(error.max()))
    assert worst[0] < 2e-4
    assert worst[1] < 1e-6


def test_the_log_density_rides_along_as_a_second_part() -> None:
    # d log p/d clock = -divergence; for a Gaussian in z = x/(alpha + sigma) all is known.
    law = Gaussian(torch.tensor(laws.GAUSS3_MEAN), torch.tensor(laws.GAUSS3_COVARIANCE))
    t, s = Level(0.98, 0.02), Level(0.05, 0.95)

    def slope(parts: Parts, clock: Tensor) -> Parts:
        z, _ = parts
        at = Level(1 - clock, clock)
        estimate = law(z, at)
        a, b = at.alpha[:, None], at.sigma[:, None]
        spectrum = law.eigenvalues[0]
        # eps - x0 is linear in z, with this trace.
        trace = ((b - a * spectrum) / (a**2 * spectrum + b**2)).sum(1)
        return estimate.eps - estimate.x0, -trace

    x = law.sample(5, torch.Generator().manual_seed(0))
    start = law.log_prob(x, t)
    end = integrate(slope, (x, start), t.sigma, s.sigma, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(end.parts[0], law.flow(x, t, s), rtol=0, atol=1e-7)
    torch.testing.assert_close(end.parts[1], law.log_prob(end.parts[0], s), rtol=0, atol=1e-7)


def test_there_and_back_again_with_levels_of_each_items_own() -> None:
    x = torch.tensor(np.random.default_rng(4).normal(size=(4, 2)))
    sigma = torch.tensor([0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
    low, high = Level(torch.ones(4), sigma), Level(torch.ones(4), 20 * sigma)
    up = flow(MIXTURE, x, low, high, rtol=1e-8, atol=1e-8).parts[0]
    down = flow(MIXTURE, up, high, low, rtol=1e-8, atol=1e-8).parts[0]
    torch.testing.assert_close(down, x, rtol=0, atol=1e-6)
    single = flow(MIXTURE, x[2:3], low[2], high[2], rtol=1e-8, atol=1e-8).parts[0]
    torch.testing.assert_close(up[2:3], single, rtol=0, atol=1e-12)


def test_no_way_to_go_asks_nothing_of_it() -> None:
    end = integrate(van_der_pol, (STARTS,), 1.0, torch.tensor([1.0, 2.0, 1.0, 2.0]))
    assert torch.equal(end.parts[0][::2], STARTS[::2])
    assert end.evaluations[::2].tolist() == [0, 0]
    assert bool(torch.isfinite(end.parts[0]).all())


def test_pictures_in_single_precision_stay_so() -> None:
    def halve(parts: Parts, time: Tensor) -> Parts:
        return (-math.log(2) * parts[0],)

    x = torch.randn(3, 1, 4, 4)
    (end,) = integrate(halve, (x,), 0.0, 1.0).parts
    assert end.dtype == torch.float32
    torch.testing.assert_close(end, x / 2, rtol=1e-4, atol=1e-5)


def test_a_slope_that_is_not_finite_is_an_error_that_names_the_item() -> None:
    def broken(parts: Parts, time: Tensor) -> Parts:
        bad = (torch.arange(len(time)) == 2) & (time > 0.5)
        return (torch.where(bad[:, None], math.nan, -parts[0]),)

    with pytest.raises(DivergedError, match=r"item 2 .* at time 0\.5"):
        integrate(broken, (STARTS,), 0.0, 1.0)


@pytest.mark.parametrize("clean", [0, 1])
def test_clean_levels_are_refused(clean: int) -> None:
    levels = [PURE, NEAR]
    levels[clean] = Level(1.0, 0.0)
    with pytest.raises(LevelError, match="is clean"):
        flow(MIXTURE, STARTS, *levels)
