"""Averages of the weights over training, in float32, sane after any number of steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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


def width_text(width: float) -> str:
    """What weights of a relative width are, in words; those of width 0 are no average."""
    return f"average of relative width {width:g}" if width else "raw"


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


PROFILES = (0.05, 0.1)
"""Widths that are followed so that any other can be made afterwards (arXiv:2312.02696, sec. 3)."""


class Profiles:
    """Averages of several widths at once; none costs nothing.

    Args:
        module: Whose parameters are followed.
        widths: Relative widths.
    """

    def __init__(self, module: nn.Module, widths: Sequence[float]) -> None:
        self.each = {f"{width:g}": PowerEMA(module, width) for width in widths}

    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step ``step``, counted from 1."""
        for ema in self.each.values():
            ema.update(module, step)

    def tensors(self) -> dict[str, Tensor]:
        """The averages, named "width/parameter"."""
        return {
            f"{w}/{name}": t for w, ema in self.each.items() for name, t in ema.average.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up saved averages."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])


def product(gamma: Tensor, time: Tensor, other: Tensor, end: Tensor) -> Tensor:
    """Inner product of the profiles (gamma, time) and (other, end) over the whole training.

    A profile is (gamma + 1)·tau^gamma/time^(gamma + 1) on (0, time), so the product is a power of
    tau, integrated up to the earlier end. All arguments broadcast, float64.
    """
    first = torch.minimum(time, end)
    # In logarithms of ratios: time^gamma alone would overflow.
    ratio = gamma * (first / time).log() + other * (first / end).log() + (first / time).log()
    return (gamma + 1) * (other + 1) / (gamma + other + 1) * ratio.exp() / end


def shares(widths: Sequence[float], times: Sequence[float], width: float, end: float) -> Tensor:
    """Weights of stored averages that come nearest to the average of another width, (N,) float64.

    The least squares of arXiv:2312.02696 (section 3.2): the sum of stored profiles is to be the
    wanted one. Here the shares sum to 1, so that few snapshots give an average as well.

    Args:
        widths: Relative width of each stored average.
        times: Step at which it was stored.
        width: The relative width wanted.
        end: The step at which it is wanted.
    """
    gamma = torch.tensor([exponent(w) for w in widths], dtype=torch.float64)
    time = torch.tensor(list(times), dtype=torch.float64)
    wanted = torch.tensor(exponent(width), dtype=torch.float64)
    at = torch.tensor(float(end), dtype=torch.float64)
    matrix = product(gamma[:, None], time[:, None], gamma, time)
    right = product(gamma, time, wanted, at)
    scale = matrix.diagonal().sqrt()  # every profile at length 1, for the sake of conditioning
    # Bordered by a multiplier: shares that do not sum to 1 would shrink the weights.
    border = 1 / scale
    bordered = torch.cat([matrix * border * border[:, None], border[None]])
    bordered = torch.cat([bordered, torch.cat([border, border.new_zeros(1)])[:, None]], 1)
    goal = torch.cat([right * border, border.new_ones(1)])[:, None]
    solved: Tensor = torch.linalg.lstsq(bordered, goal, driver="gelsd").solution
    return solved[:-1, 0] * border
