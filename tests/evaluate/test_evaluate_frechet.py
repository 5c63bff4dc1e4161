"""Fréchet distance against closed forms, another library's matrix root, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ornstein.errors import DataError
from ornstein.evaluate import Moments, frechet, frechet_gaussian, frechet_with_error, moments


def draws(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def rotation(seed: int, d: int) -> torch.Tensor:
    return torch.linalg.qr(draws(seed, d, d)).Q


def random_covariance(seed: int, d: int, rank: int | None = None) -> torch.Tensor:
    f = draws(seed, d, rank or d + 3)
    return f @ f.T / f.shape[1]


def test_axis_aligned_gaussians_have_the_sum_of_the_one_dimensional_distances() -> None:
    # In one dimension d^2 = (m - n)^2 + (s - u)^2.
    m, n = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([0.5, 1.0, 1.0])
    s, u = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 0.5, 4.0])
    truth = 0.25 + 9.0 + 4.0 + 2.25 + 16.0
    found = frechet_gaussian(m, torch.diag(s**2), n, torch.diag(u**2))
    assert found == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_non_commuting_covariances_agree_with_the_matrix_root_of_scipy(seed: int) -> None:
    a, b = random_covariance(seed, 12), random_covariance(seed + 50, 12)
    assert not torch.allclose(a @ b, b @ a, atol=1e-2)
    zero = torch.zeros(12, dtype=torch.float64)
    root = sqrtm((a @ b).numpy()).real
    truth = float(a.trace() + b.trace()) - 2 * float(np.trace(root))
    assert frechet_gaussian(zero, a, zero, b) == pytest.approx(truth, rel=1e-9)


def test_singular_covariances_need_no_ridge() -> None:
    # Two flat discs in orthogonal planes share nothing: the distance is the sum of the traces.
    turn = rotation(3, 6)
    a = turn @ torch.diag(torch.tensor([4.0, 1, 0, 0, 0, 0]).double()) @ turn.T
    b = turn @ torch.diag(torch.tensor([0, 0, 9.0, 1, 0, 0]).double()) @ turn.T
    zero = torch.zeros(6, dtype=torch.float64)
    assert frechet_gaussian(zero, a, zero, b) == pytest.approx(15.0, abs=1e-6)
    assert frechet_gaussian(zero, a, zero, a) == pytest.approx(0.0, abs=1e-9)


def test_the_distance_is_symmetric_and_blind_to_a_common_rotation_and_shift() -> None:
    x, y = draws(0, 500, 8), 1.3 * draws(1, 400, 8) @ random_covariance(9, 8) + 0.2
    plain = frechet(Moments.of(x), Moments.of(y))
    turn = rotation(4, 8)
    turned = frechet(Moments.of(x @ turn + 5), Moments.of(y @ turn + 5))
    assert plain > 0.1
    assert turned == pytest.approx(plain, rel=1e-9)
    assert frechet(Moments.of(y), Moments.of(x)) == pytest.approx(plain, rel=1e-9)


def test_scaling_the_features_scales_the_distance_by_its_square() -> None:
    x, y = draws(0, 300, 5), draws(1, 300, 5) + 1
    plain = frechet(Moments.of(x), Moments.of(y))
    assert frechet(Moments.of(3 * x), Moments.of(3 * y)) == pytest.approx(9 * plain, rel=1e-9)


def test_moments_in_blocks_equal_those_of_numpy_on_the_whole_even_far_from_zero() -> None:
    x = draws(2, 1003, 7) + 1e6
    streamed = moments(iter(x.split(64)))
    assert streamed.n == 1003
    np.testing.assert_allclose(streamed.mean.numpy(), x.numpy().mean(0), rtol=1e-12)
    truth = np.cov(draws(2, 1003, 7).numpy().T)  # a shift changes no covariance
    np.testing.assert_allclose(streamed.covariance.numpy(), truth, atol=1e-8)


def test_the_distance_of_samples_of_known_gaussians_tends_to_the_known_distance() -> None:
    a, b = random_covariance(1, 4), random_covariance(2, 4)
    x = draws(5, 200_000, 4) @ torch.linalg.cholesky(a).T
    y = draws(6, 200_000, 4) @ torch.linalg.cholesky(b).T + 0.5
    truth = 4 * 0.25 + float(a.trace() + b.trace()) - 2 * np.trace(sqrtm((a @ b).numpy())).real
    assert frechet(Moments.of(x), Moments.of(y)) == pytest.approx(truth, rel=0.02)


def test_the_stated_error_is_the_scatter_of_repeated_draws() -> None:
    reference = Moments.of(draws(0, 20_000, 6))
    repeats = [frechet_with_error(1.2 * draws(s, 600, 6) + 0.3, reference) for s in range(1, 81)]
    scatter = float(np.std([r.value for r in repeats], ddof=1))
    stated = float(np.mean([r.error for r in repeats]))
    assert stated == pytest.approx(scatter, rel=0.25)


def test_too_few_or_broken_features_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="at least 2 items"):
        frechet(Moments.of(draws(0, 1, 3)), Moments.of(draws(1, 5, 3)))
    with pytest.raises(DataError, match="features of 3 and of 4"):
        frechet(Moments.of(draws(0, 9, 3)), Moments.of(draws(1, 9, 4)))
    with pytest.raises(DataError, match="empty"):
        moments([])
    broken = draws(0, 9, 3)
    broken[4, 1] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        frechet(Moments.of(broken), Moments.of(draws(1, 9, 3)))
