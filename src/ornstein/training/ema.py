"""Averages of the weights over training, in float32, sane after any number of steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def exponent(width: float) -> float:
    """Exponent gamma of the power function of relative width ``width``.

    (arXiv:2312.02696, eq. 123.) The weight of time tau in the average over a training of
    length t grows as (tau/t)^gamma.
    """
    # width² = (g + 1)/((g + 2)²(g + 3)) falls in g > -1/2, so bisection finds the one root.
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = 0.5 * (low + high)
        wide = math.sqrt((middle + 1) / ((middle + 2) ** 2 * (middle + 3))) > width
        low, high = (middle, high) if wide else (low, middle)
    return 0.5 * (low + high)


class PowerEMA:
    """Power-function average of a module's parameters (arXiv:2312.02696, eq. 127).

    After n steps it covers about the last ``width`` share of them, whatever n is: no decay to
    choose, no trace of the initial weights. Buffers are not averaged.

    Args:
        module: Whose parameters are followed.
        width: Relative standard deviation of the averaging window, 0.05 to 0.25; 0 follows the
            weights.
    """

    def __init__(self, module: nn.Module, width: float = 0.1) -> None:
        self.gamma = exponent(width) if width > 0 else math.inf
        self.average = {name: p.detach().float().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step ``step``, counted from 1."""
        keep = 0.0 if math.isinf(self.gamma) else (1 - 1 / step) ** (self.gamma + 1)
        weights = [p.detach().float() for p in module.parameters()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - keep)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the average into a module of the same make."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.average[name])

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take up a saved average."""
        for name, value in self.average.items():
            value.copy_(tensors[name])
