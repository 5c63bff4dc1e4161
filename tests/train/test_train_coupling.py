"""Couplings of noise and data within a batch, and what they do to the flow."""

from __future__ import annotations

import builtins
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from ornstein.core import TARGETS, Flow, generator
from ornstein.errors import ConfigError, UsageError
from ornstein.model import Conditions, Model
from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes
from ornstein.solvers import DDIM, trace
from ornstein.training.coupling import COUPLINGS
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import LAWS, WEIGHTS, Objective, stratified

transport = COUPLINGS["transport"]


def cost(clean: Tensor, eps: Tensor) -> float:
    return float((clean - eps).square().sum())


def test_the_transport_of_a_batch_is_the_best_of_all_permutations() -> None:
    source = generator(4)
    clean, eps = torch.randn(6, 2, 3, generator=source), torch.randn(6, 2, 3, generator=source)
    least = min(cost(clean, eps[list(order)]) for order in permutations(range(6)))
    assert cost(clean, transport(clean, eps, {})) == pytest.approx(least, rel=1e-6)
    assert least < 0.9 * cost(clean, eps)


def test_in_one_dimension_transport_keeps_the_order() -> None:
    # The cost is convex, so the least one matches ranks with ranks.
    source = generator(5)
    clean, eps = torch.randn(50, 1, generator=source) ** 3, torch.randn(50, 1, generator=source)
    moved = transport(clean, eps, {})
    assert torch.equal(clean.flatten().argsort(), moved.flatten().argsort())
    assert torch.equal(moved.sort(dim=0).values, eps.sort(dim=0).values)


def test_noise_is_exchanged_within_a_label_only() -> None:
    source = generator(6)
    labels = torch.randint(0, 3, (40,), generator=source)
    clean = torch.randn(40, 2, generator=source) + labels[:, None]
    eps = torch.randn(40, 2, generator=source)
    moved = transport(clean, eps, {"class": labels})
    for label in range(3):
        mine = labels == label
        alone = transport(clean[mine], eps[mine], {})
        assert torch.equal(moved[mine], alone)


def test_without_scipy_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pip install scipy"):
        transport(torch.zeros(2, 1), torch.zeros(2, 1), {})


def test_the_setting_reaches_the_training_and_an_unknown_one_is_refused() -> None:
    from ornstein import build
    from ornstein.config import resolve

    asked = resolve(sets=["objective.coupling=transport"]).config
    assert build.objective(asked).coupling is transport
    with pytest.raises(ConfigError, match="Did you mean 'transport'"):
        resolve(sets=["objective.coupling=transprt"])


class Eight:
    """Eight points with two labels, all of them trained on and held out."""

    x = torch.linspace(-2, 2, 16).reshape(8, 2)
    train = heldout = torch.arange(8)

    def batch(self, indices: Tensor) -> Tensor:
        return self.x[indices]

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {"class": indices % 2}


def test_the_loop_couples_whole_batches_by_the_label_the_network_sees() -> None:
    seen = []

    def spy(clean: Tensor, eps: Tensor, cond: Conditions) -> Tensor:
        seen.append((len(clean), cond["class"].tolist()))
        return eps

    net = NETS["mlp"](shape=(2,), conditions=of_classes(2), width=16, layers=1)
    model = Model(net, TARGETS["velocity"]())
    objective = Objective(Flow(), LAWS["uniform"](0, 1), WEIGHTS["flow"], spy)
    how = Settings(batch=8, accumulate=4, condition_dropout=1.0)
    made = Trainer(model, Eight(), objective, how, null={"class": torch.tensor([2])})
    made.step(10)
    assert seen == [(8, [2] * 8)]  # every label is hidden, and 2 is no class
    made.heldout_loss(model)
    assert seen[1:] == [(8, [0, 1] * 4)]


def test_the_likelihood_weight_is_refused_without_its_law() -> None:
    from ornstein.config import resolve

    with pytest.raises(ConfigError, match="is the variational bound only with"):
        resolve(sets=["objective.weight=likelihood"])
    assert resolve(sets=["objective.weight=likelihood", "objective.law=log-snr"])


def moons(count: int, source: torch.Generator) -> Tensor:
    """Two half circles, standardised by hand, (count, 2)."""
    angle = torch.pi * torch.rand(count, generator=source)
    lower = torch.rand(count, generator=source) < 0.5
    x = torch.where(lower, 1 - angle.cos(), angle.cos())
    y = torch.where(lower, 0.5 - angle.sin(), angle.sin())
    return (torch.stack([x - 0.5, y - 0.25], 1)) / torch.tensor([0.87, 0.5])


def bend_of_the_flow(coupling: str) -> float:
    """Length of the paths over the distance of their ends, less 1, after a short training."""
    torch.manual_seed(0)
    model = Model(NETS["mlp"](shape=(2,), width=64, layers=2), TARGETS["velocity"]())
    objective = Objective(Flow(), LAWS["uniform"](0, 1), WEIGHTS["flow"], COUPLINGS[coupling])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(250):
        source = generator("coupling", step)
        clean = moons(128, source)
        eps = objective.coupling(clean, torch.randn(128, 2, generator=source), {})
        loss = objective.loss(model, clean, eps, objective.levels(stratified(128, source)), {})
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    levels = Flow()(torch.linspace(1, 0, 26, dtype=torch.float64))
    start = torch.randn(400, 2, generator=generator(9))
    steps = trace(model.given({}), start, levels, DDIM())
    path = torch.stack([start, *(step.x for step in steps)])
    length = path.diff(dim=0).norm(dim=2).sum(0)
    return float(length.sum() / (path[-1] - path[0]).norm(dim=1).sum()) - 1


def test_transport_straightens_the_paths_of_a_flow() -> None:
    # Independent noise and data shrink each other half-way: out to 0.7 of the spread and back.
    plain, straight = bend_of_the_flow("independent"), bend_of_the_flow("transport")
    assert plain > 0.3
    assert straight < 0.1
