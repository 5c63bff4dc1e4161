"""Densities by the probability flow against densities known otherwise (B16, B17)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known import GAUSS3, GMM3, carried, ends, normal, points

from ornstein.core import EDM, PROCESSES, VE, VP, Denoiser, Estimate, Level
from ornstein.errors import LevelError, UsageError
from ornstein.likelihood import Axes, Hutchinson, log_density


@pytest.mark.parametrize("name", PROCESSES)
def test_b17_the_density_of_a_gaussian_is_the_closed_form_on_every_process(name: str) -> None:
    data, noise = ends(PROCESSES[name]())
    x = points(GAUSS3, data, 16)
    found = log_density(GAUSS3, x, data, noise, tolerance=1e-4, check=False)
    truth = carried(x.numpy(), data, noise, float(noise.sigma))
    assert found.value.numpy() == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("name", ["cosine", "flow", "vp", "subvp", "ve", "edm"])
def test_b17_the_density_of_a_mixture_is_the_closed_form(name: str) -> None:
    data, noise = ends(PROCESSES[name]())
    x = points(GMM3, data, 24)
    found = log_density(GMM3, x, data, noise, check=False)
    # What is left is the prior's distance from the noised law, 1/rho at most.
    left = (found.value - GMM3.log_prob(x, data)).abs()
    assert float(left.max()) < 3 / min(float(noise.rho), 1e4)


def test_another_prior_moves_the_density_by_its_ratio() -> None:
    data, noise = ends(VE())
    x = points(GAUSS3, data, 8)
    for prior in (0.9, 1.1):
        found = log_density(
            GAUSS3, x, data, noise, prior_std=prior * float(noise.sigma), check=False
        )
        truth = carried(x.numpy(), data, noise, prior * float(noise.sigma))
        assert found.value.numpy() == pytest.approx(truth, abs=1e-3)


def test_the_density_of_rescaled_points_has_the_change_of_variables() -> None:
    data, noise = ends(EDM())
    x = points(GAUSS3, data, 8)
    c = 0.37
    scaled = Level(c * data.alpha, c * data.sigma)
    one = log_density(GAUSS3, x, data, noise, check=False).value
    other = log_density(GAUSS3, c * x, scaled, noise, check=False).value
    assert other.numpy() == pytest.approx((one - 3 * math.log(c)).numpy(), abs=1e-9)


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
def test_the_standard_error_of_the_probes_is_honest_where_the_jacobian_is_not_diagonal(
    law: str,
) -> None:
    data, noise = ends(VP())
    x = points(GAUSS3, data, 300)
    exact = log_density(GAUSS3, x, data, noise, tolerance=1e-4, check=False).value
    found = log_density(
        GAUSS3, x, data, noise, probes=Hutchinson(8, law), tolerance=1e-4, check=False
    )
    error = found.value - exact
    told = float(found.probe_error.square().mean().sqrt())
    assert told > 0.1  # Rademacher probes are not exact here
    assert float(error.square().mean().sqrt()) == pytest.approx(told, rel=0.15)
    assert abs(float(error.mean())) < 3 * told / math.sqrt(len(x))


def test_rademacher_probes_are_exact_where_the_jacobian_is_diagonal() -> None:
    data, noise = ends(VP())
    law = normal([1.3, 0.4, 0.7])
    x = points(law, data, 8)
    exact = log_density(law, x, data, noise, check=False)
    found = log_density(law, x, data, noise, probes=Hutchinson(2), check=False)
    assert (exact.probe_error.max(), found.probe_error.max()) == pytest.approx((0, 0), abs=1e-6)
    assert found.value.numpy() == pytest.approx(exact.value.numpy(), abs=1e-6)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_the_error_told_of_the_solver_covers_the_true_one(tolerance: float) -> None:
    data, noise = ends(EDM())
    x = points(GMM3, data, 32)
    found = log_density(GMM3, x, data, noise, tolerance=tolerance)
    truth = log_density(GMM3, x, data, noise, tolerance=1e-7, check=False).value
    error, told = (found.value - truth).abs().mean(), found.solver_error.mean()
    assert error < told < 300 * error


def test_an_item_has_the_same_density_in_any_batch() -> None:
    data, noise = ends(EDM())
    x = points(GMM3, data, 6)
    for probes in (None, Hutchinson(2, items=range(6))):
        together = log_density(GMM3, x, data, noise, probes=probes)
        own = probes and Hutchinson(2, items=[4])
        alone = log_density(GMM3, x[4:5], data, noise, probes=own)
        assert float(alone.value) == pytest.approx(float(together.value[4]), abs=1e-9)
        assert int(alone.evaluations) == int(together.evaluations[4])


def test_one_probe_cannot_tell_its_error() -> None:
    data, noise = ends(EDM())
    found = log_density(GAUSS3, points(GAUSS3, data, 2), data, noise, probes=Hutchinson(1))
    assert bool(found.probe_error.isnan().all())


def test_points_of_any_shape_have_a_density() -> None:
    data, noise = ends(EDM())
    law = normal([1.0] * 12)
    x = points(law, data, 3)

    def pictures(x: torch.Tensor, level: Level) -> Estimate:
        x0, eps = law(x.flatten(1), level)[:2]
        return Estimate(x0.reshape(x.shape), eps.reshape(x.shape))

    flat = log_density(law, x, data, noise, check=False).value
    shaped = log_density(pictures, x.reshape(3, 3, 2, 2), data, noise, check=False).value
    assert shaped.numpy() == pytest.approx(flat.numpy(), abs=1e-9)


def _blind(x: torch.Tensor, level: Level) -> Estimate:
    with torch.no_grad():
        return GAUSS3(x, level)


def _constant(x: torch.Tensor, level: Level) -> Estimate:
    x0 = GAUSS3(x.detach(), level).x0
    return Estimate(x0, x - x0)


@pytest.mark.parametrize("denoise", [_blind, _constant])
def test_a_denoiser_without_gradient_is_refused(denoise: Denoiser) -> None:
    data, noise = ends(EDM())
    with pytest.raises(UsageError, match="gradient"):
        log_density(denoise, points(GAUSS3, data, 2), data, noise)


@pytest.mark.parametrize(("t", "s"), [(0.0, 1.0), (0.5, 0.2), (0.001, 1.0)])
def test_levels_without_a_place_or_in_the_wrong_order_are_refused(t: float, s: float) -> None:
    flow = PROCESSES["flow"]()
    with pytest.raises(LevelError, match="carried"):
        log_density(GAUSS3, torch.zeros(1, 3, dtype=torch.float64), flow(t), flow(s))


def test_wrong_probes_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'gaussian'"):
        Hutchinson(law="gausian")
    with pytest.raises(UsageError, match="at least one"):
        Hutchinson(0)
    assert Axes().exact
    assert np.isclose(Hutchinson().count, 4)
