"""Forward processes against closed forms of the papers (MISSION A1-A10, E2, E6, E12)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ornstein.core import DDPM, EDM, PROCESSES, VE, VP, Flow, Level, Process, SubVP, prior_kl
from ornstein.errors import LevelError

# Away from the knots of the tables, where beta(t) jumps, and from both ends.
INSIDE = torch.tensor([0.01234, 0.2221, 0.50037, 0.77717, 0.98765], dtype=torch.float64)
every_process = pytest.mark.parametrize("process", [make() for make in PROCESSES.values()])


@every_process
def test_time_is_the_inverse_of_the_schedule_at_both_ends_too(process: Process) -> None:
    t = torch.cat([torch.zeros(1), INSIDE, torch.ones(1)])
    torch.testing.assert_close(process.time(process(t).log_snr), t, rtol=0, atol=1e-12)
    assert float(process.time(process(1.0).log_snr)) == pytest.approx(1, abs=1e-12)


@every_process
def test_log_snr_falls_strictly_with_time(process: Process) -> None:
    t = torch.linspace(0, 1, 5001, dtype=torch.float64)
    fall = process(t).log_snr.diff()
    assert bool((fall < 0).all())


@every_process
def test_clean_data_have_no_noise_of_negative_sign(process: Process) -> None:
    """A chain began at sigma = -0: equal to 0, but 1/rho was -inf, and it was shown as -0."""
    levels = process(torch.tensor([0.0, 0.5], dtype=torch.float64))
    assert not bool(torch.signbit(torch.stack([levels.alpha, levels.sigma])).any())


@every_process
def test_span_lies_within_the_process_and_is_finite(process: Process) -> None:
    low, high = process.span
    assert -math.inf < low < high < math.inf
    t = process.time(torch.tensor([low, high], dtype=torch.float64))
    assert bool(((t >= -1e-12) & (t <= 1 + 1e-12)).all())
    got = process.level(torch.tensor([low, high], dtype=torch.float64)).log_snr
    assert got.tolist() == pytest.approx([low, high], abs=1e-9)


@every_process
def test_drift_and_diffusion_are_the_slopes_of_alpha_and_sigma(process: Process) -> None:
    # d alpha = f·alpha·dt and d sigma² = (2·f·sigma² + g²)·dt, by central differences.
    h = 1e-7
    up, down, here = process(INSIDE + h), process(INSIDE - h), process(INSIDE)
    f = (up.alpha - down.alpha) / (2 * h) / here.alpha
    g2 = (up.sigma**2 - down.sigma**2) / (2 * h) - 2 * f * here.sigma**2
    torch.testing.assert_close(process.drift(INSIDE), f, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(process.diffusion2(INSIDE), g2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("process", "drift", "diffusion2"),
    [
        (VP(), lambda t: -0.5 * (0.1 + 19.9 * t), lambda t: 0.1 + 19.9 * t),
        (
            SubVP(),
            lambda t: -0.5 * (0.1 + 19.9 * t),
            lambda t: (0.1 + 19.9 * t) * (1 - np.exp(-2 * (0.1 * t + 9.95 * t**2))),
        ),
        (
            VE(0.01, 50),
            lambda t: 0 * t,
            lambda t: 2 * (0.01 * 5000**t) ** 2 * math.log(5000),
        ),
        (EDM(0.002, 80), lambda t: 0 * t, lambda t: 2 * 80**2 * t),
        (Flow(), lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
    ],
    ids=["vp", "subvp", "ve", "edm", "flow"],
)
def test_drift_and_diffusion_are_those_of_the_papers(process, drift, diffusion2) -> None:  # noqa: ANN001
    t = INSIDE.numpy()
    assert process.drift(INSIDE).numpy() == pytest.approx(drift(t), rel=1e-9, abs=1e-12)
    assert process.diffusion2(INSIDE).numpy() == pytest.approx(diffusion2(t), rel=1e-9)


def test_diffusion_is_finite_at_data_where_sigma_has_no_slope() -> None:
    assert float(VP().diffusion2(0.0)) == pytest.approx(0.1)
    first = DDPM.linear()
    assert float(first.diffusion2(0.0)) == pytest.approx(-math.log(1 - 1e-4) * 1000)


def test_sub_vp_has_the_alpha_of_vp_and_never_more_noise() -> None:
    # One peer prints alpha = 1 and no drift. arXiv:2011.13456, eq. 29.
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    total = 0.1 * t + 9.95 * t**2
    level = SubVP()(t)
    torch.testing.assert_close(level.alpha, torch.exp(-total / 2))
    torch.testing.assert_close(level.sigma, 1 - torch.exp(-total))
    assert bool((level.sigma < VP()(t).sigma).all())


def test_linear_betas_give_the_reference_numbers() -> None:
    # A4.
    chain = DDPM.linear()
    assert float(chain(0.5).alpha ** 2) == pytest.approx(0.07859, abs=5e-6)
    assert float(chain(1.0).alpha ** 2) == pytest.approx(4.04e-5, abs=5e-8)
    assert float(chain(1.0).log_snr) == pytest.approx(-10.12, abs=5e-3)
    assert (float(chain.betas[0]), float(chain.betas[-1])) == pytest.approx((1e-4, 0.02))


def test_cosine_betas_give_the_reference_numbers_and_are_capped() -> None:
    # A5.
    chain = DDPM.cosine()
    assert float(chain(0.5).alpha ** 2) == pytest.approx(0.49384, abs=5e-6)
    assert float(chain.betas.max()) == 0.999


def test_a_shorter_linear_table_ends_in_as_much_noise() -> None:
    log_snr = [float(DDPM.linear(steps)(1.0).log_snr) for steps in (100, 250, 4000)]
    assert log_snr == pytest.approx([-10.12] * 3, abs=1.1)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_chain_keeps_the_moments_of_the_closed_form_at_every_step(name: str) -> None:
    # A1 = A2: x_k = sqrt(1 - beta)·x + sqrt(beta)·z from N(m, v), moments carried exactly.
    chain = PROCESSES[name]()
    assert isinstance(chain, DDPM)
    m, v = 0.7, 0.3
    mean, variance, unit = m, v, 1.0
    level = chain(torch.arange(1, chain.steps + 1, dtype=torch.float64) / chain.steps)
    for k, beta in enumerate(chain.betas.tolist()):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        unit = (1 - beta) * unit + beta
        alpha, sigma = float(level.alpha[k]), float(level.sigma[k])
        assert (alpha * m, alpha**2 * v + sigma**2) == pytest.approx((mean, variance), rel=1e-9)
        assert unit == pytest.approx(alpha**2 + sigma**2, abs=1e-12)


def test_erratum_e2_noise_of_1_minus_alpha2_shrinks_unit_data_to_three_quarters() -> None:
    level = DDPM.linear()(torch.linspace(0, 1, 1001, dtype=torch.float64))
    printed = level.alpha**2 + (1 - level.alpha**2) ** 2
    right = level.alpha**2 + level.sigma**2
    assert float(printed.min()) == pytest.approx(0.75, abs=1e-4)
    torch.testing.assert_close(right, torch.ones_like(right), rtol=0, atol=1e-12)


def test_erratum_e6_vp_kernel_has_no_half_in_its_variance() -> None:
    # Simulate dx = -beta/2·x·dt + sqrt(beta)·dw for the variance alone: v' = beta·(1 - v).
    n = 200_000
    t = (np.arange(n) + 0.5) / n
    total = np.cumsum(0.1 + 19.9 * t) / n
    halfway = n // 4
    variance = 1 - math.exp(-total[halfway - 1])  # solves v' = beta·(1 - v), v(0) = 0
    level = VP()(0.25)
    assert float(level.sigma**2) == pytest.approx(variance, rel=1e-6)
    printed = 1 - math.exp(-0.5 * total[halfway - 1])
    assert printed < 0.75 * variance


@pytest.mark.parametrize(
    ("betas", "step"),
    [([0.1, 0.0, 0.2], 2), ([0.1, 1.0], 2), ([-0.1, 0.5], 1), ([0.1, 0.2, math.nan], 3),
     ([0.5, 0.5, 1e-18], 3)],
)  # fmt: skip
def test_a_wrong_beta_is_refused_by_its_step(betas: list[float], step: int) -> None:
    # A6.
    with pytest.raises(LevelError, match=f"step {step} of {len(betas)}"):
        DDPM(torch.tensor(betas, dtype=torch.float64))


def test_betas_that_are_no_row_are_refused() -> None:
    with pytest.raises(LevelError, match=r"shape \(1, 2\)"):
        DDPM(torch.tensor([[0.1, 0.2]]))


def test_linear_betas_for_twenty_steps_are_refused_with_advice() -> None:
    with pytest.raises(LevelError, match="more than 20 steps"):
        DDPM.linear(20)


@pytest.mark.parametrize("make", [lambda: VP(0.0, 20), lambda: VE(1, 1), lambda: EDM(80, 0.002)])
def test_settings_in_the_wrong_order_are_refused(make) -> None:  # noqa: ANN001
    with pytest.raises(LevelError, match="got"):
        make()


def test_between_two_levels_the_table_is_the_process_with_constant_beta() -> None:
    # Half a step of a chain is the step whose square it is: sqrt(1 - beta) is split evenly.
    chain = DDPM(torch.tensor([0.1, 0.4], dtype=torch.float64))
    assert float(chain(0.75).alpha ** 2) == pytest.approx(0.9 * math.sqrt(0.6))


def test_ve_transition_from_its_start_has_the_variance_of_the_paper() -> None:
    from ornstein.core import transition

    kernel = transition(VE()(0.0), VE()(0.6))
    sigma = 0.01 * 5000**0.6
    assert float(kernel.scale) == 1
    assert float(kernel.variance) == pytest.approx(sigma**2 - 0.01**2, rel=1e-12)


def test_erratum_e12_levels_swapped_by_index_differ_by_nats() -> None:
    k = torch.arange(1, 1000, dtype=torch.float64) / 1000
    gap = DDPM.cosine()(k).log_snr - DDPM.linear()(k).log_snr
    linear, cosine = (float(p(0.5).log_snr) for p in (DDPM.linear(), DDPM.cosine()))
    assert (linear, cosine) == pytest.approx((-2.46, -0.02), abs=5e-3)
    assert float(gap.max()) == pytest.approx(4.51, abs=0.01)


def test_prior_kl_of_a_process_on_its_own_scale_is_the_kl_of_two_gaussians() -> None:
    # A9, VE: q(x_T | x0) = N(x0, s²) against N(0, s² + 1).
    level = VE(0.01, 50)(1.0)
    x0, s2 = 1.5, 2500.0
    p2 = s2 + 1
    want = math.log(math.sqrt(p2 / s2)) + (s2 + x0**2) / (2 * p2) - 0.5
    assert float(prior_kl(level, torch.tensor(x0**2))) == pytest.approx(want, rel=1e-5)
    assert float(prior_kl(Flow()(1.0), torch.tensor(7.0))) == 0  # nothing left of the data


def test_levels_hold_float64_whatever_they_are_made_of() -> None:
    level = Level(torch.tensor(1.0), torch.tensor([0.5, 0.25], dtype=torch.float32))
    assert (level.alpha.dtype, level.sigma.dtype) == (torch.float64, torch.float64)
    assert level.alpha.shape == (2,)


def test_ends_of_log_snr_are_infinite_and_legal() -> None:
    assert float(Flow()(0.0).log_snr) == math.inf
    assert float(Flow()(1.0).log_snr) == -math.inf
