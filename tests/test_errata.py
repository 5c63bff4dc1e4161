"""Formulas of the articles as printed and as they should be, where no other test shows it.

Numbers as in docs/errors-of-the-articles.md; the seed map names the tests of the others.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from ornstein.bound import Chain
from ornstein.core import DDPM, EDMTarget, Level, Mixture, bridge, from_x0, transition
from ornstein.model import Model
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import LAWS, WEIGHTS, Objective

TWO = Mixture(
    *(torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4]))
)
ONE = torch.ones(1, 1, dtype=torch.float64)


def test_erratum_e11_a_variance_cannot_be_learned_from_the_squared_error_alone() -> None:
    # Printed: |mu~ - mu|²/(2·sigma²), which falls for ever as sigma² grows. The KL has a least
    # value, at the bridge's variance plus the squared error.
    chain = DDPM.linear()
    law = bridge(0.3 * ONE, 0.9 * ONE, chain(0.3), chain(0.299))
    mine, error = float(law.lower), 0.02
    sigma2 = torch.logspace(-5, 2, 2001, dtype=torch.float64)
    printed = error**2 / (2 * sigma2)
    right = kl_divergence(Normal(0.0, mine**0.5), Normal(error, sigma2.sqrt()))
    assert bool((printed.diff() < 0).all())
    assert float(sigma2[right.argmin()]) == pytest.approx(mine + error**2, rel=0.01)


class OffByOne(nn.Module):
    """Of items that are 0, eps is x/sigma; EDM's output is that times -alpha, and here 1 more."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        return self.shift - (4 * noise).exp()[:, None] * x  # noise is log_snr/8


class Zeros:
    """Items that are 0."""

    train, heldout = torch.arange(40), torch.arange(0)

    def batch(self, indices: Tensor) -> Tensor:
        return torch.zeros(len(indices), 2)

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {}


@pytest.mark.parametrize("law", ["uniform", "steps", "log-snr"])
def test_erratum_e15_a_mean_over_drawn_times_is_not_divided_by_their_number_again(
    law: str,
) -> None:
    # Printed: (1/T)·sum of p(t)·E[...]. A loss of 1 at every level must stay 1, and its slope.
    objective = Objective(DDPM.linear(), LAWS[law](0, 1), WEIGHTS["edm"])
    trainer = Trainer(Model(OffByOne(), EDMTarget()), Zeros(), objective, Settings(batch=32))
    loss, (_, each) = trainer.backward(0)
    torch.testing.assert_close(each, torch.ones(32), atol=1e-3, rtol=0)
    assert loss == pytest.approx(1, abs=1e-3)
    # Of the mean of two squares, (1 + d)²/2 each.
    torch.testing.assert_close(trainer.weights[0].grad, torch.ones(2), atol=1e-3, rtol=0)
    printed = float(each.sum()) / len(each) / DDPM.linear().steps
    assert printed == pytest.approx(1 / 1000, rel=1e-3)


def test_erratum_e16_the_first_step_has_no_kl() -> None:
    # q(x_0 | x_1, x_0) is a point: its KL from any Gaussian is infinite. -log p(x_0 | x_1) is not.
    chain = DDPM.linear()
    law = bridge(0.2 * ONE, 0.3 * ONE, chain(1 / 1000), chain(0.0))
    step = Normal(law.mean, chain.betas[0].sqrt())
    assert float(law.lower) == 0
    point = Normal(law.mean, law.lower.sqrt(), validate_args=False)
    assert math.isinf(float(kl_divergence(point, step)))
    assert math.isfinite(float(-step.log_prob(0.3 * ONE)))
    # So the bound has a decoder there, of whichever variance.
    t, s = chain(1 / 1000), chain(0.0)
    estimate = from_x0(0.31 * ONE, 0.2 * ONE, t)
    for variance in ("small", "large"):
        last = Chain(chain.levels, variance).term(estimate, 0.2 * ONE, 0.3 * ONE, t, s)
        assert math.isfinite(float(last))


def test_erratum_e17_the_variance_of_the_bridge_knows_all_betas_before() -> None:
    # Printed: a function of beta_t only. Both chains have beta_3 = 0.3.
    lower = []
    for first in (0.1, 0.4):
        chain = DDPM(torch.tensor([first, 0.2, 0.3], dtype=torch.float64))
        lower.append(float(bridge(ONE, ONE, chain(1.0), chain(2 / 3)).lower))
        before = 1 - (1 - first) * 0.8
        assert lower[-1] == pytest.approx(0.3 * before / (1 - 0.7 * (1 - before)), rel=1e-12)
    assert lower[1] > 1.2 * lower[0]


def off_normal(beta: float) -> float:
    """Largest KL of q(x_s | x_t) from the Gaussian of its moments, over likely x_t; nats."""
    s = Level(0.8**0.5, 0.2**0.5)
    keep = (1 - beta) ** 0.5
    t = Level(keep * s.alpha, (1 - (keep * s.alpha) ** 2).sqrt())
    kernel = transition(s, t)
    z = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    prior, cell = TWO.log_prob(z[:, None], s), 10 / 20_000
    found = []
    for x in torch.linspace(-1.5, 1.5, 31, dtype=torch.float64):
        log_p = prior - 0.5 * (x - kernel.scale * z) ** 2 / kernel.variance
        p = (log_p - torch.logsumexp(log_p, 0)).exp() / cell
        mean = float((p * z).sum()) * cell
        std = (float((p * (z - mean) ** 2).sum()) * cell) ** 0.5
        gap = p * (p.clamp(min=1e-300).log() - Normal(mean, std).log_prob(z))
        found.append(float(gap.sum()) * cell)
    return max(found)


def test_e25_a_reverse_step_is_gaussian_for_small_betas_only() -> None:
    """Claim of S0 and S3, E25, E27: measured on a mixture of two, from one level."""
    gaps = [off_normal(beta) for beta in (1e-3, 1e-2, 0.1, 0.5)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 1e-6
    assert gaps[3] > 0.05
