"""Transition, bridge and path against Bayes' rule and printed formulas (B2, B3, A3, E1, E3)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.core import (
    DDPM,
    PROCESSES,
    Draw,
    Level,
    bridge,
    forward_path,
    transition,
)
from ornstein.errors import LevelError

x0 = torch.linspace(-1.5, 2.0, 6, dtype=torch.float64)[:, None]
x = torch.cos(5 * x0)
rng = np.random.default_rng(1)
PAIRS = [
    (name, *sorted(rng.uniform(0.002, 0.999, 2).round(4))) for name in PROCESSES for _ in range(5)
]


@pytest.mark.parametrize(("name", "early", "late"), PAIRS)
def test_the_bridge_is_bayes_rule(name: str, early: float, late: float) -> None:
    # q(x_s | x_t, x0) ~ q(x_t | x_s)·q(x_s | x0): precisions add up (B2).
    process = PROCESSES[name]()
    s, t = process(early), process(late)
    a = t.alpha / s.alpha
    v = t.sigma**2 - a**2 * s.sigma**2
    precision = a**2 / v + 1 / s.sigma**2
    mean = (a * x / v + s.alpha * x0 / s.sigma**2) / precision
    law = bridge(x, x0, t, s)
    # v is a difference, which is where this road (not the bridge) loses digits.
    lost = float(1e-15 * t.sigma**2 / v)
    torch.testing.assert_close(law.mean, mean, rtol=1e-12 + lost, atol=1e-12 + lost)
    torch.testing.assert_close(law.lower, 1 / precision, rtol=1e-12 + lost, atol=0)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("k", [2, 10, 100, 500, 999])
def test_on_a_chain_the_bridge_is_the_posterior_of_ddpm(name: str, k: int) -> None:
    chain = PROCESSES[name]()
    assert isinstance(chain, DDPM)
    betas = chain.betas.numpy()
    before, after = np.prod(1 - betas[: k - 1]), np.prod(1 - betas[:k])
    beta = betas[k - 1]
    mean = (
        math.sqrt(before) * beta / (1 - after) * x0
        + math.sqrt(1 - beta) * (1 - before) / (1 - after) * x
    )
    law = bridge(x, x0, chain(k / 1000), chain((k - 1) / 1000))
    torch.testing.assert_close(law.mean, mean, rtol=1e-9, atol=1e-11)
    assert float(law.lower) == pytest.approx(beta * (1 - before) / (1 - after), rel=1e-9)
    assert float(law.upper) == pytest.approx(beta, rel=1e-9)


@pytest.mark.parametrize(("name", "early", "late"), PAIRS)
def test_the_upper_variance_is_right_for_data_of_unit_variance(
    name: str, early: float, late: float
) -> None:
    # B3: x0 ~ N(0, 1), so (x_s, x_t) is a Gaussian pair and Var(x_s | x_t) is known.
    process = PROCESSES[name]()
    s, t = process(early), process(late)
    a = t.alpha / s.alpha
    var_s, var_t = s.alpha**2 + s.sigma**2, t.alpha**2 + t.sigma**2
    conditional = var_s - (a * var_s) ** 2 / var_t
    slack = float(1e-14 * var_s / conditional)
    assert float(bridge(x, x0, t, s).upper) == pytest.approx(float(conditional), rel=1e-10 + slack)


@pytest.mark.parametrize(("name", "early", "late"), PAIRS)
def test_the_lower_variance_is_right_for_a_point_mass_and_the_smaller(
    name: str, early: float, late: float
) -> None:
    # B3: with x0 known, x_s given x_t is Gaussian of covariance from (x_s, x_t) given x0.
    process = PROCESSES[name]()
    s, t = process(early), process(late)
    a = t.alpha / s.alpha
    conditional = s.sigma**2 - (a * s.sigma**2) ** 2 / t.sigma**2
    law = bridge(x, x0, t, s)
    slack = float(1e-14 * s.sigma**2 / conditional)
    assert float(law.lower) == pytest.approx(float(conditional), rel=1e-10 + slack)
    assert float(law.lower) < float(law.upper)


def test_variance_between_the_bounds_is_their_interpolation_in_log() -> None:
    chain = DDPM.linear()
    law = bridge(x, x0, chain(0.3), chain(0.25))
    share = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
    low, high = math.log(float(law.lower)), math.log(float(law.upper))
    want = [math.exp(v * high + (1 - v) * low) for v in share.flatten().tolist()]
    assert law.between(share).flatten().tolist() == pytest.approx(want, rel=1e-12)


def test_the_bridge_to_clean_data_is_a_point() -> None:
    chain = DDPM.linear()
    law = bridge(x, x0, chain(0.001), chain(0.0))
    torch.testing.assert_close(law.mean, x0, rtol=0, atol=1e-15)
    assert float(law.lower) == 0


def test_the_bridge_from_pure_noise_forgets_x() -> None:
    flow = PROCESSES["flow"]()
    s = flow(0.4)
    law = bridge(x, x0, flow(1.0), s)
    torch.testing.assert_close(law.mean, 0.6 * x0)
    assert float(law.lower) == pytest.approx(0.16)


@pytest.mark.parametrize("pair", [(0.3, 0.3), (0.2, 0.3)])
def test_a_bridge_to_a_noisier_level_is_refused(pair: tuple[float, float]) -> None:
    flow = PROCESSES["flow"]()
    with pytest.raises(LevelError, match="must be cleaner"):
        bridge(x, x0, flow(pair[0]), flow(pair[1]))


@pytest.mark.parametrize("name", PROCESSES)
def test_two_transitions_make_one(name: str) -> None:
    r, s, t = (PROCESSES[name]()(time) for time in (0.1, 0.4, 0.8))
    first, second, whole = transition(r, s), transition(s, t), transition(r, t)
    assert float(first.scale * second.scale) == pytest.approx(float(whole.scale), rel=1e-12)
    together = second.scale**2 * first.variance + second.variance
    assert float(together) == pytest.approx(float(whole.variance), rel=1e-10)


def test_a_transition_of_the_chain_has_variance_beta() -> None:
    chain = DDPM.linear()
    kernel = transition(chain(499 / 1000), chain(500 / 1000))
    assert float(kernel.variance) == pytest.approx(float(chain.betas[499]), rel=1e-9)
    assert float(kernel.scale) == pytest.approx(math.sqrt(1 - float(chain.betas[499])))


@pytest.mark.parametrize(("k", "ratio"), [(2, 0.015), (10, 0.044), (100, 0.32)])
def test_erratum_e1_the_printed_posterior_variance_is_too_small(k: int, ratio: float) -> None:
    chain = DDPM.linear()
    t, s = chain(k / 1000), chain((k - 1) / 1000)
    beta = float(chain.betas[k - 1])
    right = float(bridge(x, x0, t, s).lower)
    printed = beta * float(s.sigma**2) / float(t.sigma)  # with a root below
    bayes = 1 / ((1 - beta) / beta + 1 / float(s.sigma**2))
    assert right == pytest.approx(bayes, rel=1e-8)
    assert printed / bayes == pytest.approx(ratio, rel=0.05)


@pytest.mark.parametrize(
    ("k", "ratio"), [(1, 1.0), (10, 2.6), (100, 7.0), (350, 10.1), (500, 9.6)]
)
def test_erratum_e3_the_printed_step_of_algorithm_2_is_too_big(k: int, ratio: float) -> None:
    chain = DDPM.linear()
    t, s = chain(k / 1000), chain((k - 1) / 1000)
    beta = float(chain.betas[k - 1])
    eps = torch.sin(3 * x0)
    point = t.mix(x0, eps)
    right = (point - beta / float(t.sigma) * eps) / math.sqrt(1 - beta)
    torch.testing.assert_close(bridge(point, x0, t, s).mean, right, rtol=1e-9, atol=1e-10)
    printed = beta / math.sqrt(1 - (1 - beta))
    assert printed / (beta / float(t.sigma)) == pytest.approx(ratio, rel=0.02)


class Impulses:
    """At step k, unit noise in row k of the batch and none elsewhere."""

    def at(self, step: int, /) -> Draw:
        def draw(x: Tensor) -> Tensor:
            unit = torch.zeros_like(x)
            unit[step] = 1
            return unit

        return draw


@pytest.mark.parametrize("name", ["linear", "vp", "subvp", "ve", "edm", "flow"])
def test_covariance_along_a_path_is_that_of_the_markov_chain(name: str) -> None:
    # A3. A path is linear in its noise, so unit impulses give its covariance without sampling.
    times = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.05], dtype=torch.float64)
    levels = PROCESSES[name]()(times)
    response = forward_path(torch.zeros(5, 1, dtype=torch.float64), levels, Impulses())[:, :, 0]
    got = response @ response.T
    for i in range(5):
        for j in range(i, 5):  # level j is cleaner than level i
            kept = 1 if i == j else levels.alpha[i] / levels.alpha[j]
            want = kept * levels.sigma[j] ** 2
            assert float(got[i, j]) == pytest.approx(float(want), rel=1e-9)


def test_the_mean_of_a_path_follows_alpha_and_ends_at_the_data() -> None:
    class Silence:
        def at(self, step: int, /) -> Draw:
            return torch.zeros_like

    levels = DDPM.linear(50).levels
    path = forward_path(x0, levels, Silence())
    torch.testing.assert_close(path, levels.alpha[:, None, None] * x0)
    torch.testing.assert_close(path[-1], x0, rtol=0, atol=0)


def test_a_path_needs_levels_from_noise_to_data() -> None:
    flow = PROCESSES["flow"]()
    up = Level(
        *(torch.stack([getattr(flow(t), k) for t in (0.1, 0.9)]) for k in ("alpha", "sigma"))
    )
    with pytest.raises(LevelError, match="grow cleaner"):
        forward_path(x0, up, Impulses())
