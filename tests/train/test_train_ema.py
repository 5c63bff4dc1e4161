"""The weight average against the paper's profile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ornstein.training.ema import PowerEMA, exponent


@pytest.mark.parametrize("width", [0.05, 0.10, 0.15, 0.20, 0.25])
def test_the_exponent_is_the_root_of_the_papers_cubic(width: float) -> None:
    # arXiv:2312.02696, algorithm 2; EDM2 itself gets 16.97 and 6.94 for 0.05 and 0.10.
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2])
    assert exponent(width) == pytest.approx(max(roots.real), rel=1e-9)
    if width in (0.05, 0.10):
        assert exponent(width) == pytest.approx({0.05: 16.97, 0.10: 6.94}[width], abs=5e-3)


def followed(steps: int, width: float) -> float:
    """Average of a weight that equals the step number."""
    module = nn.Linear(1, 1, bias=False)
    ema = PowerEMA(module, width)
    for step in range(1, steps + 1):
        nn.init.constant_(module.weight, float(step))
        ema.update(module, step)
    return float(ema.average["weight"])


@pytest.mark.parametrize("steps", [1, 3, 10, 1000])
def test_the_average_is_the_power_weighted_mean_of_the_history(steps: int) -> None:
    # In the continuum the mean of tau with weight tau^g on (0, n) is n(g+1)/(g+2).
    mean = followed(steps, 0.1)
    g = exponent(0.1)
    assert 0 < mean <= steps
    assert mean == pytest.approx(steps * (g + 1) / (g + 2), abs=0.6)


def test_after_ten_steps_nothing_of_the_initial_weights_is_left() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1e6)
    ema = PowerEMA(module, 0.1)
    for step in range(1, 11):
        nn.init.constant_(module.weight, 1.0)
        ema.update(module, step)
    assert float(ema.average["weight"]) == 1.0


def test_width_zero_follows_the_weights() -> None:
    assert followed(7, 0.0) == 7.0


def test_the_average_of_weights_in_half_precision_is_kept_in_float32() -> None:
    """1.0078125 is the next number of bfloat16: what lies between would never be reached."""
    module = nn.Linear(1, 1, bias=False).bfloat16()
    ema = PowerEMA(module, 0.1)
    for step in range(1, 101):
        nn.init.constant_(module.weight, 1.0 if step <= 90 else 1.0078125)
        ema.update(module, step)
    assert ema.average["weight"].dtype == torch.float32
    g = exponent(0.1)
    # The share of the last ten steps in the profile, of which 0.0078125 remains.
    expected = 1 + 0.0078125 * (1 - 0.9 ** (g + 1))
    assert float(ema.average["weight"]) == pytest.approx(expected, abs=1e-6)
    ema.copy_to(module)
    assert module.weight.dtype == torch.bfloat16


def test_buffers_are_left_alone() -> None:
    module = nn.BatchNorm1d(3)
    ema = PowerEMA(module)
    module(torch.randn(8, 3))
    ema.update(module, 1)
    assert set(ema.average) == {"weight", "bias"}
