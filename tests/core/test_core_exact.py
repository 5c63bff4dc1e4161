"""The exact laws among themselves: densities, scores, denoisers, samples."""

from __future__ import annotations

import math

import pytest
import torch

from ornstein.core import FiniteData, Gaussian, Level, Mixture, Principal
from ornstein.errors import UsageError

TWO = Mixture(
    torch.tensor([3.0, 1.0]),
    torch.tensor([[0.5, -1.0], [-1.2, 0.4]]),
    torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.1, -0.05], [-0.05, 0.4]]]),
)
POINTS = torch.tensor([[0.1, 0.2], [-2.0, 1.0], [3.0, -2.0]], dtype=torch.float64)
LEVELS = [(1.0, 0.3), (0.6, 0.8), (0.05, 1.0), (1.0, 30.0)]


def level(pair: tuple[float, float]) -> Level:
    return Level(*torch.tensor(pair, dtype=torch.float64))


@pytest.mark.parametrize("pair", LEVELS)
def test_denoiser_and_score_are_the_gradient_of_the_density(pair: tuple[float, float]) -> None:
    # Tweedie: alpha·E[x0] = x + sigma²·grad log p, E[eps] = -sigma·grad log p.
    at, x = level(pair), POINTS.clone().requires_grad_()
    (score,) = torch.autograd.grad(TWO.log_prob(x, at).sum(), x)
    torch.testing.assert_close(TWO.score(POINTS, at), score, rtol=1e-9, atol=1e-12)
    got = TWO(POINTS, at)
    torch.testing.assert_close(got.eps, -at.sigma * score, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(at.mix(got.x0, got.eps), POINTS, rtol=1e-9, atol=1e-12)


def test_pure_noise_says_the_mean() -> None:
    got = TWO(POINTS, level((0.0, 1.0)))
    torch.testing.assert_close(got.x0, TWO.mean.expand(3, 2))
    torch.testing.assert_close(got.eps, POINTS)


def test_density_integrates_to_one_with_the_stated_moments() -> None:
    side = torch.linspace(-6, 6, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    p = TWO.log_prob(grid).exp() * float(side[1] - side[0]) ** 2
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    mean = p @ grid
    torch.testing.assert_close(mean, TWO.mean, rtol=0, atol=1e-9)
    off = grid - mean
    torch.testing.assert_close((off * p[:, None]).T @ off, TWO.covariance, rtol=0, atol=1e-8)


def test_samples_have_the_stated_moments() -> None:
    n = 200_000
    x = TWO.sample(n, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), TWO.mean, rtol=0, atol=4 / math.sqrt(n))
    torch.testing.assert_close(x.T.cov(), TWO.covariance, rtol=0, atol=8 / math.sqrt(n))


def test_finite_data_is_the_mixture_of_its_points() -> None:
    items = torch.tensor([[0.5, -1.0], [-1.2, 0.4], [0.3, 0.9]], dtype=torch.float64)
    points = Mixture(torch.ones(3), items, torch.zeros(3))
    for pair in LEVELS:
        got, want = FiniteData(items)(POINTS, level(pair)), points(POINTS, level(pair))
        torch.testing.assert_close(got.x0, want.x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(got.eps, want.eps, rtol=1e-9, atol=1e-9)


def test_transport_of_a_gaussian_is_its_linear_map() -> None:
    law = Gaussian(*(torch.tensor(part, dtype=torch.float64) for part in ([0.4], [[0.3]])))
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    t, s = level((0.3, 0.9)), level((0.9, 0.1))
    stretch = math.sqrt((0.81 * 0.3 + 0.01) / (0.09 * 0.3 + 0.81))
    want = 0.9 * 0.4 + stretch * (x - 0.3 * 0.4)
    torch.testing.assert_close(law.transport(x, t, s), want, rtol=0, atol=1e-9)
    torch.testing.assert_close(law.flow(x, t, s), want, rtol=0, atol=1e-12)


def test_transport_in_two_dimensions_is_refused() -> None:
    with pytest.raises(UsageError, match="one dimension"):
        TWO.transport(POINTS, level((0.1, 1.0)), level((1.0, 0.1)))


def test_a_covariance_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="negative eigenvalue"):
        Gaussian(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("pair", LEVELS)
def test_principal_axes_and_a_rest_are_the_gaussian_of_that_covariance(
    pair: tuple[float, float],
) -> None:
    axes, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)))
    axes, variances, mean = axes[:2].double(), torch.tensor([3.0, 0.5]).double(), torch.arange(5.0)
    covariance = axes.T @ torch.diag(variances - 0.2) @ axes + 0.2 * torch.eye(5)
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(2)).double()
    got = Principal(mean, axes, variances, 0.2)(x, level(pair))
    wanted = Gaussian(mean, covariance)(x, level(pair))
    torch.testing.assert_close(got.x0, wanted.x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(got.eps, wanted.eps, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 6), (6, 2, 4)])
def test_fitted_axes_are_those_of_a_principal_component_analysis(shape: tuple[int, ...]) -> None:
    from sklearn.decomposition import PCA

    items = torch.randn(shape, generator=torch.Generator().manual_seed(3)).double()
    items = items * torch.linspace(1, 3, shape[-1])
    flat, count = items.flatten(1).numpy(), len(items)
    truth = PCA(3).fit(flat)
    got = Principal.fit(items, 3)
    scale = (count - 1) / count  # theirs is the unbiased variance
    torch.testing.assert_close(got.variances, torch.tensor(truth.explained_variance_ * scale))
    turned = (got.axes @ torch.tensor(truth.components_.T)).abs()
    torch.testing.assert_close(turned, torch.eye(3).double(), rtol=1e-8, atol=1e-8)
    left = flat.var(0).sum() - float(got.variances.sum())
    assert got.rest == pytest.approx(left / (flat.shape[1] - 3))
    assert Principal.fit(items, 100).rest == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [60, 150])  # fewer items than dimensions, and more
@pytest.mark.parametrize("pictures", [1, 3])
def test_copies_of_few_items_have_the_gaussian_that_they_span(count: int, pictures: int) -> None:
    few = torch.randn(pictures, 100, generator=torch.Generator().manual_seed(4)).double()
    items = few[torch.arange(count) % pictures]
    got = Principal.fit(items, 15)
    many = len(got.variances)
    assert many <= max(1, pictures - 1)
    torch.testing.assert_close(got.axes @ got.axes.T, torch.eye(many).double())
    off = few - few.mean(0)
    law = Gaussian(few.mean(0), off.T @ off / pictures)
    x = torch.randn(5, 100, generator=torch.Generator().manual_seed(5)).double()
    for pair in LEVELS:
        wanted = law(x, level(pair))
        torch.testing.assert_close(got(x, level(pair)).x0, wanted.x0, rtol=1e-8, atol=1e-8)
