"""The diffusion transformer (DiT), for series, images and volumes of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.errors import ConfigError
from ornstein.nets.attention import attend, heads_of
from ornstein.nets.base import Embedding, fraction, options_of, whole, wholes
from ornstein.nets.conditions import (
    Conditions,
    beside,
    channels_beside,
    checked_entry,
    declared,
)
from ornstein.nets.dropout import Dropout
from ornstein.nets.layers import silent
from ornstein.nets.patches import crop, filled, from_patches, to_patches


def positions(grid: Sequence[int], width: int, like: Tensor) -> Tensor:
    """Sines and cosines of where each place of a grid is, (places, width).

    As in ViT's fixed table (arXiv:1706.03762, section 3.5, for each axis): every axis has an equal
    share of the width, which its frequencies from 1 to 1/10000 fill; what is left over stays 0.
    """
    each = width // (2 * len(grid))
    speed: Tensor = 10_000.0 ** (-torch.arange(each, device=like.device) / max(1, each))
    axes = torch.meshgrid(*(torch.arange(n, device=like.device) for n in grid), indexing="ij")
    angles = torch.cat([axis.reshape(-1, 1) * speed for axis in axes], dim=1)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return functional.pad(waves, (0, width - waves.shape[1])).to(like.dtype)


def split(y: Tensor, heads: int) -> Tensor:
    """Give each head its part of y (B, N, width): (B, heads, N, width/heads)."""
    parts: Tensor = y.unflatten(-1, (heads, -1))
    return parts.transpose(1, 2)


class Attention(nn.Module):
    """Attention of tokens (B, N, width) to themselves, or to others.

    Args:
        width: Length of a token.
        head: Wished channels per head; the nearest divisor of the width below is taken.
        silenced: Whether a new one answers zero.
    """

    def __init__(self, width: int, head: int, *, silenced: bool = False) -> None:
        super().__init__()
        self.heads = heads_of(width, head)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = silent(nn.Linear(width, width)) if silenced else nn.Linear(width, width)

    def forward(self, y: Tensor, others: Tensor) -> Tensor:
        """Let y (B, N, width) attend to ``others`` (B, T, width); shaped like y."""
        k, v = self.kv(others).chunk(2, dim=-1)
        q, k, v = (split(part, self.heads) for part in (self.q(y), k, v))
        answer: Tensor = self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return answer


class Layer(nn.Module):
    """A transformer layer under adaLN-Zero (arXiv:2212.09748, section 3.2 and figure 3).

    The embedding shifts and scales what attention and the perceptron see and gates what they
    answer; its map starts at zero, so a new layer is the identity. Cross-attention to the tokens
    of conditions stands between the two and starts at zero as well.
    """

    def __init__(self, width: int, head: int, dropout: float, *, tokens: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = silent(nn.Linear(width, 6 * width))
        self.attention = Attention(width, head)
        self.cross = Attention(width, head, silenced=True) if tokens else None
        self.first = nn.Linear(width, 4 * width)
        self.dropout = Dropout(dropout)
        self.second = nn.Linear(4 * width, width)

    def forward(self, y: Tensor, vector: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Map y (B, N, width) given the embedding (B, width) and the tokens, like y."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulate(vector)[:, None].chunk(6, -1)
        seen = torch.addcmul(shift, self.norm(y), scale + 1)
        y = torch.addcmul(y, gate, self.attention(seen, seen))
        if self.cross is not None and tokens is not None:
            y = y + self.cross(self.norm(y), tokens)
        seen = torch.addcmul(shift2, self.norm(y), scale2 + 1)
        inner = functional.gelu(self.first(seen), approximate="tanh")
        return torch.addcmul(y, gate2, self.second(self.dropout(inner)))


class DiT(nn.Module):
    """A transformer over the patches of an array (arXiv:2212.09748).

    Sizes that the patch does not divide are filled up and cropped again, and the places of patches
    are told by fixed waves, so every (C, *space) is legal. The output starts at exactly zero.

    Args:
        shape: Shape of one item: (C, L), (C, H, W) or (C, D, H, W).
        conditions: What the network may be told, see ``ornstein.nets.conditions``; pictures and
            series enter as channels beside x.
        entry: How the others enter: "add" or "concat" to the noise, which modulates every layer,
            or "cross-attention" in every layer.
        width: Length of a token.
        depth: Number of layers.
        patch: Places of each axis that make one token.
        head: Channels per attention head.
        dropout: Share of inner activations dropped in training.
        outputs: Arrays in the answer, their channels one after another; 2 for a learned variance.

    Raises:
        ConfigError: An option that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        conditions: Conditions | None = None,
        entry: str = "add",
        *,
        width: int = 128,
        depth: int = 4,
        patch: int = 2,
        head: int = 32,
        dropout: float = 0.0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.shape = wholes("shape", shape)
        if not 2 <= len(self.shape) <= 4:
            raise ConfigError(
                "a DiT takes items of shape (C, L), (C, H, W) or (C, D, H, W), not "
                f"{self.shape}; use the net 'mlp' for plain vectors."
            )
        self.conditions, self.entry = declared(conditions), checked_entry(entry)
        self.width = whole("width", width)
        self.depth = whole("depth", depth)
        self.patch = whole("patch", patch)
        self.head = whole("head", head)
        self.dropout = fraction("dropout", dropout)
        self.outputs = whole("outputs", outputs)
        self._build()

    def _build(self) -> None:
        places = self.patch ** (len(self.shape) - 1)
        told = channels_beside(self.conditions, self.shape)
        self.embed = Embedding(self.width, self.conditions, self.entry)
        tokens = self.entry == "cross-attention" and bool(self.embed.places)
        self.stem = nn.Linear((self.shape[0] + told) * places, self.width)
        self.layers = nn.ModuleList(
            Layer(self.width, self.head, self.dropout, tokens=tokens) for _ in range(self.depth)
        )
        self.norm = nn.LayerNorm(self.width, elementwise_affine=False)
        self.modulate = silent(nn.Linear(self.width, 2 * self.width))
        self.out = silent(nn.Linear(self.width, self.outputs * self.shape[0] * places))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Map x (B, C, *space), with the noise number (B,) and the condition, like x.

        With more outputs than one, to (B, outputs·C, *space).
        """
        space = tuple(x.shape[2:])
        folded = to_patches(filled(beside(x, self.conditions, cond), self.patch), self.patch)
        grid = folded.shape[2:]
        vector, tokens = self.embed(noise, cond), self.embed.tokens(cond, len(x))
        y = self.stem(folded.flatten(2).transpose(1, 2))  # (B, patches, width)
        y = y + positions(grid, self.width, y)
        for layer in self.layers:
            y = layer(y, vector, tokens)
        shift, scale = self.modulate(vector)[:, None].chunk(2, -1)
        y = self.out(torch.addcmul(shift, self.norm(y), scale + 1))
        return crop(from_patches(y.transpose(1, 2).unflatten(2, grid), self.patch), space)

    def options(self) -> dict[str, Any]:
        """Return the arguments that build this network again, fit for JSON."""
        return options_of(self)
