"""Bring your own network and your own loop: each part works alone, with plain tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ornstein.core import EDM, GRIDS, EDMTarget, ItemNoise, generator
from ornstein.model import Model
from ornstein.solvers import Heun, sample
from ornstein.training.objective import WEIGHTS, LogNormal, Objective, stratified


class MyNet(nn.Module):
    """Any module that maps (x, noise, conditions) to something shaped like x."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(3, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2)
        )

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Map x, (B, 2), and one number per item that tells how noisy it is, (B,)."""
        return self.body(torch.cat([x, noise[:, None]], dim=1))


def ring(count: int, seed: int) -> Tensor:
    """Points on a ring of unit variance, (count, 2): the data."""
    source = generator(seed)
    angle = 2 * torch.pi * torch.rand(count, generator=source)
    radius = 2**0.5 + 0.05 * torch.randn(count, generator=source)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def main(steps: int = 1500) -> Tensor:
    """Train on the ring, then sample 500 points of it, (500, 2)."""
    torch.manual_seed(0)
    process = EDM()
    model = Model(MyNet(), EDMTarget())
    objective = Objective(process, LogNormal(), WEIGHTS["edm"])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        source = generator("my run", step)
        clean = ring(256, seed=step)
        eps = torch.randn(clean.shape, generator=source)
        level = objective.levels(stratified(256, source))
        loss = objective.loss(model, clean, eps, level, {}).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    levels = GRIDS["karras"](process, 18)
    noise = ItemNoise(seed=7, items=range(500))
    start = levels[0].sigma.float() * noise.start((2,))
    return sample(model.given({}), start, levels, Heun(), noise)


if __name__ == "__main__":
    points = main()
    radius = points.norm(dim=1)
    print(f"radius {radius.mean():.3f} ± {radius.std():.3f}; the data have 1.414 ± 0.050")
