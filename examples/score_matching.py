"""Four objectives, one optimum: the score of a noised mixture, which is known exactly here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ornstein.core import Level, Mixture, generator
from ornstein.training.score_matching import denoising, implicit, probes, sliced

LAW = Mixture(
    torch.tensor([0.6, 0.4]), torch.tensor([[-1.0, 0.0], [0.8, 0.5]]), torch.tensor([0.3, 0.4])
)
LEVEL = Level(0.9, 0.45)

Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
OBJECTIVES: dict[str, Loss] = {
    "denoising": lambda net, x0, eps, v: denoising(net, x0, eps, LEVEL),
    "implicit, exact trace": lambda net, x0, eps, v: implicit(net, LEVEL.mix(x0, eps)),
    "sliced": lambda net, x0, eps, v: sliced(net, LEVEL.mix(x0, eps), v, reduced=False),
    "sliced, less variance": lambda net, x0, eps, v: sliced(net, LEVEL.mix(x0, eps), v),
}


def train(objective: Loss, steps: int) -> nn.Module:
    """Train a small network, any function from points to vectors, to be the score."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for step in range(steps):
        source = generator("mixture", step)
        x0 = LAW.sample(512, source).float()
        eps = torch.randn(512, 2, generator=source)
        loss = objective(net, x0, eps, probes(eps, source)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fall.step()
    return net


def error(net: nn.Module) -> float:
    """Mean squared error of the score at points of the law, relative to the score's own size."""
    source = generator("test")
    x = LEVEL.mix(LAW.sample(4000, source), torch.randn(4000, 2, generator=source).double())
    truth = LAW.score(x, LEVEL)
    with torch.no_grad():
        gap = net(x.float()).double() - truth
    return float(gap.square().mean() / truth.square().mean())


def main(steps: int = 1000) -> dict[str, float]:
    """Train by each objective and return what is left of the error of each."""
    return {name: error(train(objective, steps)) for name, objective in OBJECTIVES.items()}


if __name__ == "__main__":
    for name, left in main().items():
        print(f"{name:<24} {100 * left:6.2f} % of the score's size, squared")
