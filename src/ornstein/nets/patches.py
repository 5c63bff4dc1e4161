"""Arrays seen otherwise: patches as channels, waves beside values, edges filled and cut."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def filled(x: Tensor, patch: int) -> Tensor:
    """Fill x (B, C, *space) up with copies of the last place, so that ``patch`` divides it."""
    short = [-size % patch for size in x.shape[2:]]
    if not any(short):
        return x
    return functional.pad(x, [p for s in reversed(short) for p in (0, s)], mode="replicate")


def with_waves(x: Tensor, octaves: int) -> Tensor:
    """Add sines and cosines of half a wave a unit, one, two, ...: (B, C·(1 + 2·octaves), ...)."""
    angles = [2**k * torch.pi * x for k in range(octaves)]
    return torch.cat([x, *(f(angle) for angle in angles for f in (torch.sin, torch.cos))], dim=1)


def to_patches(x: Tensor, patch: int) -> Tensor:
    """Fold (B, C, *space) into (B, C·patch^rank, *space/patch); ``patch`` divides each size."""
    if patch == 1:
        return x
    batch, channels, *space = x.shape
    rank = len(space)
    split = [part for size in space for part in (size // patch, patch)]
    x = x.reshape(batch, channels, *split)
    inner = [3 + 2 * axis for axis in range(rank)]
    outer = [2 + 2 * axis for axis in range(rank)]
    x = x.permute(0, 1, *inner, *outer)
    return x.reshape(batch, channels * patch**rank, *[size // patch for size in space])


def from_patches(x: Tensor, patch: int) -> Tensor:
    """Undo ``to_patches``."""
    if patch == 1:
        return x
    batch, channels, *space = x.shape
    rank = len(space)
    x = x.reshape(batch, channels // patch**rank, *[patch] * rank, *space)
    order = [part for axis in range(rank) for part in (2 + rank + axis, 2 + axis)]
    x = x.permute(0, 1, *order)
    return x.reshape(batch, channels // patch**rank, *[size * patch for size in space])


def crop(x: Tensor, space: tuple[int, ...]) -> Tensor:
    """Keep the first ``space`` places of the spatial axes of x (B, C, *larger space)."""
    for axis, size in enumerate(space, start=2):
        x = x.narrow(axis, 0, size)
    return x
