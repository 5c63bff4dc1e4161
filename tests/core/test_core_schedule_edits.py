"""Tables edited: zero terminal SNR, shifts by resolution, kept levels (MISSION A5, A8, E13)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ornstein.core import DDPM, PROCESSES, Flow, Shifted, ZeroSNR
from ornstein.errors import LevelError

INSIDE = torch.tensor([0.0123, 0.2221, 0.50037, 0.77717, 0.98765], dtype=torch.float64)


def test_scaled_linear_betas_are_those_of_latent_diffusion() -> None:
    # configs/latent-diffusion of the paper: linear_start 0.00085, linear_end 0.0120, 1,000 steps.
    betas = DDPM.scaled_linear().betas
    assert (float(betas[0]), float(betas[-1])) == pytest.approx((0.00085, 0.012), rel=1e-12)
    torch.testing.assert_close(betas.sqrt().diff(), betas.sqrt().diff()[:1].expand(999))
    # Table 1 of arXiv:2305.08891: Stable Diffusion ends with sqrt(alpha-bar) = 0.068265.
    assert float(PROCESSES["scaled-linear"]()(1.0).alpha) == pytest.approx(0.068265, abs=1e-6)


def test_the_terminal_snr_of_the_paper_s_schedules_is_its_table_1() -> None:
    linear, cosine = (DDPM.linear()(1.0), DDPM.cosine()(1.0))
    assert float(linear.log_snr.exp()) == pytest.approx(4.035993e-5, rel=1e-5)
    assert float(cosine.log_snr.exp()) == pytest.approx(2.428735e-9, rel=1e-4)


@pytest.mark.parametrize("table", ["linear", "cosine", "scaled-linear"])
def test_zero_snr_is_algorithm_1_affine_in_alpha_with_both_ends_fixed(table: str) -> None:
    # An affine map is known from two values: 0 at step T, and alpha_1 at step 1.
    chain = PROCESSES[table]()
    assert isinstance(chain, DDPM)
    k = torch.arange(1, 1001, dtype=torch.float64) / 1000
    before, after = chain(k).alpha.numpy(), ZeroSNR(chain)(k).alpha.numpy()
    assert after[-1] == 0
    assert after[0] == pytest.approx(before[0], rel=1e-15)
    slope = np.diff(after) / np.diff(before)
    np.testing.assert_allclose(slope, before[0] / (before[0] - before[-1]), rtol=1e-6)
    level = PROCESSES["zero-snr"](betas=table)(INSIDE)
    torch.testing.assert_close(level.alpha**2 + level.sigma**2, torch.ones(5).double())


def test_zero_snr_starts_as_the_chain_does_and_knows_its_own_times() -> None:
    chain, changed = DDPM.linear(), PROCESSES["zero-snr"]()
    early = torch.tensor([0.0, 1e-5, 0.0005, 0.001], dtype=torch.float64)
    torch.testing.assert_close(changed(early).log_snr, chain(early).log_snr, rtol=1e-12, atol=0)
    t = torch.cat([early, INSIDE, torch.ones(1)])
    torch.testing.assert_close(changed.time(changed(t).log_snr), t, rtol=0, atol=1e-9)


def test_a_table_that_is_not_there_and_a_chain_of_one_step_are_refused() -> None:
    with pytest.raises(LevelError, match="Did you mean 'cosine'"):
        PROCESSES["zero-snr"](betas="cosin")
    with pytest.raises(LevelError, match="at least 2 steps"):
        ZeroSNR(DDPM(torch.tensor([0.5])))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0, math.sqrt(1024**2 / 256**2)])
def test_on_a_flow_the_shift_is_the_shift_of_time_of_the_paper(factor: float) -> None:
    # arXiv:2403.03206, eq. 23: t' = m·t/(1 + (m - 1)·t), and rho of a flow is t'/(1 - t').
    t = INSIDE.numpy()
    late = factor * t / (1 + (factor - 1) * t)
    got = Shifted(Flow(), factor)(INSIDE).rho.numpy()
    np.testing.assert_allclose(got, late / (1 - late), rtol=1e-12)


def test_on_cosine_levels_the_shift_is_that_of_simple_diffusion() -> None:
    # arXiv:2301.11093, section 3.1: log-SNR = -2·log tan(pi·t/2) + 2·log(64/d), here d = 256.
    t = INSIDE.numpy()
    want = -2 * np.log(np.tan(np.pi * t / 2)) + 2 * np.log(64 / 256)
    got = PROCESSES["shifted"](process="trig", factor=256 / 64)(INSIDE).log_snr.numpy()
    np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize("name", ["linear", "subvp", "ve"])
def test_a_shifted_process_knows_its_own_times_and_span(name: str) -> None:
    plain = PROCESSES[name]()
    moved = Shifted(plain, 2.0)
    torch.testing.assert_close(moved.time(moved(INSIDE).log_snr), INSIDE, rtol=0, atol=1e-9)
    assert moved.span == pytest.approx([end - 2 * math.log(2) for end in plain.span])
    assert float(moved(0.3).rho / plain(0.3).rho) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_factor_that_shifts_nothing_sensible_is_refused(factor: float) -> None:
    with pytest.raises(LevelError, match="above 0"):
        Shifted(Flow(), factor)


def test_trig_is_the_cosine_table_without_its_offset_and_cap() -> None:
    k = torch.arange(1, 1000, dtype=torch.float64) / 1000
    table = DDPM.cosine(1000, offset=0.0)(k)
    torch.testing.assert_close(PROCESSES["trig"]()(k).alpha, table.alpha, rtol=1e-9, atol=1e-12)


def test_kept_steps_keep_their_levels_so_the_betas_grow() -> None:
    # Erratum E13: the article keeps the range of the betas, 1e-4 to 0.02.
    chain = DDPM.linear()
    kept = (torch.linspace(0, 999, 50).round() + 1).long()
    short = chain.keep(kept)
    assert short.steps == 50
    torch.testing.assert_close(short.levels.alpha[:-1].flip(0), chain(kept / 1000).alpha)
    assert float(short.betas.max()) == pytest.approx(0.337, abs=5e-4)
    # Which "the range remains, only the slope changes" would leave nearly clean:
    printed = DDPM(torch.linspace(1e-4, 0.02, 50, dtype=torch.float64))
    assert float(printed(1.0).alpha ** 2) > 0.59
    assert float(short(1.0).alpha ** 2) == pytest.approx(4.04e-5, abs=5e-8)
