"""Randomness as a function of (seed, stream, step, item): never of history, batch, worker or rank.

So picture k of a seed is the same picture in any batch, resuming needs no generator state, and one or
four ranks draw the same numbers. Numbers are drawn on the CPU, in float32, whatever device uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_MASK = (1 << 64) - 1

Draw = Callable[[Tensor], Tensor]
"""Called with x it answers standard normal noise like x, (B, *D); each call is a fresh draw."""


def key(*words: int | str) -> int:
    """Mix integers and short names into one 63-bit seed (the finaliser of SplitMix64, chained)."""
    state = 0x9E3779B97F4A7C15
    for word in words:
        value = int.from_bytes(word.encode(), "little") if isinstance(word, str) else word
        while True:  # names and big integers enter in pieces of 64 bits
            state = (state + (value & _MASK) + 0x9E3779B97F4A7C15) & _MASK
            state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
            state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
            state ^= state >> 31
            if -1 <= value >> 64 <= 0:
                break
            value >>= 64
    return state >> 1


def generator(*words: int | str) -> torch.Generator:
    """Return a CPU generator seeded by ``words``."""
    return torch.Generator().manual_seed(key(*words))


def item_normal(
    seed: int, items: Sequence[int], shape: Sequence[int], *, step: int = 0, stream: str = "noise"
) -> Tensor:
    """Standard normal noise, (len(items), *shape) float32, each row a function of its item alone."""
    rows = torch.empty(len(items), *shape)
    source = torch.Generator()
    for row, item in zip(rows, items, strict=True):
        torch.randn(
            tuple(shape), generator=source.manual_seed(key(seed, stream, step, item)), out=row
        )
    return rows


class Noise(Protocol):
    """A source of noise for a whole trajectory; ``at(step)`` gives the draws of one step."""

    def at(self, step: int, /) -> Draw: ...


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
