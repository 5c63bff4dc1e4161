"""What a step trains on: items, noise, levels and conditions, as functions of (seed, step, row).

A rank of several makes its own rows only, and they are the rows that one alone would make.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from ornstein.core import generator, per_item
from ornstein.training.conditions import hidden, noisy
from ornstein.training.coupling import independent
from ornstein.training.objective import Criterion, stratified
from ornstein.training.ranks import Share
from ornstein.training.settings import Settings

if TYPE_CHECKING:
    import numpy as np

PIECE = 1 << 16  # numbers that one generator draws: seeding it costs as much as a thousand
FEW, HELD = 8, 1 << 25  # items that are held beside the steps in any case; values of more of them


class Items(Protocol):
    """What training needs of a data set; ``ornstein.data.Dataset`` is one, tensors wrap easily."""

    @property
    def train(self) -> Tensor | np.ndarray:
        """Indices of the items to train on, (n,) int64."""

    @property
    def heldout(self) -> Tensor | np.ndarray:
        """Indices of the items kept aside, (m,) int64, may be empty."""

    def batch(self, indices: Tensor) -> Tensor:
        """Standardised items, (B, *D) float32."""

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        """What is said of the items, by name; asked only when the network can be told."""


def afforded(most: int, dims: int) -> int:
    """At most ``most`` items of so many values, as many as may be held beside the steps."""
    return min(most, max(FEW, HELD // dims))


def evenly(total: int, count: int) -> Tensor:
    """Places of at most ``count`` of ``total`` items, evenly from the first to the last, (count,).

    In float64: float32 has no place for each of more than 16.7 million.
    """
    places = torch.linspace(0, total - 1, min(count, total), dtype=torch.float64)
    return places.round().long()


class Batch(NamedTuple):
    """One rank's rows of a batch.

    Attributes:
        rows: Which rows of the whole batch these are.
        clean: Data x0, (b, *D).
        eps: Its noise, (b, *D).
        u: Even draws in (0, 1) that choose the levels, of the whole batch, (B,).
        cond: What the network is told of them, (b, ...) each.
    """

    rows: slice
    clean: Tensor
    eps: Tensor
    u: Tensor
    cond: dict[str, Tensor]


class Batches:
    """Makes the batch of any step.

    Args:
        items: The data.
        objective: Its coupling says which noise meets which item.
        settings: Batch size, seed and the like.
        null: What stands for "not said", one row under each name that the network knows.
        share: Which rows are made.
    """

    def __init__(
        self,
        items: Items,
        objective: Criterion,
        settings: Settings,
        null: dict[str, Tensor],
        share: Share,
    ) -> None:
        self.items, self.settings, self.null, self.share = items, settings, null, share
        self.coupling = objective.coupling
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))

    def __call__(self, step: int) -> Batch:
        """Return this rank's rows of step number ``step``."""
        s, indices = self.settings, self.order(step)
        total, mine = len(indices), self.share.rows(len(indices))
        # Who meets whom is decided on a whole batch; else only the rows that are used are made.
        made = mine if self.coupling is independent else slice(0, total)
        clean = self.items.batch(indices[made])
        cond = self.told(indices[made])
        shape = (total, *clean.shape[1:])
        source = generator(s.seed, "step", step)
        u = stratified(total, source)
        silent = torch.rand(total, generator=source)[made] < s.condition_dropout
        mirrored = torch.rand(total, generator=source)[made] < 0.5
        if s.flip:
            clean = mirrored_in(clean, mirrored)
            # A picture that lies beside the item goes with it.
            cond = {n: mirrored_in(v, mirrored) if v.ndim > 2 else v for n, v in cond.items()}
        if s.bins:
            clean = dequantised(clean, s.bins, drawn(torch.rand, shape, made, s.seed, "bin", step))
        for name in s.noised:
            like = (total, *cond[name].shape[1:])
            # Squared, so that half of them are below 1/4: little noise is what is asked for.
            share = drawn(torch.rand, (total, 1), made, s.seed, name, "share", step)[:, 0].square()
            eps = drawn(torch.randn, like, made, s.seed, name, "noise", step)
            cond |= noisy(name, cond[name], share, eps)
        cond = hidden(cond, self.null, silent)
        eps = drawn(torch.randn, shape, made, s.seed, "noise", step)
        eps = self.coupling(clean, eps, cond)
        kept = slice(mine.start - made.start, mine.stop - made.start)
        return Batch(mine, clean[kept], eps[kept], u, {n: v[kept] for n, v in cond.items()})

    def told(self, indices: Tensor) -> dict[str, Tensor]:
        """What is said of the items, under the names that the network knows."""
        said = self.items.condition_batch(indices) if self.null else {}
        return {name: said[name] for name in self.null}

    def order(self, step: int) -> Tensor:
        """Indices of the items of a step: each epoch is a permutation of its own, (batch,)."""
        pool = torch.as_tensor(self.items.train)
        places = torch.arange(step * self.settings.batch, (step + 1) * self.settings.batch)
        epochs, inside = places // len(pool), places % len(pool)
        picked = torch.empty_like(places)
        for epoch in epochs.unique().tolist():
            if self._epoch[0] != epoch:
                source = generator(self.settings.seed, "order", epoch)
                self._epoch = (epoch, torch.randperm(len(pool), generator=source))
            here = epochs == epoch
            picked[here] = pool[self._epoch[1][inside[here]]]
        return picked


def drawn(
    draw: Callable[..., Tensor], shape: Sequence[int], rows: slice, *words: int | str
) -> Tensor:
    """Rows of a table of random numbers of ``shape``, (b, *D), without drawing all of it.

    Args:
        draw: ``torch.randn`` or ``torch.rand``.
        shape: (B, *D).
        rows: Which of the B rows.
        words: What the table is a function of.
    """
    block = max(1, PIECE // math.prod(shape[1:]))
    first, last = rows.start // block, -(-rows.stop // block)
    parts = [
        draw(
            (min(block, shape[0] - k * block), *shape[1:]), generator=generator(*words, "block", k)
        )
        for k in range(first, last)
    ]
    return torch.cat(parts)[rows.start - first * block : rows.stop - first * block]


def mirrored_in(values: Tensor, which: Tensor) -> Tensor:
    """Values (B, ..., L), those of some rows (B,) read from the end of the last axis."""
    return torch.where(per_item(which, values), values.flip(-1), values)


def dequantised(clean: Tensor, bins: Sequence[float], even: Tensor) -> Tensor:
    """Levels with noise as wide as a level added, (B, C, ...), of ``even`` draws in [0, 1)."""
    widths = clean.new_tensor(bins).reshape(1, -1, *(1,) * (clean.ndim - 2))
    return clean + widths * (even.to(clean) - 0.5)
