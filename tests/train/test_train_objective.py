"""The objectives against closed forms and against each paper's own loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ornstein.core import EDM, TARGETS, VP, Flow, Level, generator
from ornstein.model import Model
from ornstein.training.objective import (
    WEIGHTS,
    LogNormal,
    Objective,
    UniformTime,
    stratified,
)

LOG_SNR = torch.linspace(-8, 8, 33, dtype=torch.float64)
LEVELS = Level(torch.sigmoid(LOG_SNR).sqrt(), torch.sigmoid(-LOG_SNR).sqrt())


class Wrong(nn.Module):
    """A network whose x0 is off by a known error, whatever its target."""

    def __init__(self, target: object, clean: Tensor, error: float) -> None:
        super().__init__()
        self.target, self.clean, self.error = target, clean, error

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        # x arrives at unit variance, which for unit data is the variance-preserving scale itself.
        x0 = self.clean + self.error
        alpha, sigma = (s[:, None] for s in (LEVELS.alpha, LEVELS.sigma))
        return self.target.of(x0, (x - alpha * x0) / sigma, LEVELS)


def loss_of(target: str, weight: str, error: float = 0.1) -> Tensor:
    source = generator(3)
    clean = torch.randn(len(LEVELS), 5, dtype=torch.float64, generator=source)
    eps = torch.randn(clean.shape, dtype=torch.float64, generator=source)
    made = TARGETS[target]()
    model = Model(Wrong(made, clean, error), made)
    return Objective(VP(), UniformTime(), WEIGHTS[weight]).loss(model, clean, eps, LEVELS, {})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_b7_one_weight_means_the_same_loss_for_every_target(target: str, weight: str) -> None:
    loss = loss_of(target, weight)
    torch.testing.assert_close(loss, 0.01 * WEIGHTS[weight](LEVELS), rtol=1e-8, atol=0)


@pytest.mark.parametrize(
    ("target", "weight"),
    [("eps", "simple"), ("x0", "x0"), ("v", "edm"), ("edm", "edm"), ("velocity", "flow")],
)
def test_b6_each_paper_weights_the_error_of_its_own_output_by_one(
    target: str, weight: str
) -> None:
    made = TARGETS[target]()
    gain = WEIGHTS[weight](LEVELS) / made.gain2(LEVELS)
    torch.testing.assert_close(gain, torch.ones_like(gain), rtol=1e-9, atol=0)


def test_min_snr_is_the_eps_weight_min_of_1_and_5_over_snr() -> None:
    snr = LOG_SNR.exp()
    eps_weight = WEIGHTS["min-snr"](LEVELS) / snr
    torch.testing.assert_close(eps_weight, torch.minimum(torch.ones_like(snr), 5 / snr))


def test_b8_the_loss_of_the_optimum_on_gaussian_data_is_the_posterior_variance() -> None:
    variance = 0.25
    count = 200_000

    class Best(nn.Module):
        def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
            return x * (alpha * variance / (alpha**2 * variance + sigma**2))

    source = generator(11)
    clean = variance**0.5 * torch.randn(count, 1, dtype=torch.float64, generator=source)
    eps = torch.randn(count, 1, dtype=torch.float64, generator=source)
    for log_snr in (-4.0, 0.0, 3.0):
        level = VP().level(log_snr).unit()
        alpha, sigma = level.alpha, level.sigma
        batch = Level(alpha.expand(count), sigma.expand(count))
        objective = Objective(VP(), UniformTime(), WEIGHTS["x0"])
        loss = objective.loss(Model(Best(), TARGETS["x0"]()), clean, eps, batch, {})
        floor = variance * sigma**2 / (alpha**2 * variance + sigma**2)
        error = float(loss.std() / count**0.5)
        assert float(loss.mean()) == pytest.approx(float(floor), abs=4 * error)


def test_log_normal_levels_have_the_stated_quantiles_on_every_process() -> None:
    u = torch.tensor(
        [0.0227501319, 0.5, 0.8413447461], dtype=torch.float64
    )  # normal CDF at -2, 0, 1
    for process in (EDM(), VP(), Flow()):
        log_rho = LogNormal(-0.4, 0.7)(u, process).rho.log()
        torch.testing.assert_close(log_rho, torch.tensor([-1.8, -0.4, 0.3], dtype=torch.float64))


def test_the_log_normal_law_is_sd3s_logit_normal_time() -> None:
    u = stratified(1000, generator(5))
    level = LogNormal(0.3, 0.8)(u, Flow())
    logit = torch.logit(level.sigma)
    cdf = 0.5 * torch.special.erfc((0.3 - logit) / (0.8 * 2**0.5))
    torch.testing.assert_close(cdf, u, rtol=1e-9, atol=1e-9)


def test_uniform_time_spreads_evenly_over_the_span() -> None:
    u = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(
        UniformTime()(u, Flow()).sigma, torch.linspace(0.001, 0.999, 5, dtype=torch.float64)
    )


def test_stratified_draws_hit_every_cell_once_and_are_uniform() -> None:
    draws = stratified(64, generator(1))
    assert torch.equal((draws * 64).floor(), torch.arange(64, dtype=torch.float64))
    inside = torch.cat([stratified(64, generator(1, k)) * 64 % 1 for k in range(200)])
    assert float(inside.mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / len(inside)) ** 0.5)
