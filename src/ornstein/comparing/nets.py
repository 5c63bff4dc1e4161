"""The two networks that the other families share: from a vector to an item, and back to numbers.

Residual, without norms (a norm ties the items of a batch together, which a critic must not), and
without attention: the same in a GAN and in a VAE, so that they differ in what they learn by.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets.layers import CONVOLUTIONS, convolution, silent

BASE = 16  # channels at full size; twice as many at each half of it
WIDEST = 128
HIDDEN, LAYERS = 128, 3  # of items without space
SLOPE = 0.2


class Residual(nn.Module):
    """Two convolutions beside the way around; the second starts at zero (arXiv:1901.09321)."""

    def __init__(self, rank: int, channels: int) -> None:
        super().__init__()
        self.first = convolution(rank, channels, channels, 3)
        self.second = silent(convolution(rank, channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, *space)."""
        y = self.first(functional.leaky_relu(x, SLOPE))
        out: Tensor = x + self.second(functional.leaky_relu(y, SLOPE))
        return out


def spaces(space: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The sizes from the whole item down to about 4 to 7, each half of the one before."""
    found = [space]
    while max(found[-1]) >= 8:
        found.append(tuple(-(-n // 2) for n in found[-1]))
    return found


def narrowing(shape: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Network from items (B, *shape) to numbers (B, outputs)."""
    if len(shape) == 1:
        return _perceptron(shape[0], outputs)
    rank, sizes = len(shape) - 1, spaces(shape[1:])
    widths = _widths(len(sizes))
    layers: list[nn.Module] = [convolution(rank, shape[0], widths[0], 3)]
    for inside, outside in pairwise(widths):
        halve = CONVOLUTIONS[rank](inside, outside, 3, stride=2, padding=1)
        layers += [nn.LeakyReLU(SLOPE), halve, Residual(rank, outside)]
    last = widths[-1] * prod(sizes[-1])
    return nn.Sequential(*layers, nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Linear(last, outputs))


def widening(inputs: int, shape: tuple[int, ...], times: int = 1) -> nn.Sequential:
    """Network from vectors (B, inputs) to items (B, times·C, *space)."""
    if len(shape) == 1:
        return _perceptron(inputs, times * shape[0])
    rank, sizes = len(shape) - 1, spaces(shape[1:])[::-1]
    widths = _widths(len(sizes))[::-1]
    start = (widths[0], *sizes[0])
    layers: list[nn.Module] = [nn.Linear(inputs, prod(start)), nn.Unflatten(1, start)]
    for size, inside, outside in zip(sizes[1:], widths, widths[1:], strict=False):
        layers += [Residual(rank, inside), nn.LeakyReLU(SLOPE)]
        layers += [convolution(rank, inside, outside, 1), nn.Upsample(size)]
        layers += [convolution(rank, outside, outside, 3)]
    layers += [nn.LeakyReLU(SLOPE), convolution(rank, widths[-1], times * shape[0], 3)]
    return nn.Sequential(*layers)


def _widths(count: int) -> list[int]:
    return [min(BASE * 2**k, WIDEST) for k in range(count)]


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        layers += [nn.Linear(inputs, HIDDEN), nn.LeakyReLU(SLOPE)]
        inputs = HIDDEN
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
