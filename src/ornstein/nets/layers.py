"""The layers of the U-Net, for series, images and volumes alike."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def convolution(rank: int, inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Module:
    """Return a convolution over ``rank`` axes; a stride of 2 halves a size, rounding up."""
    made: nn.Module = CONVOLUTIONS[rank](
        inside, outside, kernel, stride=stride, padding=kernel // 2
    )
    return made


def silent(layer: nn.Module) -> nn.Module:
    """Return ``layer`` with weights and bias set to zero, so that it starts by adding nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group norm of up to 8 groups; any channel count will do."""
    return nn.GroupNorm(gcd(8, channels), channels)


class Block(nn.Module):
    """A residual block that knows the noise level: the embedding scales and shifts its inside.

    The adaptive group norm of arXiv:2105.05233; the last convolution starts at zero, so a new
    block is the identity.

    Args:
        rank: Number of spatial axes.
        channels: Channels in and out.
        embedding: Length of the embedding vector.
        dropout: Share of the inner activations dropped in training.
    """

    def __init__(self, rank: int, channels: int, embedding: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.rank = rank
        self.norm1 = group_norm(channels)
        self.conv1 = convolution(rank, channels, channels, 3)
        self.modulate = nn.Linear(embedding, 2 * channels)
        self.norm2 = group_norm(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = silent(convolution(rank, channels, channels, 3))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map x (B, channels, *space) given the embedding ``vector`` (B, embedding)."""
        y = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.modulate(vector)[(...,) + (None,) * self.rank].chunk(2, dim=1)
        y = torch.addcmul(shift, self.norm2(y), scale + 1)
        y = self.conv2(self.dropout(functional.silu(y)))
        out: Tensor = x + y
        return out


def heads_of(channels: int, head: int) -> int:
    """Return how many heads of about ``head`` channels there are: the nearest divisor below."""
    return channels // next(h for h in range(min(head, channels), 0, -1) if channels % h == 0)


class Attention(nn.Module):
    """Self-attention between all places of an array, added to its input.

    Args:
        rank: Number of spatial axes.
        channels: Channels in and out.
        head: Wished channels per head; the nearest divisor of ``channels`` below is taken.
    """

    def __init__(self, rank: int, channels: int, head: int = 32) -> None:
        super().__init__()
        self.heads = heads_of(channels, head)
        self.norm = group_norm(channels)
        self.qkv = convolution(rank, channels, 3 * channels, 1)
        self.out = silent(convolution(rank, channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, channels, *space) to the same shape."""
        batch, channels = x.shape[:2]
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # (B, heads, places, channels per head) each
        y = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.out(y.transpose(-1, -2).reshape(x.shape))
        return out


class CrossAttention(nn.Module):
    """Attention of the places of an array to the tokens of conditions, added to its input.

    As in arXiv:2112.10752, section 3.3.

    Args:
        rank: Number of spatial axes.
        channels: Channels in and out.
        width: Length of a token.
        head: Wished channels per head, as for :class:`Attention`.
    """

    def __init__(self, rank: int, channels: int, width: int, head: int = 32) -> None:
        super().__init__()
        self.heads = heads_of(channels, head)
        self.norm = group_norm(channels)
        self.q = convolution(rank, channels, channels, 1)
        self.kv = nn.Linear(width, 2 * channels)
        self.out = silent(convolution(rank, channels, channels, 1))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Map x (B, channels, *space) given tokens (B, T, width) to the same shape."""
        batch, channels = x.shape[:2]
        each = (self.heads, channels // self.heads)
        q = self.q(self.norm(x)).reshape(batch, *each, -1).transpose(-1, -2)
        k, v = self.kv(tokens).unflatten(-1, (2, *each)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, places, each)
        out: Tensor = x + self.out(y.transpose(-1, -2).reshape(x.shape))
        return out


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
