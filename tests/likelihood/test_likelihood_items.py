"""Likelihood of raw items under a trained model: units, errors, dequantisation, refusals (B17)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known import Known, normal
from scipy.stats import norm

from ornstein.bound import Density, bound, decoder_of
from ornstein.core import GRIDS, Gaussian, ItemNoise
from ornstein.data.coding import Coding
from ornstein.errors import UsageError
from ornstein.likelihood import bounded, likelihood

RAW = Coding((10.0, -3.0), (4.0, 0.25), "vector")


def levels(low: float = 0.0, high: float = 255.0, std: float = 3.0) -> Known:
    """A model of two independent normal numbers of std 3 (and 6) steps, cut into 256 levels."""
    step = (high - low) / 255
    mean = low + 100.3 * step
    coding = Coding((mean, mean), (std * step, 2 * std * step), "vector", low, high, 256)
    return Known(normal([1.0, 1.0]), coding)


def drawn(model: Known, count: int, seed: int = 0) -> np.ndarray:
    """Items of that model, levels."""
    coding = model.coding
    z = np.random.default_rng(seed).normal(size=(count, 2))
    x = z * np.array(coding.std) + np.array(coding.mean)
    step = (float(coding.high or 0) - float(coding.low or 0)) / 255
    return np.asarray(np.rint((x - float(coding.low or 0)) / step) * step + (coding.low or 0))


def code_length(model: Known, x: np.ndarray) -> np.ndarray:
    """Bits of each level by the normal distribution function, (n, 2)."""
    coding = model.coding
    half = (float(coding.high or 0) - float(coding.low or 0)) / 510
    law = norm(np.array(coding.mean), np.array(coding.std))
    return np.asarray(-np.log2(law.cdf(x + half) - law.cdf(x - half)))


def test_b17_the_density_of_raw_items_is_that_of_their_own_units() -> None:
    covariance = np.array([[1.0, 0.6], [0.6, 0.8]])
    law = Gaussian(torch.tensor([0.1, -0.3]), torch.tensor(covariance))
    model = Known(law, RAW)
    std = np.array(RAW.std)
    source = np.random.default_rng(1)
    z = source.multivariate_normal([0.1, -0.3], covariance, size=400)
    raw = z * std + np.array(RAW.mean)
    found = likelihood(model, raw)
    # The textbook density, in raw units.
    full = covariance * std[:, None] * std
    off = raw - (np.array([0.1, -0.3]) * std + np.array(RAW.mean))
    truth = -0.5 * np.einsum("ni,ij,nj->n", off, np.linalg.inv(full), off) - 0.5 * math.log(
        (2 * math.pi) ** 2 * np.linalg.det(full)
    )
    assert found.items.numpy() == pytest.approx(truth, abs=0.02)
    assert (found.unit, found.probe_error, found.dequantisation) == ("nats", 0.0, "none")
    assert found.value == pytest.approx(truth.mean(), abs=1e-3)
    assert found.per_dim == pytest.approx(truth.mean() / 2, abs=1e-3)
    entropy = 0.5 * math.log((2 * math.pi * math.e) ** 2 * np.linalg.det(full))
    assert abs(found.value + entropy) < 3 * found.standard_error
    assert found.standard_error == pytest.approx(1 / math.sqrt(400), rel=0.15)  # chi-squared
    assert found.solver_error < 0.02
    assert "not p_0" in found.of


def test_b17_bits_of_levels_are_those_of_their_probabilities() -> None:
    model = levels()
    x = drawn(model, 600)
    found = likelihood(model, x)
    truth = code_length(model, x).sum(1)
    # Uniform noise costs the variance of log p within a level: 1/24·(1/std²) nats on average.
    cost = (1 / 3**2 + 1 / 6**2) / 24 / math.log(2)
    gap = -found.items.numpy() / math.log(2) - truth
    assert gap.mean() == pytest.approx(cost, abs=3 * gap.std() / math.sqrt(len(gap)))
    assert found.per_dim == pytest.approx(truth.mean() / 2, abs=0.03)
    assert found.unit == "bits"
    assert "level" in found.of


def test_importance_weights_lower_the_bound_towards_the_truth() -> None:
    model = levels(std=0.35)
    x = drawn(model, 64)
    truth = code_length(model, x).sum(1).mean()
    one, many = (likelihood(model, x, draws=k) for k in (1, 8))
    assert one.value - truth > 0.4
    assert -3 * many.standard_error < many.value - truth < 0.25 * (one.value - truth)
    assert "8 draws" in many.dequantisation
    assert many.evaluations > 5 * one.evaluations


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_bits_do_not_depend_on_the_range_the_levels_are_written_in(
    low: float, high: float
) -> None:
    bytes_, other = levels(), levels(low, high)
    x = drawn(bytes_, 10)
    same = likelihood(other, x / 255 * (high - low) + low)
    assert same.value == pytest.approx(likelihood(bytes_, x).value, abs=1e-4)


def test_an_item_has_the_same_likelihood_in_any_batch_and_company() -> None:
    model = levels()
    x = drawn(model, 40)
    whole = likelihood(model, x, draws=2)
    pieces = likelihood(model, x[:21], draws=2, batch=8)
    assert pieces.items.numpy() == pytest.approx(whole.items[:21].numpy(), abs=1e-5)


def test_progress_counts_items_up_to_all_of_them() -> None:
    seen: list[tuple[int, int]] = []
    model = Known(normal([1.0, 1.0]), RAW)
    likelihood(model, np.zeros((40, 2)), batch=16, progress=lambda k, n: seen.append((k, n)))
    assert seen == sorted(seen)
    assert seen[-1] == (40, 40)


def test_a_unit_that_does_not_fit_the_data_is_refused_with_the_reason() -> None:
    real = likelihood(Known(normal([1.0, 1.0]), RAW), np.zeros((2, 2)))
    coded = likelihood(levels(), drawn(levels(), 2))
    assert real.told_in("nats") == real.per_dim
    assert coded.told_in("bits") == coded.per_dim
    with pytest.raises(UsageError, match="only levels have codes"):
        real.told_in("bits")
    with pytest.raises(UsageError, match="grows without bound"):
        coded.told_in("nats")
    with pytest.raises(UsageError, match="not in 'dits'"):
        coded.told_in("dits")


def test_items_that_do_not_fit_the_model_are_refused() -> None:
    real, coded = Known(normal([1.0, 1.0]), RAW), levels()
    with pytest.raises(UsageError, match="shape"):
        likelihood(real, np.zeros((2, 3)))
    with pytest.raises(UsageError, match="whole numbers"):
        likelihood(real, np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(UsageError, match="between"):
        likelihood(coded, np.full((2, 2), 3.4))
    with pytest.raises(UsageError, match="need no dequantisation"):
        likelihood(real, np.zeros((2, 2)), draws=2)
    with pytest.raises(UsageError, match="would pass for likelihood"):
        likelihood(coded, np.zeros((2, 2)), draws=2, probes=3)
    with pytest.raises(UsageError, match="at least one draw"):
        likelihood(coded, np.zeros((2, 2)), draws=0)


@pytest.mark.parametrize("kind", ["reals", "levels", "dequantised"])
def test_b4_the_terms_that_are_told_add_up_and_are_those_of_the_bound(kind: str) -> None:
    model = Known(normal([1.0, 1.0]), RAW) if kind == "reals" else levels()
    raw = (
        np.array([[9.0, -3.1], [12.0, -2.8], [15.0, -3.0]])
        if kind == "reals"
        else drawn(model, 11)
    )
    found = bounded(model, raw, steps=30, dequantised=kind == "dequantised", batch=4)
    assert sum(found.terms.values()) == pytest.approx(found.per_dim, rel=1e-9)
    assert found.to_json()["terms"] == found.terms
    assert likelihood(model, raw[:2]).terms == {}
    # The direct road, in one batch.
    grid, noise = GRIDS["log-snr"](model.make_process(), 30), ItemNoise(0, range(len(raw)))
    x0 = model.coding.encode(raw)
    if kind == "dequantised":
        assert found.terms["width"] == pytest.approx(-math.log2(model.coding.step or 0))
        direct = bound(model.denoiser(), x0, grid, noise=noise)  # of the middles of the levels
        assert found.terms["prior"] == pytest.approx(direct.prior / math.log(2), abs=1e-6)
        assert found.terms["steps"] == pytest.approx(direct.steps / math.log(2), rel=0.1)
        return
    direct = bound(model.denoiser(), x0, grid, decoder=decoder_of(model.coding), noise=noise)
    sign = -1 if kind == "reals" else 1
    assert isinstance(decoder_of(model.coding), Density) is (kind == "reals")
    told = {name: sign * getattr(direct, name) for name in ("prior", "steps", "decoder")}
    assert dict(found.terms) == pytest.approx(told, rel=1e-9)
