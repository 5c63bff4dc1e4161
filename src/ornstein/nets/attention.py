"""Attention between the places of an array, and of places to the tokens of conditions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets.layers import Style, convolution, group_norm, silent

FEW = 256  # places for which all weights may be held at once


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Weigh v by softmax(q k / sqrt(each)); q, k and v are (B, heads, places, each).

    As torch has it, where that is fast: on processors its kernel is slower for few places than two
    products with the weights between them, backward in bfloat16 four to ten times.
    """
    if q.device.type != "cpu" or max(q.shape[-2], k.shape[-2]) > FEW:
        return functional.scaled_dot_product_attention(q, k, v)
    # In one piece, so that an item's bits do not depend on where in a batch it lies.
    q, k = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous()
    return torch.softmax(q @ k.mT, dim=-1).to(v.dtype) @ v


def heads_of(channels: int, head: int) -> int:
    """Return how many heads of about ``head`` channels there are: the nearest divisor below."""
    return channels // next(h for h in range(min(head, channels), 0, -1) if channels % h == 0)


class Attention(nn.Module):
    """Self-attention between all places of an array, added to its input.

    Args:
        style: What it shares with the other layers.
        channels: Channels in and out.
    """

    def __init__(self, style: Style, channels: int) -> None:
        super().__init__()
        self.style = style
        self.heads = heads_of(channels, style.head)
        self.norm = group_norm(channels, style.groups)
        self.qkv = convolution(style.rank, channels, 3 * channels, 1)
        self.out = silent(convolution(style.rank, channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, channels, *space) to the same shape."""
        batch, channels = x.shape[:2]
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # (B, heads, places, channels per head) each
        y = attend(q, k, v)
        return self.style.joined(x, self.out(y.transpose(-1, -2).reshape(x.shape)))


class CrossAttention(nn.Module):
    """Attention of the places of an array to the tokens of conditions, added to its input.

    As in arXiv:2112.10752, section 3.3.

    Args:
        style: What it shares with the other layers; a token is as long as the embedding.
        channels: Channels in and out.
    """

    def __init__(self, style: Style, channels: int) -> None:
        super().__init__()
        self.style = style
        self.heads = heads_of(channels, style.head)
        self.norm = group_norm(channels, style.groups)
        self.q = convolution(style.rank, channels, channels, 1)
        self.kv = nn.Linear(style.embedding, 2 * channels)
        self.out = silent(convolution(style.rank, channels, channels, 1))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Map x (B, channels, *space) given tokens (B, T, embedding) to the same shape."""
        batch, channels = x.shape[:2]
        each = (self.heads, channels // self.heads)
        q = self.q(self.norm(x)).reshape(batch, *each, -1).transpose(-1, -2)
        k, v = self.kv(tokens).unflatten(-1, (2, *each)).permute(2, 0, 3, 1, 4)
        y = attend(q, k, v)  # (B, heads, places, each)
        return self.style.joined(x, self.out(y.transpose(-1, -2).reshape(x.shape)))
