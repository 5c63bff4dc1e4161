"""Randomness as a function of (seed, stream, step, item): never of history, batch, worker or rank.

So picture k of a seed is the same picture in any batch, resuming needs no generator state, and one
or four ranks draw the same numbers. Numbers are drawn on the CPU, whatever device uses them.

The rows do not come from torch's generator: on the CPU it looks at 32 bits of its seed only, and
of 50,000 pictures two would start from the same noise one time in four.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Protocol

import torch
from torch import Tensor

_CHUNK = 1 << 18  # numbers made at a time: what stays in the processor's cache

Draw = Callable[[Tensor], Tensor]
"""Called with x it answers standard normal noise like x, (B, *D); each call is a fresh draw."""


def key(*words: int | str) -> int:
    """Hash integers and names into one 63-bit number (BLAKE2b)."""
    text = ",".join(repr(word) if isinstance(word, str) else str(index(word)) for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(*words: int | str) -> torch.Generator:
    """Return a CPU generator seeded by ``words``, by 32 bits of their key: all that torch uses."""
    return torch.Generator().manual_seed(key(*words))


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


_GOLDEN, _FIRST, _SECOND = (
    _signed(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def _shifted(z: Tensor, bits: int) -> Tensor:
    # Right shift that draws in zeros; torch's own copies the sign.
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _rows(keys: Tensor, count: int) -> Tensor:
    """Standard normal numbers, (B, count) float32, each row a function of its 64-bit key.

    Number i of a row is output i of SplitMix64 (Steele et al. 2014) started at the key, 32 bits of
    it for the radius and 32 for the angle of Box and Muller. float64, so that the last digit of a
    logarithm, which may differ between processors, is rounded away.
    """
    z = keys[:, None] + torch.arange(1, (count + 1) // 2 + 1) * _GOLDEN
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    z = z ^ _shifted(z, 31)
    radius = ((_shifted(z, 32).double() + 0.5) / 2**32).log().mul(-2).sqrt()
    angle = (z & 0xFFFFFFFF).double() * (2 * math.pi / 2**32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count].float()


def item_normal(
    seed: int, items: Sequence[int], shape: Sequence[int], *, step: int = 0, stream: str = "noise"
) -> Tensor:
    """Standard normal noise, (len(items), *shape) float32, each row a function of its item."""
    count = math.prod(shape)
    keys = torch.tensor([key(seed, stream, step, item) for item in items], dtype=torch.int64)
    chunks = keys.split(max(1, _CHUNK // max(1, count)))
    return torch.cat([_rows(chunk, count) for chunk in chunks]).reshape(len(items), *shape)


class Noise(Protocol):
    """A source of noise for a whole trajectory; ``at(step)`` gives the draws of one step."""

    def at(self, step: int, /) -> Draw:
        """Return the draws of one step."""
        ...


@dataclass(frozen=True)
class FreshNoise:
    """Noise from torch's global generator, for quick experiments."""

    def at(self, step: int) -> Draw:
        """Return ``torch.randn_like``; the step does not matter."""
        return torch.randn_like


@dataclass(frozen=True)
class ItemNoise:
    """Noise by counters: row k of a batch is a function of (seed, items[k], step, draw) alone."""

    seed: int
    items: Sequence[int]

    def start(self, shape: Sequence[int]) -> Tensor:
        """Return the noise a trajectory starts from, (len(items), *shape) float32."""
        return item_normal(self.seed, self.items, shape, stream="start")

    def at(self, step: int) -> Draw:
        """Return the draws of one step; the n-th call within the step is the n-th draw."""
        calls = 0

        def draw(x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            rows = item_normal(
                self.seed, self.items, x.shape[1:], step=step, stream=f"draw{calls}"
            )
            return rows.to(x)

        return draw
