"""The objectives against closed forms and against each paper's own loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ornstein.core import TARGETS, VP, Level, generator
from ornstein.model import Model
from ornstein.training.objective import LAWS, WEIGHTS, Objective, UniformTime

LOG_SNR = torch.linspace(-8, 8, 33, dtype=torch.float64)
LEVELS = Level(torch.sigmoid(LOG_SNR).sqrt(), torch.sigmoid(-LOG_SNR).sqrt())


class Wrong(nn.Module):
    """A network whose x0 is off by a known error, whatever its target."""

    def __init__(self, target: object, clean: Tensor, error: float | Tensor) -> None:
        super().__init__()
        self.target, self.clean, self.error = target, clean, error

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        # x arrives at unit variance, which for unit data is the variance-preserving scale itself.
        x0 = self.clean + self.error
        alpha, sigma = (s[:, None] for s in (LEVELS.alpha, LEVELS.sigma))
        return self.target.of(x0, (x - alpha * x0) / sigma, LEVELS)


def loss_of(target: str, weight: str, error: float | Tensor = 0.1) -> Tensor:
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


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_b6_one_weight_means_the_same_gradient_for_every_target(target: str, weight: str) -> None:
    # What the networks share: the error of x0 in each of five dimensions, at each level.
    error = torch.linspace(-1, 2, 5, dtype=torch.float64).repeat(len(LEVELS), 1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(target, weight, error).sum(), error)
    want = WEIGHTS[weight](LEVELS)[:, None] * 2 * error.detach() / 5
    torch.testing.assert_close(gradient, want, rtol=1e-8, atol=1e-12)


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


def test_b18_the_likelihood_weight_gives_the_bound_of_continuous_time() -> None:
    """Mean over the law times half its range is -log p_theta of the paper, by two other roads.

    For N(0, c) data and the optimal network: 1/2·log((1 + c·SNR_max)/(1 + c·SNR_min)), by
    integrating the error c/(1 + c·SNR) over SNR; and 1/2 of g² on the score's error over time.
    """
    c, process, cells = 0.25, VP(), 4000
    u = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    objective = Objective(process, LAWS["log-snr"](0, 1), WEIGHTS["likelihood"])
    level = objective.levels(u)
    floor = c * level.sigma**2 / (level.alpha**2 * c + level.sigma**2)  # E|x0 - E[x0 | x]|²
    low, high = process.span
    ours = float((objective.weight(level) * floor).mean()) * (high - low) / 2
    closed = 0.5 * math.log((1 + c * math.exp(high)) / (1 + c * math.exp(low)))
    assert ours == pytest.approx(closed, rel=1e-6)
    first, last = (float(process.time(end)) for end in (high, low))
    t = first + (last - first) * u**4  # denser near the data, where g²/sigma² is large
    at = process(t)
    score = (at.alpha / at.sigma**2) ** 2 * (c * at.sigma**2 / (at.alpha**2 * c + at.sigma**2))
    density = 4 * u**3 * (last - first)
    by_time = 0.5 * float((process.diffusion2(t) * score * density).mean())
    assert by_time == pytest.approx(closed, rel=1e-3)
