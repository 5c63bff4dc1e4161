"""An encoder: from a noisy array and its noise number to one row of numbers, such as logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.errors import ConfigError
from ornstein.nets.attention import Attention
from ornstein.nets.base import Embedding, fraction, whole, wholes
from ornstein.nets.layers import Block, Style, convolution, group_norm
from ornstein.nets.mlp import Layer


class Encoder(nn.Module):
    """The way down of a U-Net, averaged over all places (arXiv:2105.05233, section 4).

    Vectors pass through the layers of the MLP instead. The answer starts at exactly zero.

    Args:
        shape: Shape of one item: (D,), (C, L), (C, H, W) or (C, D, H, W).
        answers: Numbers in the answer.
        widths: Channels of each level; each level has half the size of the one before.
        blocks: Residual blocks of each level.
        attention: Levels, counted from 0, whose blocks are followed by self-attention.
        head: Channels per attention head.
        dropout: Share of inner activations dropped in training.

    Raises:
        ConfigError: an option that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        answers: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1),
        attention: Sequence[int] = (2,),
        head: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = wholes("shape", shape)
        self.answers = whole("answers", answers)
        self.widths, self.blocks = wholes("widths", widths), wholes("blocks", blocks)
        self.attention = wholes("attention", attention, 0)
        self.head, self.dropout = whole("head", head), fraction("dropout", dropout)
        if not 1 <= len(self.shape) <= 4:
            raise ConfigError(
                "an encoder takes items of shape (D,), (C, L), (C, H, W) or (C, D, H, W), not "
                f"{self.shape}."
            )
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ConfigError(
                f"widths and blocks need one number per level, not {len(self.widths)} widths "
                f"and {len(self.blocks)} blocks."
            )
        rank, first, last = len(self.shape) - 1, self.widths[0], self.widths[-1]
        vector = 2 * first + 128
        self.embed = Embedding(vector)
        self.path = nn.ModuleList(self._path(rank, vector) if rank else self._line(vector))
        self.norm = group_norm(last) if rank else nn.LayerNorm(last)
        self.out = nn.Linear(last, self.answers)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def _path(self, rank: int, vector: int) -> list[nn.Module]:
        style = Style(rank, vector, head=self.head, dropout=self.dropout)
        made: list[nn.Module] = [convolution(rank, self.shape[0], self.widths[0], 3)]
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            if level:
                made.append(convolution(rank, self.widths[level - 1], width, 3, stride=2))
            for _ in range(blocks):
                made.append(Block(style, width))
                if level in self.attention:
                    made.append(Attention(style, width))
        return made

    def _line(self, vector: int) -> list[nn.Module]:
        made: list[nn.Module] = []
        above = (self.shape[0], *self.widths)
        for before, width, blocks in zip(above, self.widths, self.blocks, strict=False):
            made.append(nn.Linear(before, width))
            made += [Layer(width, vector, self.dropout) for _ in range(blocks)]
        return made

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Map x (B, *shape) and its noise number (B,) to (B, answers)."""
        vector = self.embed(noise, {})
        if x.ndim == 4:  # faster convolutions on CPUs; every later layer keeps this order
            x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.path:
            x = layer(x, vector) if isinstance(layer, (Block, Layer)) else layer(x)
        x = functional.silu(self.norm(x))
        answer: Tensor = self.out(x.flatten(2).mean(2) if x.ndim > 2 else x)
        return answer

    def options(self) -> dict[str, Any]:
        """Return the arguments that build this network again, fit for JSON."""
        return {
            "shape": list(self.shape),
            "answers": self.answers,
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "attention": list(self.attention),
            "head": self.head,
            "dropout": self.dropout,
        }
