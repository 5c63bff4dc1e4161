"""What every network here is: a function of a noisy array, its noise number and a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ornstein.errors import ConfigError


class Net(Protocol):
    """A network: ``net(x, noise, cond)`` returns an array like ``x``, or several (``outputs``).

    ``x`` is (B, *shape). ``noise`` is (B,): one number that tells how noisy each item is,
    of order one. ``cond`` maps names to tensors; the name read here is ``class``, (B,) int64,
    where the index ``classes`` means "no class"; a missing name means none for every item.
    """

    def __call__(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Return the output, shaped like ``x`` but with ``outputs`` times its channels."""
        ...

    def options(self) -> dict[str, Any]:
        """Return the arguments, all fit for JSON, that build this network again."""
        ...


def whole(name: str, value: object, least: int = 1) -> int:
    """Return ``value`` if it is a whole number >= ``least``; else say what is allowed."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return value


def wholes(name: str, values: object, least: int = 1) -> tuple[int, ...]:
    """Return ``values`` as a tuple if they are whole numbers >= ``least``; else refuse."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{name} must be a list of whole numbers, not {values!r}.")
    return tuple(whole(f"each of {name}", v, least) for v in values)


def fraction(name: str, value: object) -> float:
    """Return ``value`` as a float if it lies in [0, 1); else refuse."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ConfigError(f"{name} must be a number in [0, 1), not {value!r}.")
    return float(value)


class Embedding(nn.Module):
    """Turns the noise number and the class into one vector per item, (B, width).

    The number passes through sines and cosines of fixed frequencies, as in DDPM
    (arXiv:2006.11239), from one slow wave over the whole range to fast ones, then through two
    linear maps; the class vector is added to the result.

    Args:
        width: Length of the vector.
        classes: Number of classes; one more row stands for "no class". 0 leaves classes out.
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        # The noise number spans about 5 units: waves of length 16 to 1/4 tell 0.02 apart.
        lengths = torch.logspace(4, -2, 32, base=2.0)
        self.register_buffer("frequencies", 2 * torch.pi / lengths, persistent=False)
        self.first = nn.Linear(2 * len(lengths), width)
        self.second = nn.Linear(width, width)
        self.classed = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors for ``noise`` (B,) and ``cond["class"]`` (B,) if there is one."""
        waves = noise[:, None] * self.frequencies
        waves = torch.cat([waves.sin(), waves.cos()], dim=1).to(self.first.weight.dtype)
        vector: Tensor = self.second(nn.functional.silu(self.first(waves)))
        if self.classed is not None:
            index = cond.get("class")
            if index is None:
                index = torch.full(noise.shape, self.classes, device=noise.device)
            vector = vector + self.classed(index)
        return nn.functional.silu(vector)
