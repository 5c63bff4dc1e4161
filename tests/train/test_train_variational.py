"""The bound as an objective: alone, hybrid, and the same for every target (B6, B10)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ornstein import build
from ornstein.bound import Bins, Chain, bound
from ornstein.config import resolve
from ornstein.core import DDPM, EDM, GRIDS, TARGETS, Flow, Level, Process, generator
from ornstein.data import open_data
from ornstein.model import Model
from ornstein.training.objective import LAWS, WEIGHTS, Objective, UniformTime
from ornstein.training.variational import LOSSES, Variational, whole_chain

TABLE = DDPM.cosine(20)
CHAIN = TABLE.levels
AT = torch.tensor([0, 3, 9, 14, 18])  # steps that do not end at clean data
LEVELS = CHAIN[AT]
CLEAN = torch.randn(5, 3, dtype=torch.float64, generator=generator("clean"))
EPS = torch.randn(5, 3, dtype=torch.float64, generator=generator("eps"))


class Wrong(nn.Module):
    """A network whose x0 is off by a parameter, whatever its target, with its own variance."""

    def __init__(self, target: str, learned: bool) -> None:
        super().__init__()
        self.target, self.learned = TARGETS[target](), learned
        self.error = nn.Parameter(torch.linspace(-0.4, 0.8, 5, dtype=torch.float64))
        self.v = nn.Parameter(torch.linspace(-1, 2, 5, dtype=torch.float64))

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        x0 = CLEAN + self.error[:, None]
        F = self.target.of(x0, (x - LEVELS.alpha[:, None] * x0) / LEVELS.sigma[:, None], LEVELS)
        return torch.cat([F, self.v[:, None].expand(5, 3)], 1) if self.learned else F


def gradients(target: str, loss: str, learned: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each item, and the gradients of error and v."""
    net = Wrong(target, learned)
    model = Model(net, net.target, learned=learned)
    part = LOSSES[loss](TABLE, Bins())
    objective = Objective(TABLE, UniformTime(), WEIGHTS["simple"], bound=part)
    each = objective.loss(model, CLEAN, EPS, LEVELS, {})
    each.sum().backward()
    empty = torch.zeros(5, dtype=torch.float64)
    return (
        each.detach(),
        empty if net.error.grad is None else net.error.grad,
        empty if net.v.grad is None else net.v.grad,
    )


def weight() -> Tensor:
    """The weight on the x0-error that the bound of a fixed variance is, from alpha alone."""
    snr = CHAIN.alpha[:-1] ** 2 / (1 - CHAIN.alpha[:-1] ** 2)
    return 20 / 2 * (snr[AT + 1] - snr[AT])  # arXiv:2107.00630, eq. 14


@pytest.mark.parametrize("target", TARGETS)
def test_b6_the_bound_of_a_fixed_variance_is_a_weight_on_the_error_of_x0(target: str) -> None:
    loss, slope, _ = gradients(target, "vlb")
    error = torch.linspace(-0.4, 0.8, 5, dtype=torch.float64)
    torch.testing.assert_close(loss, weight() * error**2, rtol=1e-8, atol=0)
    torch.testing.assert_close(slope, weight() * 2 * error, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("target", TARGETS)
def test_b10_hybrid_trains_the_mean_by_the_error_and_the_variance_by_the_bound(
    target: str,
) -> None:
    _, mean, none = gradients(target, "weighted", learned=True)
    _, _, variance = gradients(target, "vlb", learned=True)
    both = gradients(target, "hybrid", learned=True)
    assert bool((none == 0).all())
    assert bool((variance != 0).all())
    torch.testing.assert_close(both[1], mean)
    torch.testing.assert_close(both[2], 0.001 * variance)


def test_b6_the_eps_form_has_the_papers_weight() -> None:
    # beta²/(2·sigma²·(1 - beta)·(1 - alpha²)) with sigma² = beta-tilde (arXiv:2006.11239, eq. 12).
    k = 20 - AT
    alpha2 = torch.cumprod(1 - TABLE.betas, 0)
    beta, after, before = TABLE.betas[k - 1], alpha2[k - 1], alpha2[k - 2]
    tilde = beta * (1 - before) / (1 - after)
    eps_weight = beta**2 / (2 * tilde * (1 - beta) * (1 - after))
    loss, _, _ = gradients("eps", "vlb")
    eps_error = torch.linspace(-0.4, 0.8, 5, dtype=torch.float64) / LEVELS.rho
    torch.testing.assert_close(loss, 20 * eps_weight * eps_error**2, rtol=1e-7, atol=0)


@pytest.mark.parametrize("process", [TABLE, EDM(), Flow()])
def test_even_steps_meet_every_step_of_the_chain_equally_often(process: Process) -> None:
    chain = whole_chain(process)
    steps = len(chain) - 1
    u = (torch.arange(3 * steps, dtype=torch.float64) + 0.5) / (3 * steps)
    met = LAWS["steps"](0, 1)(u, process)
    want = chain.rho[:-1].flip(0).repeat_interleave(3)  # clean comes first, as for every law
    torch.testing.assert_close(met.rho, want, rtol=0, atol=0)


def test_levels_of_any_law_are_moved_to_the_nearest_step_of_the_chain() -> None:
    part = Variational(Chain(CHAIN))
    objective = Objective(TABLE, LAWS["log-normal"](0.0, 2.0), WEIGHTS["simple"], bound=part)
    u = torch.linspace(0.01, 0.99, 200, dtype=torch.float64)
    plain = Objective(TABLE, objective.law, objective.weight).levels(u).log_snr
    moved = objective.levels(u).log_snr
    marks = CHAIN.log_snr[:-1]
    gap = (plain[:, None] - marks).abs()
    assert torch.equal(moved, marks[gap.argmin(1)])
    assert torch.equal(part.place(CHAIN[:-1]), torch.arange(20))


def test_the_last_step_is_trained_by_the_decoder() -> None:
    part = LOSSES["vlb"](TABLE, Bins(-1, 1, 5))
    assert part is not None
    level = Level(CHAIN.alpha[19:20], CHAIN.sigma[19:20])

    class Says(nn.Module):
        def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
            return torch.full_like(x, 0.45)

    model = Model(Says(), TARGETS["x0"]())
    objective = Objective(TABLE, UniformTime(), WEIGHTS["simple"], bound=part)
    clean = torch.full((1, 3), 0.5, dtype=torch.float64)
    loss = objective.loss(model, clean, EPS[:1], level, {})
    nats = Bins(-1, 1, 5)(clean, torch.full_like(clean, 0.45), part.chain.floor)
    torch.testing.assert_close(loss, 20 * nats.mean(1))


@pytest.mark.slow
def test_b10_a_trained_variance_gives_a_lower_bound_than_both_fixed_ones() -> None:
    data = open_data("two-moons")
    sets = ("net.name=mlp", "net.size=tiny", "train.batch=512", "train.learning_rate=3e-3",
            "train.steps=600", "model.process_options.steps=1000")  # fmt: skip
    made = build.trainer(resolve(recipe="iddpm", sets=sets).config, data, torch.device("cpu"))
    for _ in made.run(lambda: 600):
        pass
    made.ema.copy_to(made.model.eval())
    held = torch.as_tensor(data.heldout)
    x0, cond = data.batch(held), data.condition_batch(held)
    for steps in (100, 250):
        grid = GRIDS["subchain"](DDPM.cosine(1000), steps)
        small, large, learned = (
            bound(made.model.given(cond), x0, grid, variance=name).value
            for name in ("small", "large", "learned")
        )
        assert learned < min(small, large)
