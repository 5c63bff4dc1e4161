"""Weights and laws of levels against each paper's own formula (B6, B18)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from ornstein.core import EDM, PROCESSES, VP, Flow, Level, generator
from ornstein.training.objective import LAWS, WEIGHTS, LogNormal, UniformTime, stratified

LOG_SNR = torch.linspace(-8, 8, 33, dtype=torch.float64)
LEVELS = Level(torch.sigmoid(LOG_SNR).sqrt(), torch.sigmoid(-LOG_SNR).sqrt())

# As the papers print them, on the squared error of eps.
PRINTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "simple": np.ones_like,
    "likelihood": np.ones_like,
    "x0": lambda snr: 1 / snr,
    "edm": lambda snr: 1 + 1 / snr,
    "min-snr": lambda snr: np.minimum(1, 5 / snr),  # arXiv:2303.09556, section 3.4
    "truncated-snr": lambda snr: np.maximum(1, 1 / snr),  # arXiv:2202.00512, section 4
    "p2": lambda snr: 1 / (1 + snr),  # arXiv:2204.00227, eq. 8, k = gamma = 1
    "sigmoid": lambda snr: 1 / (1 + np.exp(np.log(snr) - 2)),  # arXiv:2303.00848, b = 2
}


@pytest.mark.parametrize("name", PRINTED)
def test_b6_a_weight_on_the_eps_error_is_the_paper_s(name: str) -> None:
    snr = LOG_SNR.exp().numpy()
    np.testing.assert_allclose(WEIGHTS[name](LEVELS).numpy() / snr, PRINTED[name](snr))


def test_soft_min_snr_is_k_diffusions_on_the_output_of_edm() -> None:
    # Its weight on F is (sigma·sd)²/(sigma² + sd²)², with sd = 1.
    rho = torch.tensor([0.01, 0.5, 1.0, 7.0, 80.0], dtype=torch.float64)
    on_x0 = WEIGHTS["soft-min-snr"](Level(torch.ones(5), rho))
    on_output = on_x0 / (1 + rho**-2)
    torch.testing.assert_close(on_output, rho**2 / (rho**2 + 1) ** 2)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_is_finite_and_positive_and_knows_the_ratio_only(name: str) -> None:
    weight = WEIGHTS[name](LEVELS)
    assert bool(((weight > 0) & torch.isfinite(weight)).all())
    scaled = WEIGHTS[name](Level(3 * LEVELS.alpha, 3 * LEVELS.sigma))
    torch.testing.assert_close(scaled, weight)


def test_log_normal_levels_have_the_stated_quantiles_on_every_process() -> None:
    u = torch.tensor(
        [0.0227501319, 0.5, 0.8413447461], dtype=torch.float64
    )  # normal CDF at -2, 0, 1
    for process in (EDM(), VP(), Flow()):
        log_rho = LogNormal(-0.4, 0.7)(u, process).rho.log()
        torch.testing.assert_close(log_rho, torch.tensor([-1.8, -0.4, 0.3], dtype=torch.float64))


def test_the_log_normal_law_is_sd3s_logit_normal_time() -> None:
    u = stratified(1000, generator(5))
    level = LAWS["logit-normal"](0.3, 0.8)(u, Flow())
    cdf = stats.norm.cdf(torch.logit(level.sigma).numpy(), 0.3, 0.8)
    np.testing.assert_allclose(cdf, u.numpy(), rtol=1e-9, atol=1e-9)


def test_uniform_time_spreads_evenly_over_the_span() -> None:
    u = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(
        UniformTime()(u, Flow()).sigma, torch.linspace(0.001, 0.999, 5, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", PROCESSES)
def test_uniform_log_snr_spreads_evenly_over_the_span_of_any_process(name: str) -> None:
    process = PROCESSES[name]()
    low, high = process.span
    got = LAWS["log-snr"](0, 1)(torch.linspace(0, 1, 5, dtype=torch.float64), process).log_snr
    assert got.tolist() == pytest.approx(np.linspace(high, low, 5).tolist(), abs=1e-6)


def test_log_snr_is_the_importance_sampling_of_time_by_g2_over_sigma2() -> None:
    # arXiv:2101.09258, section 4.3: p(t) ~ g²(t)/sigma²(t). The share of time before t is its CDF.
    process = VP()
    times = process.time(LAWS["log-snr"](0, 1)(stratified(4000, generator(2)), process).log_snr)
    low, high = process.span
    fine = torch.linspace(*(float(process.time(end)) for end in (high, low)), 200_001).double()
    p = process.diffusion2(fine) / process(fine).sigma ** 2
    cdf = np.interp(times.numpy(), fine.numpy(), (p.cumsum(0) / p.sum()).numpy())
    assert stats.kstest(cdf, "uniform").statistic < 0.01


def test_cosine_levels_are_sd3s_cosmap_times_on_a_flow() -> None:
    # arXiv:2403.03206, eq. 21: t = 1 - 1/(tan(pi·u/2) + 1), density 2/(pi - 2·pi·t + 2·pi·t²).
    u = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    t = LAWS["cosine"](0, 1)(u, Flow()).sigma.numpy()
    np.testing.assert_allclose(t, 1 - 1 / (np.tan(np.pi * u.numpy() / 2) + 1), rtol=1e-12)
    fine = np.linspace(0, t[3], 100_001)
    density = 2 / (np.pi - 2 * np.pi * fine + 2 * np.pi * fine**2)
    assert np.trapezoid(density, fine) == pytest.approx(float(u[3]), rel=1e-6)


def test_stratified_draws_hit_every_cell_once_and_are_uniform() -> None:
    draws = stratified(64, generator(1))
    assert torch.equal((draws * 64).floor(), torch.arange(64, dtype=torch.float64))
    inside = torch.cat([stratified(64, generator(1, k)) * 64 % 1 for k in range(200)])
    assert float(inside.mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / len(inside)) ** 0.5)


def test_an_offset_for_each_cell_errs_less_than_the_paper_s_shared_one() -> None:
    # Means of u² over batches of 16 and 64: variance falls as n^-3, with one offset as n^-2.
    source = np.random.default_rng(0)
    variance = {}
    for n in (16, 64):
        ours = [float(stratified(n, generator(n, k)).square().mean()) for k in range(400)]
        shared = [(((source.random() + np.arange(n)) / n) ** 2).mean() for _ in range(400)]
        alone = (source.random((400, n)) ** 2).mean(1)
        variance[n] = [np.var(x) for x in (ours, shared, alone)]
        assert variance[n] == sorted(variance[n])
    falls = [np.log(a / b) / np.log(4) for a, b in zip(variance[16], variance[64], strict=True)]
    assert falls == pytest.approx([3, 2, 1], abs=0.3)
