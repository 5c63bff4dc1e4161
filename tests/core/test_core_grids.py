"""Grids: exact numbers of steps, descent, ends, and the spacings of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ornstein.core import DDPM, EDM, GRIDS, PROCESSES, Flow, Level, check_descent
from ornstein.core.grid import blend
from ornstein.errors import LevelError

STEPS = (1, 2, 3, 7, 10, 50, 1000)
karras, log_snr, uniform, subchain, trailing = (
    GRIDS[name] for name in ("karras", "log-snr", "uniform", "subchain", "trailing")
)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_descends_in_the_asked_number_of_steps(
    grid: str, process: str, steps: int
) -> None:
    made = PROCESSES[process]()
    levels = GRIDS[grid](made, steps)
    assert len(levels) == steps + 1
    check_descent(levels)
    assert float(levels.sigma[-1]) == 0
    assert float(levels.alpha[-1]) == float(made(0.0).alpha)
    low, _ = made.span
    # They start at the noisiest level, or at the last that has a place on the log-SNR axis.
    assert float(levels.log_snr[0]) == pytest.approx(low, abs=1e-9) or float(
        levels.log_snr[0]
    ) == pytest.approx(float(made(1.0).log_snr), abs=1e-9)


@pytest.mark.parametrize("grid", GRIDS)
def test_no_steps_are_refused(grid: str) -> None:
    with pytest.raises(LevelError, match="at least 1 step, got 0"):
        GRIDS[grid](Flow(), 0)


@pytest.mark.parametrize("grid", ["subchain", "trailing"])
def test_more_steps_than_the_table_has_are_refused(grid: str) -> None:
    with pytest.raises(LevelError, match="at most 100"):
        GRIDS[grid](DDPM.linear(100), 101)


def test_karras_is_the_formula_of_edm() -> None:
    i = np.arange(18) / 17
    rho = (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    got = karras(EDM(), 18)
    assert got.sigma.numpy() == pytest.approx([*rho, 0.0], rel=1e-9)
    assert set(got.alpha.tolist()) == {1.0}


def test_log_snr_grid_has_equal_strides_before_the_clean_end() -> None:
    strides = log_snr(DDPM.linear(), 20).log_snr[:-1].diff()
    torch.testing.assert_close(strides, strides[:1].expand(19), rtol=1e-9, atol=0)


def test_a_blend_lies_half_way_between_the_uniform_grid_of_a_flow_and_even_log_snrs() -> None:
    process, steps = Flow(), 6
    low, high = process.span
    # For a flow sigma/(alpha + sigma) is the time, and the log-SNR 2·log((1 - t)/t).
    even = np.exp(np.linspace(low, high, steps) / 2)
    slow = 1 / (1 + even)
    expected = (slow[0] * (1 - np.arange(steps) / steps) + slow) / 2
    assert blend(process, steps).sigma.numpy() == pytest.approx([*expected, 0.0], rel=1e-9)
    torch.testing.assert_close(
        blend(process, steps, 1.0).sigma, log_snr(process, steps).sigma, rtol=1e-9, atol=1e-12
    )


def test_uniform_grid_of_a_flow_has_equal_strides_in_time() -> None:
    levels = uniform(Flow(), 4)
    assert levels.sigma.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_a_whole_subchain_is_the_chain() -> None:
    chain = DDPM.cosine(100)
    for grid in (subchain, trailing):
        levels = grid(chain, 100)
        torch.testing.assert_close(levels.alpha, chain.levels.alpha)
        torch.testing.assert_close(levels.sigma, chain.levels.sigma)


def test_subchain_keeps_both_ends_of_the_chain_and_rounds_as_the_peer_does() -> None:
    # The 25 levels of improved-diffusion's space_timesteps, whose index 0 is step 1.
    kept = [0, 42, 83, 125, 166, 208, 250, 291, 333, 375, 416, 458, 500, 541, 583, 624, 666, 708,
            749, 791, 832, 874, 916, 957, 999]  # fmt: skip
    chain = DDPM.linear()
    got = (chain.time(subchain(chain, 25).log_snr) * 1000).round()[:-1]
    assert got.flip(0).tolist() == [index + 1 for index in kept]


def test_trailing_levels_are_those_of_the_paper() -> None:
    # arXiv:2305.08891, table 2: 10 of 1000 steps are 100, 200, ..., 1000.
    chain = DDPM.linear()
    got = (chain.time(trailing(chain, 10).log_snr) * 1000).round().tolist()
    assert got == [1000 - 100 * i for i in range(11)]


def test_trailing_levels_are_rounded_where_the_stride_is_no_whole_number() -> None:
    # round(T - i·T/n), as that paper has it; cut off, three of these would be a step cleaner.
    chain = DDPM.linear()
    got = (chain.time(trailing(chain, 7).log_snr) * 1000).round().tolist()
    assert got == [1000, 857, 714, 571, 429, 286, 143, 0]


def test_fewer_steps_have_larger_betas() -> None:
    # Erratum E13: beta' = 1 - alpha2_i/alpha2_{i-1} of kept levels, up to 0.337 for 50 of 1000.
    alpha2 = subchain(DDPM.linear(), 50).alpha ** 2
    assert float((1 - alpha2[:-1] / alpha2[1:]).max()) == pytest.approx(0.337, abs=5e-4)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (Level(torch.ones(3), torch.tensor([1.0, 2.0, 0.0])), "step 0 goes from rho=1 to 2"),
        (Level(torch.ones(3), torch.tensor([2.0, 1.0, 1.0])), "step 1"),
        (Level(torch.ones(1), torch.ones(1)), "at least two levels"),
        (Level(torch.tensor(1.0), torch.tensor(1.0)), "at least two levels"),
        (Level(torch.ones(2), torch.tensor([math.nan, 0.0])), "step 0"),
    ],
)
def test_a_grid_that_does_not_descend_is_refused_by_its_step(levels: Level, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        check_descent(levels)
