"""Decoders: exact masses in any coding, open ends, both tails; densities; VDM's softmax."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from ornstein.bound import Bins, Density, Softmax
from ornstein.bound.decoder import decoder_of
from ornstein.data.coding import Coding


def doubles(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


@settings(max_examples=50, deadline=None)
@given(
    levels=st.integers(2, 300),
    low=st.floats(-5, 5),
    span=st.floats(0.1, 300),
    mean=st.floats(-3, 3),
    log_variance=st.floats(-12, 4),
    raw_mean=st.floats(-10, 10),
    raw_std=st.floats(0.1, 50),
    kind=st.sampled_from([Bins, Softmax]),
)
def test_b4_the_masses_of_all_levels_of_any_coding_add_up_to_one(
    levels: int,
    low: float,
    span: float,
    mean: float,
    log_variance: float,
    raw_mean: float,
    raw_std: float,
    kind: type[Bins],
) -> None:
    decoder = kind(low, low + span, levels, (raw_mean,), (raw_std,))
    raw = torch.linspace(low, low + span, levels, dtype=torch.float64)
    x0 = ((raw - raw_mean) / raw_std)[:, None]
    nats = decoder(x0, torch.full_like(x0, mean), torch.full_like(x0, math.exp(log_variance)))
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-9)


def test_the_mass_of_a_bin_is_scipys_in_both_tails() -> None:
    z = torch.linspace(-30, 30, 121, dtype=torch.float64)[None]
    nats = Bins(-1, 1, 256)(torch.zeros_like(z) + 1 / 255, 1 / 255 + 0.1 * z, doubles(0.01))
    half = (1 / 255) / 0.1
    far = np.abs(z[0].numpy())
    # From the thin side, where the difference keeps its digits.
    high, low = norm.logcdf(half - far), norm.logcdf(-half - far)
    want = -(high + np.log1p(-np.exp(low - high)))
    np.testing.assert_allclose(nats[0].numpy(), want, rtol=1e-9)


def test_the_end_bins_are_open_and_their_slopes_finite() -> None:
    mean = doubles(-700.0, -0.9, 0.9, 700.0).requires_grad_()
    nats = Bins(-1, 1, 5)(doubles(-1, -1, 1, 1), mean, doubles(1e-4))
    want = -norm.logcdf([np.inf, 15, 15, np.inf])  # the inner edges lie at -0.75 and 0.75
    torch.testing.assert_close(nats[0].detach(), torch.tensor(want), rtol=1e-9, atol=1e-12)
    (slope,) = torch.autograd.grad(nats.sum(), mean)
    assert bool(slope.isfinite().all())


def test_the_bits_of_raw_levels_do_not_depend_on_the_standardisation() -> None:
    raw = torch.arange(17, dtype=torch.float64)[None]
    guess, variance = raw + 0.7, torch.full_like(raw, 2.3)
    plain = Bins(0, 16, 17)(raw, guess, variance)
    m, s = 4.9, 6.0
    coded = Bins(0, 16, 17, (m,), (s,))((raw - m) / s, (guess - m) / s, variance / s**2)
    torch.testing.assert_close(coded, plain)
    # The level is found again although standardised data come in float32.
    rounded = ((raw - m) / s).float()
    torch.testing.assert_close(
        Bins(0, 16, 17, (m,), (s,))(rounded, (guess - m) / s, variance / s**2), plain
    )


def test_the_density_is_that_of_the_raw_data() -> None:
    x0, guess, variance = doubles(0.3, -1.0), doubles(0.1, 0.5), doubles(0.5, 2.0)
    std = (4.0, 0.25)
    want = -norm.logpdf(x0.numpy() * std, guess.numpy() * std, np.sqrt(variance.numpy()) * std)
    np.testing.assert_allclose(Density(std)(x0, guess, variance).numpy(), want)


def test_the_tanh_approximation_is_off_by_little_in_the_middle_and_floored_far_out() -> None:
    mean = doubles(*np.linspace(-0.3, 0.3, 7))
    exact, near = (Bins(law=law)(doubles(1 / 255), mean, doubles(0.01)) for law in MASSES)
    assert float((exact - near).abs().max()) < 0.05
    assert float((exact - near).abs().max()) > 1e-5
    far = Bins(law="tanh")(doubles(1 / 255), doubles(50.0), doubles(0.01))
    assert float(far) == pytest.approx(12 * math.log(10))


MASSES = ("normal", "tanh")


def test_vdms_decoder_is_bayes_rule_over_the_levels() -> None:
    values = np.linspace(-1, 1, 9)
    seen, variance = 0.37, 0.08
    weights = np.exp(-((seen - values) ** 2) / (2 * variance))
    want = -np.log(weights / weights.sum())
    got = Softmax(-1, 1, 9)(torch.tensor(values)[None], doubles(seen).expand(1, 9), doubles(0.08))
    np.testing.assert_allclose(got[0].numpy(), want)


def test_a_coding_names_its_decoder() -> None:
    pictures = Coding((33.0,), (79.0,), "image", 0.0, 255.0, 256)
    assert decoder_of(pictures) == Bins(0.0, 255.0, 256, (33.0,), (79.0,))
    assert decoder_of(Coding((1.0, 2.0), (3.0, 4.0), "vector")) == Density((3.0, 4.0))
