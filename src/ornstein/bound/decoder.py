"""Decoders: -log p(x0 | x_1), the last term of the bound, for real and for quantised data.

The model works on standardised data; a decoder answers for the raw values, as probabilities where
they are levels and as densities where they are real numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor


class Standardised(Protocol):
    """What is asked of a coding of the data; ``ornstein.data.Coding`` is one."""

    @property
    def mean(self) -> tuple[float, ...]: ...

    @property
    def std(self) -> tuple[float, ...]: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...

    @property
    def levels(self) -> int | None: ...


class Decoder(Protocol):
    """Answers -log p(x0) of each dimension, given a mean and a variance.

    Attributes:
        unit: "bits/dim" where it is of a probability, "nats/dim" of a density.
        reads_x: Whether mean and variance are those of x itself, x/alpha and rho², rather than of
            the reverse step.
    """

    unit: ClassVar[str]
    reads_x: ClassVar[bool]

    def __call__(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Nats of each dimension, (B, *D) float64; x0 and mean are standardised."""
        ...


@dataclass(frozen=True)
class Density:
    """The normal density, for real data.

    Attributes:
        std: Standard deviation of each channel in raw units, which turns the density of
            standardised data into that of the data.
    """

    std: tuple[float, ...] = (1.0,)
    unit: ClassVar[str] = "nats/dim"
    reads_x: ClassVar[bool] = False

    def __call__(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Nats of each dimension, (B, *D)."""
        square = (x0.double() - mean) ** 2 / variance
        return 0.5 * (square + (2 * math.pi * variance).log()) + _over(self.std, x0).log()


@dataclass(frozen=True)
class Bins:
    """The mass that a normal law has in the bin of a level (arXiv:2006.11239, eq. 13).

    The first and the last bin are open, so the masses of all levels add up to 1.

    Attributes:
        low: Least raw value.
        high: Greatest raw value.
        levels: Number of equally spaced values from low to high.
        mean: Raw mean of each channel, which standardisation took off.
        std: Raw standard deviation of each channel.
        law: "normal", or "tanh" for the approximation that the known codes use.
    """

    low: float = -1.0
    high: float = 1.0
    levels: int = 256
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    law: Literal["normal", "tanh"] = "normal"
    unit: ClassVar[str] = "bits/dim"
    reads_x: ClassVar[bool] = False

    def __call__(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Nats of each dimension, (B, *D)."""
        std, shift = _over(self.std, x0), _over(self.mean, x0)
        step = (self.high - self.low) / (self.levels - 1)
        number = ((x0.double() * std + shift - self.low) / step).round().clamp(0, self.levels - 1)
        centre, half = (self.low + number * step - shift) / std, 0.5 * step / std
        deviation = variance.sqrt()
        a, b = (centre - half - mean) / deviation, (centre + half - mean) / deviation
        # Open ends; far enough is as good as infinity, and has a slope.
        far = 1e3
        a = torch.where(number == 0, b.clamp(max=0) - far, a)
        b = torch.where(number == self.levels - 1, a.clamp(min=0) + far, b)
        return -MASS[self.law](a, b)


@dataclass(frozen=True)
class Softmax(Bins):
    """The level that x_1 itself points to, all levels being equally likely before.

    (arXiv:2107.00630, eq. 9.) It asks no network, so it is sharp only if the last level is.
    """

    reads_x: ClassVar[bool] = True

    def __call__(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Nats of each dimension, (B, *D)."""
        std, shift = _over(self.std, x0), _over(self.mean, x0)
        step = (self.high - self.low) / (self.levels - 1)

        def energy(value: Tensor) -> Tensor:
            return (mean - value) ** 2 / (2 * variance)

        total = torch.full_like(mean, -math.inf)
        for number in range(self.levels):
            total = torch.logaddexp(total, -energy((self.low + number * step - shift) / std))
        nats: Tensor = energy(x0.double()) + total
        return nats


def decoder_of(coding: Standardised) -> Decoder:
    """Return the exact decoder of a data set: bins where its values are levels, else a density."""
    if coding.levels is None or coding.low is None or coding.high is None:
        return Density(coding.std)
    return Bins(coding.low, coding.high, coding.levels, coding.mean, coding.std)


def _normal_mass(a: Tensor, b: Tensor) -> Tensor:
    """Log of Phi(b) - Phi(a), exact in both tails."""
    right = a + b > 0  # mirrored, so that the two are small numbers and not near 1
    a, b = torch.where(right, -b, a), torch.where(right, -a, b)
    low, high = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    mass: Tensor = high + (-torch.expm1(low - high)).log()
    return mass


def _tanh_mass(a: Tensor, b: Tensor) -> Tensor:
    """The same by the approximation of the codes, floored at 1e-12 as there."""

    def below(z: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    return (below(b) - below(a)).clamp(min=1e-12).log()


MASS = {"normal": _normal_mass, "tanh": _tanh_mass}


def _over(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers of the channels as a tensor that multiplies a batch (B, C, ...)."""
    made = torch.tensor(values, dtype=torch.float64, device=like.device)
    return made.reshape(1, -1, *(1,) * (like.ndim - 2))
