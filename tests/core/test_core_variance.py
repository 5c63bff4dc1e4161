"""Variances of a reverse step: exact posterior variances, and which one is taken (B3)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ornstein.core import DDPM, VARIANCES, Level, Mixture, Uncertainty, bridge, knowing
from ornstein.errors import UsageError
from ornstein.solvers import Ancestral

TWO = Mixture(
    torch.tensor([3.0, 1.0]),
    torch.tensor([[0.5, -1.0], [-1.2, 0.4]]),
    torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.1, -0.05], [-0.05, 0.4]]]),
)
POINTS = torch.tensor([[0.1, 0.2], [-2.0, 1.0], [3.0, -2.0]], dtype=torch.float64)
PURE = Level(torch.tensor(0.0), torch.tensor(1.0))


def at(alpha: float, sigma: float) -> Level:
    return Level(*torch.tensor([alpha, sigma], dtype=torch.float64))


@pytest.mark.parametrize("pair", [(1.0, 0.3), (0.6, 0.8), (0.05, 1.0), (1.0, 30.0)])
def test_the_variance_of_a_mixture_is_the_slope_of_its_denoiser(pair: tuple[float, float]) -> None:
    # Cov[x0 | x] = (sigma²/alpha)·dD/dx, by differentiating Tweedie's formula.
    level, x = at(*pair), POINTS.clone().requires_grad_()
    answer = TWO(x, level).x0
    slopes = [torch.autograd.grad(answer[:, d].sum(), x, retain_graph=True)[0] for d in (0, 1)]
    want = level.sigma**2 / level.alpha * torch.stack([g[:, d] for d, g in enumerate(slopes)], 1)
    torch.testing.assert_close(TWO.variance(POINTS, level), want, rtol=1e-8, atol=1e-12)


def test_b3_the_analytic_variance_is_that_of_the_reverse_step_of_any_gaussian() -> None:
    # (x_s, x_t) is a Gaussian pair whatever the variance of the data, so Var(x_s | x_t) is known.
    chain, c = DDPM.linear(), 0.37
    law = Mixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([c**0.5], dtype=torch.float64))
    denoise = knowing(law, law.variance)
    x = torch.tensor([[0.4], [-1.0]], dtype=torch.float64)
    for late, early in ((1.0, 0.9), (0.5, 0.1), (0.002, 0.001)):
        t, s = chain(late), chain(early)
        var_t, var_s = (lv.alpha**2 * c + lv.sigma**2 for lv in (t, s))
        want = var_s - (t.alpha / s.alpha * var_s) ** 2 / var_t
        mean, moved = (
            Ancestral("analytic").step(denoise, x, t, s, None, draw)[0]
            for draw in (torch.zeros_like, torch.ones_like)
        )
        torch.testing.assert_close((moved - mean) ** 2, want.expand(2, 1), rtol=1e-8, atol=0)


def test_measured_uncertainty_follows_the_level_and_keeps_its_ratio_beyond_the_table() -> None:
    # N(0, c): Var[x0 | x] = c/(1 + c·SNR), whose ratio to 1/(1 + SNR) is tame.
    log_snr = torch.linspace(-12, 12, 97, dtype=torch.float64)
    exact = 0.25 / (1 + 0.25 * log_snr.exp())
    known = Uncertainty(tuple(log_snr.tolist()), tuple((exact * (1 + log_snr.exp())).tolist()))
    between = torch.linspace(-14, 14, 301, dtype=torch.float64)
    levels = Level(torch.sigmoid(between).sqrt(), torch.sigmoid(-between).sqrt())
    got = known(torch.zeros(301, 2, dtype=torch.float64), levels)
    assert got.shape == (301, 2)
    torch.testing.assert_close(got[:, 0], 0.25 / (1 + 0.25 * between.exp()), rtol=3e-3, atol=0)
    scaled = Level(3 * levels.alpha, 3 * levels.sigma)
    torch.testing.assert_close(known(got, scaled), got)
    assert float(known(torch.zeros(1, 1), PURE)) == pytest.approx(0.25, rel=1e-4)


def test_own_is_the_learned_variance_else_the_analytic_one_else_the_small_one() -> None:
    t, s = DDPM.linear()(0.5), DDPM.linear()(0.4)
    plain = TWO(POINTS, t)
    law = bridge(POINTS, plain.x0, t, s)
    analytic = plain._replace(variance=TWO.variance(POINTS, t))
    learned = analytic._replace(interpolation=torch.full_like(POINTS, 0.3))

    def same(one: Tensor, other: Tensor) -> bool:
        return torch.equal(one.expand_as(POINTS), other.expand_as(POINTS))

    for name, estimate in (("small", plain), ("analytic", analytic), ("learned", learned)):
        assert same(VARIANCES["own"](law, estimate), VARIANCES[name](law, estimate))


def test_an_analytic_variance_that_nobody_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="nobody has measured"):
        Ancestral("analytic").step(TWO, POINTS, at(0.6, 0.8), at(0.8, 0.6), None, torch.zeros_like)
