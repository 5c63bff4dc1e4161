"""The Wiener filter: what Gaussians fitted to the data make of a noisy item, in closed form.

A network that sees it beside the noisy item has only to learn where the data are no Gaussians. At
high noise, where the outline of an item is decided, that is little: there trained denoisers are
nearly those of Gaussians (arXiv:2412.09726).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets.patches import crop

LEAST = 1e-6  # variance, of data of unit variance
PLACES = 1024  # of what Gaussians see: larger items are averaged down, they are for outlines
NEVER = -1e30  # logarithm of no share
POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def fold_of(shape: Sequence[int]) -> int:
    """How many times smaller on each side items are seen, so that they have few places."""
    # As many places as this would have without rounding up; a file may claim any shape.
    fold = max(1, int((math.prod(shape[1:]) / PLACES) ** (1 / max(1, len(shape) - 1))))
    while folded((1, *shape[1:]), fold) > PLACES:
        fold += 1
    return fold


def folded(shape: Sequence[int], fold: int) -> int:
    """How many numbers an item has, so many times smaller."""
    return shape[0] * math.prod(-(-side // fold) for side in shape[1:])


def weights(space: Sequence[int], fold: int) -> Tensor:
    """Root of the share of its places that each block holds: 1 but where the far edge cuts it.

    Times it, means of fewer places have the noise that means of whole blocks have.
    """
    share = torch.ones((), device="cpu")
    for side in space:
        held = torch.full((-(-side // fold),), float(fold), device="cpu")
        held[-1] = (side - 1) % fold + 1
        share = share[..., None] * (held / fold)
    # Not computed on the device that is built for: on "meta" torch would load its compiler.
    return torch.tensor(share.sqrt().tolist())


class Wiener(nn.Module):
    """E[x0 | x] of a mixture of Gaussians, in which each class has those of its own.

    Each has its mean, the directions of most variance, and one variance for all others. New, it
    is that of standard normal data.

    Args:
        shape: Shape of one item.
        groups: Classes, and last all items together.
        rank: Directions of each Gaussian.
        parts: Gaussians of each class, beside one of all items, which guidance leads away from the
            better for knowing little; or of all items where there are no classes.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: Tensor
    share: Tensor | None
    weight: Tensor

    def __init__(self, shape: Sequence[int], groups: int, rank: int, parts: int = 1) -> None:
        super().__init__()
        self.shape, self.groups, self.parts = tuple(shape), groups, parts
        self.fold = fold_of(shape)
        self.dims = folded(shape, self.fold)
        self.rank = min(rank, self.dims)
        count = (groups - 1) * parts + 1 if groups > 1 else parts
        self.register_buffer("mean", torch.zeros(count, self.dims))
        self.register_buffer("basis", torch.zeros(count, self.dims, self.rank))
        self.register_buffer("variance", torch.ones(count, self.rank))
        self.register_buffer("rest", torch.ones(count))
        share = None
        if parts > 1:
            # Logarithm of the share that each Gaussian has of each class.
            share = torch.full((groups, count), NEVER)
            for k in range(groups):
                share[k, k * parts : (k + 1) * parts] = 0.0
        self.register_buffer("share", share)
        self.register_buffer("weight", weights(self.shape[1:], self.fold), persistent=False)

    def owned(self, group: int) -> range:
        """Numbers of the Gaussians of a class."""
        first = group * self.parts
        return range(first, min(first + self.parts, len(self.mean)))

    def forward(self, x: Tensor, noise: Tensor, group: Tensor | None = None) -> Tensor:
        """Guess the clean item of x (B, *shape).

        Args:
            x: Items of unit variance with noise, on the variance-preserving scale.
            noise: log_snr/8 of each, (B,).
            group: Class of each, (B,); None is the last for all. Items of another shape, of which
                nothing is known, are taken for standard normal ones.
        """
        # "meta", on which a network is looked at without numbers, has no autocast to turn off.
        exact = nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
        with exact:
            y = x.to(self.mean.dtype)
            kept = torch.sigmoid(8 * noise.to(y))[:, None]  # alpha^2; the rest is sigma^2
            if tuple(x.shape[1:]) != self.shape:
                return (kept.sqrt() * y.flatten(1)).view_as(x).to(x)
            if group is None:
                group = torch.full((len(x),), self.groups - 1, device=x.device)
            seen = self.seen(y)
            # Of a mean of so many places the noise is less; of fewer, so weighed, it is the same.
            lost = (1 - kept) / self.fold ** (x.ndim - 2)
            guess = self._guess(seen.flatten(1), kept, lost, group).view_as(seen)
            if self.fold > 1:
                guess = self._enlarged(guess, tuple(x.shape[2:]))
        return guess.to(x)

    def seen(self, x: Tensor) -> Tensor:
        """What the Gaussians are of: x (B, *shape), averaged down where it is large."""
        if self.fold == 1:
            return x
        small: Tensor = POOLS[x.ndim - 2](x, self.fold, ceil_mode=True, count_include_pad=False)
        return small * self.weight.to(small)

    def _enlarged(self, guess: Tensor, space: tuple[int, ...]) -> Tensor:
        """What is guessed of blocks (B, C, *blocks), between their centres: (B, C, *space).

        The last is placed as a whole one is, up to half a block further than what it holds.
        """
        whole = [self.fold * side for side in guess.shape[2:]]
        mode = LINEAR[guess.ndim - 2]
        return crop(functional.interpolate(guess / self.weight, whole, mode=mode), space)

    def _guess(self, y: Tensor, kept: Tensor, lost: Tensor, group: Tensor) -> Tensor:
        """E[x0 | y] of y (B, D) = alpha x0 + noise, given alpha^2 and the variance of the noise.

        All Gaussians are asked at once, by two products and no picking of rows: K of R directions.
        """
        alpha = kept.sqrt()
        flat = self.basis.movedim(0, 1).flatten(1)  # (D, K R)
        centre = torch.einsum("kd,kdr->kr", self.mean, self.basis)
        along = (y @ flat).unflatten(1, centre.shape) - alpha[..., None] * centre  # (B, K, R)
        wide = kept[..., None] * self.variance + lost[..., None]  # variance of y along them
        other = kept * self.rest + lost  # and across
        far = y.square().sum(1, keepdim=True) - 2 * alpha * (y @ self.mean.mT)
        far = far + kept * self.mean.square().sum(1)
        across = (far - along.square().sum(2)).clamp(min=0)
        surprise = (along.square() / wide + wide.log()).sum(2)
        surprise = surprise + across / other + (self.dims - self.rank) * other.log()
        weight = torch.softmax(self._shares(group, y) - surprise / 2, dim=1)
        others = alpha * self.rest / other
        gain = alpha[..., None] * self.variance / wide - others[..., None]
        guess = (weight * others).sum(1, keepdim=True) * y
        guess = guess + (weight * (1 - alpha * others)) @ self.mean
        answer: Tensor = guess + (weight[..., None] * gain * along).flatten(1) @ flat.mT
        return answer

    def _shares(self, group: Tensor, like: Tensor) -> Tensor:
        """Logarithm of the share that each Gaussian has of each item's class, (B, K)."""
        own = functional.one_hot(group, self.groups).to(like)
        if self.share is None:  # a table of so many classes would be as large as their square
            return (1 - own) * NEVER
        shares: Tensor = own @ self.share
        return shares

    @torch.no_grad()
    def learn(self, part: int, mean: Tensor, axes: Tensor, variances: Tensor, rest: float) -> None:
        """Take over a Gaussian.

        Args:
            part: Its number.
            mean: Of what is seen, of any shape.
            axes: Directions of most variance, orthonormal, (up to rank, dims).
            variances: Along them.
            rest: Variance in any direction across them.
        """
        many = len(variances)
        self.mean[part] = mean.flatten()
        self.variance[part] = self.rest[part] = max(rest, LEAST)
        self.variance[part, :many] = variances.clamp(min=LEAST)
        self.basis[part] = 0
        self.basis[part, :, :many] = axes.mT
