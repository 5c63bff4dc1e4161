"""Importance-sampled levels: large losses are met more often and count less (B11)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Importance:
    """Draws places in (0, 1) in proportion to the root mean square of the losses met there.

    p ~ sqrt(E[L²]) with the weight 1/p, so the mean of the loss, and of its gradient, stays what
    it is and their variance falls (arXiv:2102.09672, eq. 18). A place is the quantile of a law of
    levels, so this goes with any law; the places are cut into cells of equal width, which remember
    their last losses. Until all have enough to remember, every place is as likely as any other.

    What it remembers is a function of the steps done, and part of a checkpoint.

    Args:
        cells: Number of cells; the paper has one for each step of its chain.
        history: Losses that a cell remembers.
        uniform: Share of the draws that is spread evenly, so that no cell is forgotten.
    """

    def __init__(self, cells: int = 100, history: int = 10, uniform: float = 0.001) -> None:
        self.uniform = uniform
        self.losses = torch.zeros(cells, history, dtype=torch.float64)
        self.counts = torch.zeros(cells, dtype=torch.int64)

    def shares(self) -> Tensor:
        """Probability of each cell, (cells,)."""
        cells, history = self.losses.shape
        even = torch.full((cells,), 1 / cells, dtype=torch.float64)
        size = self.losses.square().mean(1).sqrt()
        if bool((self.counts < history).any()) or float(size.sum()) == 0:
            return even
        return torch.lerp(size / size.sum(), even, self.uniform)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map even places u, (B,) in (0, 1), to important ones, and their weights, (B,) each.

        The map keeps the order, so stratified places stay stratified.
        """
        share, cells = self.shares(), len(self.counts)
        start = share.cumsum(0) - share
        cell = torch.searchsorted(start, u, right=True) - 1
        inside = ((u - start[cell]) / share[cell]).clamp(0, 1)
        place = ((cell + inside) / cells).clamp(1e-12, 1 - 1e-12)
        return place, 1 / (cells * share[cell])

    def observe(self, place: Tensor, loss: Tensor) -> None:
        """Remember the losses of a batch at their places, (B,) each, unweighted; oldest go."""
        cells, history = self.losses.shape
        order = (place * cells).long().clamp(max=cells - 1).sort(stable=True)
        cell, loss = order.values, loss.to("cpu", torch.float64)[order.indices]
        met = cell.bincount(minlength=cells)
        # Number of each among those of its cell; of more than fit, the last ones stay.
        number = torch.arange(len(cell)) - torch.searchsorted(cell, cell)
        kept = number >= met[cell] - history
        slot = (self.counts[cell] + number) % history
        self.losses[cell[kept], slot[kept]] = loss[kept]
        self.counts += met

    def tensors(self) -> dict[str, Tensor]:
        """What is remembered, for a checkpoint."""
        return {"losses": self.losses, "counts": self.counts}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what a checkpoint remembers."""
        self.losses.copy_(tensors["losses"])
        self.counts.copy_(tensors["counts"])
