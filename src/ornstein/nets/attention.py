"""Attention between the places of an array, and of places to the tokens of conditions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets.layers import Style, convolution, group_norm, silent


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
        y = functional.scaled_dot_product_attention(q, k, v)
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
        y = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, places, each)
        return self.style.joined(x, self.out(y.transpose(-1, -2).reshape(x.shape)))
