"""Score matching: objectives against closed forms and against one another (B12-B14, E22, E23)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ornstein.core import TARGETS, VP, Gaussian, Level, Mixture, generator
from ornstein.errors import UsageError
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.training.objective import WEIGHTS, LogNormal, Objective
from ornstein.training.score_matching import denoising, implicit, probes, score_of, sliced

MEAN = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.3, -0.2], [0.3, 0.5, 0.1], [-0.2, 0.1, 0.25]], dtype=torch.float64
)
GAUSS3 = Gaussian(MEAN, COVARIANCE)
LEVEL = Level(0.8, 0.6)
NOISED = 0.64 * COVARIANCE + 0.36 * torch.eye(3, dtype=torch.float64)
BEST = torch.cat(
    [-torch.linalg.inv(NOISED), (torch.linalg.inv(NOISED) @ (0.8 * MEAN))[:, None]], 1
)


def linear(weights: Tensor) -> Callable[[Tensor], Tensor]:
    """s(x) = A·x + b with [A, b] = weights, (3, 4)."""
    return lambda x: x @ weights[:, :3].T + weights[:, 3]


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Data, noise and probes, (count, 3) each."""
    source = generator("score matching", seed)
    x0 = GAUSS3.sample(count, source)
    eps = torch.randn(count, 3, dtype=torch.float64, generator=source)
    return x0, eps, probes(x0, source)


def losses(weights: Tensor, count: int, seed: int) -> dict[str, Tensor]:
    """The mean loss of each objective on the same draws."""
    x0, eps, v = drawn(count, seed)
    x, score = LEVEL.mix(x0, eps), linear(weights)
    return {
        "denoising": denoising(score, x0, eps, LEVEL).mean(),
        "implicit": implicit(score, x).mean(),
        "sliced": sliced(score, x, v, reduced=False).mean(),
        "sliced, reduced": sliced(score, x, v).mean(),
    }


@pytest.mark.parametrize("name", ["denoising", "implicit", "sliced", "sliced, reduced"])
def test_b14_every_objective_has_the_score_of_a_gaussian_as_its_optimum(name: str) -> None:
    # Quadratic in the weights, so that one Newton step from anywhere is the optimum of a batch.
    found = []
    for seed in range(8):

        def loss(flat: Tensor, seed: int = seed) -> Tensor:
            return losses(flat.reshape(3, 4), 3000, seed)[name]

        start = torch.zeros(12, dtype=torch.float64)
        gradient = torch.autograd.functional.jacobian(loss, start)
        bend = torch.autograd.functional.hessian(loss, start)
        found.append((start - torch.linalg.solve(bend, gradient)).reshape(3, 4))
    stack = torch.stack(found)
    error = stack.std(0) / 8**0.5
    assert float(((stack.mean(0) - BEST) / error).abs().max()) < 4.5  # of twelve, 7 degrees
    assert float((stack.mean(0) - BEST).abs().max()) < 0.1 * float(BEST.abs().max())


def test_b14_the_value_at_the_optimum_is_minus_half_the_trace_of_the_precision() -> None:
    # Points whose mean and covariance are those of the law give its expectations exactly.
    root = torch.linalg.cholesky(NOISED)
    x = 0.8 * MEAN + 3**0.5 * torch.cat([root.T, -root.T])
    want = -0.5 * float(torch.linalg.inv(NOISED).trace())
    assert float(implicit(linear(BEST), x).mean().detach()) == pytest.approx(want, rel=1e-12)
    # All 8 sign vectors give the expectation over probes.
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    for reduced in (True, False):
        terms = [sliced(linear(BEST), x, v.expand_as(x), reduced).detach() for v in signs]
        assert float(torch.stack(terms).mean()) == pytest.approx(want, rel=1e-12)


def test_b13_denoising_differs_from_implicit_by_a_constant() -> None:
    # 1/2·E|grad log q(x | x0)|² = D/(2·sigma²), whatever the function.
    for weights in (BEST, 0.3 * BEST, torch.ones(3, 4, dtype=torch.float64)):
        gaps = [
            float((one["denoising"] - one["implicit"]).detach())
            for one in (losses(weights, 4000, seed) for seed in range(6))
        ]
        error = torch.tensor(gaps).std() / 6**0.5
        assert torch.tensor(gaps).mean() == pytest.approx(3 / (2 * 0.36), abs=5 * float(error))


def test_e22_projections_estimate_the_exact_trace_and_are_not_it() -> None:
    x0, eps, v = drawn(2000, 1)
    x = LEVEL.mix(x0, eps)
    exact, estimate = implicit(linear(BEST), x).detach(), sliced(linear(BEST), x, v).detach()
    noise = (estimate - exact).std()
    assert float(noise) > 0.5  # the precision matrix is not diagonal
    assert float((estimate - exact).mean()) == pytest.approx(0, abs=4 * float(noise) / 2000**0.5)
    loose = sliced(linear(BEST), x, v, reduced=False).detach()
    assert float(estimate.var()) < float(loose.var())


def test_b12_denoising_is_ddpms_loss_over_sigma_squared() -> None:
    # E23: NCSN regresses -eps/sigma, DDPM eps; weighted by sigma² the losses are one.
    torch.manual_seed(0)
    model = Model(NETS["mlp"](shape=(3,), width=16, layers=1), TARGETS["eps"]())
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    x0, eps, _ = (x.float() for x in drawn(50, 2))
    ours = denoising(score_of(model, LEVEL), x0, eps, LEVEL)
    each = Level(LEVEL.alpha.expand(50), LEVEL.sigma.expand(50))
    ddpm = Objective(VP(), LogNormal(), WEIGHTS["simple"]).loss(model, x0, eps, each, {})
    torch.testing.assert_close(0.36 * ours, 3 * ddpm / 2, rtol=1e-4, atol=1e-6)


def test_series_and_small_pictures_are_summed_over_all_their_dimensions() -> None:
    # s = -3·x: the trace is -3·D and |s|² = 9·|x|², whatever the shape.
    for shape in ((5,), (2, 7), (1, 4, 4)):
        x = torch.randn(6, *shape, dtype=torch.float64, generator=generator(*shape))
        want = -3 * math.prod(shape) + 4.5 * x.flatten(1).square().sum(1)
        torch.testing.assert_close(implicit(lambda y: -3 * y, x), want)
        torch.testing.assert_close(sliced(lambda y: -3 * y, x, probes(x)), want)


def test_the_exact_trace_is_refused_beyond_64_dimensions() -> None:
    with pytest.raises(UsageError, match="Use sliced"):
        implicit(lambda x: -x, torch.zeros(2, 1, 9, 9))


def test_probes_have_unit_covariance() -> None:
    v = probes(torch.zeros(20_000, 4, dtype=torch.float64), generator(3))
    torch.testing.assert_close(v.T.cov(), torch.eye(4).double(), rtol=0, atol=0.03)
    assert set(v.unique().tolist()) == {-1.0, 1.0}


MIXTURE = Mixture(
    torch.tensor([0.6, 0.4]), torch.tensor([[-1.0, 0.0], [0.8, 0.5]]), torch.tensor([0.3, 0.4])
)


@pytest.mark.parametrize("objective", ["denoising", "sliced"])
def test_b13_a_trained_network_recovers_the_score_of_a_mixture(objective: str) -> None:
    level = Level(0.9, 0.45)
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    steps = 500
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for step in range(steps):
        source = generator("mixture", step)
        x0 = MIXTURE.sample(512, source).float()
        eps = torch.randn(512, 2, generator=source)
        if objective == "denoising":
            loss = denoising(net, x0, eps, level)
        else:
            loss = sliced(net, level.mix(x0, eps), probes(eps, source))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        schedule.step()
    side = torch.linspace(-1.6, 1.6, 21)
    grid = torch.cartesian_prod(side, side)
    likely = MIXTURE.log_prob(grid.double(), level) > -3.5
    truth = MIXTURE.score(grid.double(), level)[likely]
    error = (net(grid)[likely] - truth).norm(dim=1).detach()
    assert float(error.max()) < 0.3 * float(truth.norm(dim=1).max())
    assert float(error.mean()) < 0.1 * float(truth.norm(dim=1).mean())
