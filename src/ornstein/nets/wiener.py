"""The Wiener filter: what a Gaussian fitted to the data makes of a noisy item, in closed form.

A network that sees it beside the noisy item has only to learn where the data are no Gaussian. At
high noise, where the outline of an item is decided, that is little: there trained denoisers are
nearly those of a Gaussian (arXiv:2412.09726).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 1e-6  # variance, of data of unit variance


class Wiener(nn.Module):
    """E[x0 | x] of a Gaussian for each class, and of one for items of which none is said.

    Each has its mean, the directions of most variance, and one variance for all others. New, it
    is that of standard normal data.

    Args:
        shape: Shape of one item.
        groups: Gaussians; the last is that of all items.
        rank: Directions of each.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: Tensor

    def __init__(self, shape: Sequence[int], groups: int, rank: int) -> None:
        super().__init__()
        dims = math.prod(shape)
        self.shape, self.groups, self.rank = tuple(shape), groups, min(rank, dims)
        self.register_buffer("mean", torch.zeros(groups, dims))
        self.register_buffer("basis", torch.zeros(groups, dims, self.rank))
        self.register_buffer("variance", torch.ones(groups, self.rank))
        self.register_buffer("rest", torch.ones(groups))

    def forward(self, x: Tensor, noise: Tensor, group: Tensor | None = None) -> Tensor:
        """Guess the clean item of x (B, *shape).

        Args:
            x: Items of unit variance with noise, on the variance-preserving scale.
            noise: log_snr/8 of each, (B,).
            group: Number of the Gaussian of each, (B,); None is the last for all. Items of
                another shape, of which nothing is known, are taken for standard normal ones.
        """
        with torch.autocast(x.device.type, enabled=False):
            y = x.to(self.mean.dtype).flatten(1)
            kept = torch.sigmoid(8 * noise.to(y))[:, None]  # alpha^2; the rest is sigma^2
            alpha = kept.sqrt()
            if tuple(x.shape[1:]) != self.shape:
                return (alpha * y).view_as(x).to(x)
            if group is None:
                group = torch.full((len(x),), self.groups - 1, device=x.device)
            mine = functional.one_hot(group, self.groups).to(y)
            mean, rest = mine @ self.mean, mine @ self.rest[:, None]
            y = y - alpha * mean
            others = alpha * rest / (kept * rest + 1 - kept)
            # Against the directions of all Gaussians at once, of which all but its own count zero:
            # two products, and no picking of rows.
            kept, alpha = kept[..., None], alpha[..., None]
            gain = alpha * self.variance / (kept * self.variance + 1 - kept) - others[..., None]
            flat = self.basis.movedim(0, 1).flatten(1)
            along = (y @ flat).view_as(gain) * gain * mine[..., None]
            guess = mean + others * y + along.flatten(1) @ flat.mT
        return guess.view_as(x).to(x)

    @torch.no_grad()
    def learn(
        self, group: int, mean: Tensor, axes: Tensor, variances: Tensor, rest: float
    ) -> None:
        """Take over a Gaussian.

        Args:
            group: Its number.
            mean: (*shape).
            axes: Directions of most variance, orthonormal, (up to rank, dims).
            variances: Along them.
            rest: Variance in any direction across them.
        """
        many = len(variances)
        self.mean[group] = mean.flatten()
        self.variance[group] = self.rest[group] = max(rest, LEAST)
        self.variance[group, :many] = variances.clamp(min=LEAST)
        self.basis[group] = 0
        self.basis[group, :, :many] = axes.mT
