"""What a step trains on: items, noise, levels and labels, as functions of (seed, step, row).

A rank of several makes its own rows only, and they are the rows that one alone would make.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from ornstein.core import generator
from ornstein.training.coupling import independent
from ornstein.training.objective import Objective, stratified
from ornstein.training.ranks import Share
from ornstein.training.settings import Settings

if TYPE_CHECKING:
    import numpy as np

PIECE = 1 << 16  # numbers that one generator draws: seeding it costs as much as a thousand


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

    def label_batch(self, indices: Tensor) -> Tensor:
        """Class numbers, (B,) int64; asked only when the network knows classes."""


class Batch(NamedTuple):
    """One rank's rows of a batch.

    Attributes:
        rows: Which rows of the whole batch these are.
        clean: Data x0, (b, *D).
        eps: Its noise, (b, *D).
        u: Even draws in (0, 1) that choose the levels, of the whole batch, (B,).
        labels: Class numbers, (b,); None for a network without classes.
    """

    rows: slice
    clean: Tensor
    eps: Tensor
    u: Tensor
    labels: Tensor | None


class Batches:
    """Makes the batch of any step.

    Args:
        items: The data.
        objective: Its coupling says which noise meets which item.
        settings: Batch size, seed and the like.
        classes: Number of classes the network knows; 0 leaves labels out.
        share: Which rows are made.
    """

    def __init__(
        self, items: Items, objective: Objective, settings: Settings, classes: int, share: Share
    ) -> None:
        self.items, self.settings, self.classes, self.share = items, settings, classes, share
        self.coupling = objective.coupling
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))

    def __call__(self, step: int) -> Batch:
        """Return this rank's rows of step number ``step``."""
        s, indices = self.settings, self.order(step)
        total, mine = len(indices), self.share.rows(len(indices))
        # Who meets whom is decided on a whole batch; else only the rows that are used are made.
        made = mine if self.coupling is independent else slice(0, total)
        clean = self.items.batch(indices[made])
        labels = self.items.label_batch(indices[made]) if self.classes else None
        shape = (total, *clean.shape[1:])
        source = generator(s.seed, "step", step)
        u = stratified(total, source)
        hidden = torch.rand(total, generator=source)[made] < s.class_dropout
        mirrored = torch.rand(total, generator=source)[made] < 0.5
        if s.flip:
            clean = torch.where(
                mirrored.reshape(-1, *(1,) * (clean.ndim - 1)), clean.flip(-1), clean
            )
        if s.bins:
            clean = dequantised(clean, s.bins, drawn(torch.rand, shape, made, s.seed, "bin", step))
        if labels is not None:
            labels = torch.where(hidden, self.classes, labels)
        eps = drawn(torch.randn, shape, made, s.seed, "noise", step)
        eps = self.coupling(clean, eps, labels)
        kept = slice(mine.start - made.start, mine.stop - made.start)
        return Batch(mine, clean[kept], eps[kept], u, None if labels is None else labels[kept])

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


def dequantised(clean: Tensor, bins: Sequence[float], even: Tensor) -> Tensor:
    """Levels with noise as wide as a level added, (B, C, ...), of ``even`` draws in [0, 1)."""
    widths = clean.new_tensor(bins).reshape(1, -1, *(1,) * (clean.ndim - 2))
    return clean + widths * (even.to(clean) - 0.5)
