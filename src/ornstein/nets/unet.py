"""The U-Net, for series (C, L), images (C, H, W) and volumes (C, D, H, W) of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.errors import ConfigError
from ornstein.nets.base import Embedding, fraction, whole, wholes
from ornstein.nets.conditions import (
    Conditions,
    beside,
    channels_beside,
    checked_entry,
    declared,
)
from ornstein.nets.layers import (
    Attention,
    Block,
    CrossAttention,
    convolution,
    crop,
    from_patches,
    group_norm,
    silent,
    to_patches,
    with_waves,
)


class Stage(nn.Module):
    """A block, a skip joined before it where given, and attention after it where asked.

    Attention is between all places, and to the tokens of conditions where there are some.
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        embedding: int,
        *,
        dropout: float,
        head: int | None,
        joined: bool,
        tokens: bool,
    ) -> None:
        super().__init__()
        self.join = convolution(rank, 2 * channels, channels, 1) if joined else None
        self.block = Block(rank, channels, embedding, dropout)
        self.attention = None if head is None else Attention(rank, channels, head)
        self.cross = None
        if head is not None and tokens:
            self.cross = CrossAttention(rank, channels, embedding, head)

    def forward(
        self, x: Tensor, vector: Tensor, tokens: Tensor | None, skip: Tensor | None = None
    ) -> Tensor:
        """Map x (B, channels, *space) given the embedding, the tokens and the skip, like x."""
        if self.join is not None and skip is not None:
            x = self.join(torch.cat([x, skip], dim=1))
        x = self.block(x, vector)
        x = x if self.attention is None else self.attention(x)
        return x if self.cross is None or tokens is None else self.cross(x, tokens)


class UNet(nn.Module):
    """A U-Net: down and up paths of residual blocks, joined by concatenation (arXiv:1505.04597).

    Sizes that a halving does not divide are rounded up on the way down and cropped on the way
    up, so every (C, *space) is legal, even 1 x 1. The output starts at exactly zero.

    Args:
        shape: Shape of one item: (C, L), (C, H, W) or (C, D, H, W).
        conditions: What the network may be told, see ``ornstein.nets.conditions``; pictures and
            series enter as channels beside x.
        entry: How the others enter: "add" or "concat" to the noise, or "cross-attention" at the
            levels that have attention.
        widths: Channels of each level; each level has half the size of the one before.
        blocks: Residual blocks of each level, on the way down and again on the way up.
        attention: Levels, counted from 0, whose blocks are followed by self-attention.
        patch: The first layer folds patches of this size into channels (1: none).
        head: Channels per attention head.
        dropout: Share of inner activations dropped in training.
        waves: Octaves of sines and cosines of the input that are seen beside it, as in
            arXiv:2107.00630, appendix C: fine detail, which likelihoods are made of.
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
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1),
        attention: Sequence[int] = (2,),
        patch: int = 1,
        head: int = 32,
        dropout: float = 0.0,
        waves: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.shape = wholes("shape", shape)
        self.waves = whole("waves", waves, 0)
        self.conditions, self.entry = declared(conditions), checked_entry(entry)
        self.widths = wholes("widths", widths)
        self.blocks = wholes("blocks", blocks)
        self.attention = wholes("attention", attention, 0)
        self.patch = whole("patch", patch)
        self.head = whole("head", head)
        self.dropout = fraction("dropout", dropout)
        self.outputs = whole("outputs", outputs)
        self._refuse()
        self._build(len(self.shape) - 1)

    def _refuse(self) -> None:
        if not 2 <= len(self.shape) <= 4:
            raise ConfigError(
                f"a U-Net takes items of shape (C, L), (C, H, W) or (C, D, H, W), not "
                f"{self.shape}; use the net 'mlp' for plain vectors."
            )
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ConfigError(
                f"widths and blocks need one number per level, not {len(self.widths)} widths "
                f"and {len(self.blocks)} blocks."
            )
        for level in self.attention:
            if level >= len(self.widths):
                raise ConfigError(
                    f"attention names level {level}, but there are only {len(self.widths)} "
                    "levels, counted from 0."
                )

        if self.entry == "cross-attention" and not self.attention:
            raise ConfigError(
                "entry 'cross-attention' needs a level with attention; name one in attention."
            )

    def _build(self, rank: int) -> None:
        folded = self.shape[0] * self.patch**rank
        vector = 2 * self.widths[0] + 128
        self.embed = Embedding(vector, self.conditions, self.entry)
        told = channels_beside(self.conditions, self.shape) * self.patch**rank
        self.stem = convolution(rank, folded * (1 + 2 * self.waves) + told, self.widths[0], 3)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            for _ in range(blocks):
                self.down.append(self._stage(rank, width, vector, level, joined=False))
            if level + 1 < len(self.widths):
                below = self.widths[level + 1]
                self.shrink.append(convolution(rank, width, below, 3, stride=2))
                self.grow.append(convolution(rank, below, width, 1))
        for level in reversed(range(len(self.widths))):
            for _ in range(self.blocks[level]):
                width = self.widths[level]
                self.up.append(self._stage(rank, width, vector, level, joined=True))
        self.norm = group_norm(self.widths[0])
        self.out = silent(convolution(rank, self.widths[0], self.outputs * folded, 3))

    def _stage(self, rank: int, width: int, vector: int, level: int, *, joined: bool) -> Stage:
        head = self.head if level in self.attention else None
        tokens = self.entry == "cross-attention" and bool(self.embed.places)
        return Stage(
            rank, width, vector, dropout=self.dropout, head=head, joined=joined, tokens=tokens
        )

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Map x (B, C, *space), with the noise number (B,) and the condition, like x.

        With more outputs than one, to (B, outputs·C, *space).
        """
        space = tuple(x.shape[2:])
        x = beside(with_waves(x, self.waves), self.conditions, cond)
        # Sizes that the patch does not divide are filled up with copies of the last place.
        short = [-size % self.patch for size in space]
        if any(short):
            x = functional.pad(x, [p for s in reversed(short) for p in (0, s)], mode="replicate")
        vector = self.embed(noise, cond)
        tokens = self.embed.tokens(cond, len(x))
        y = self.stem(to_patches(x, self.patch))
        if y.ndim == 4:  # faster convolutions on CPUs; every later layer keeps this order
            y = y.contiguous(memory_format=torch.channels_last)
        y = self._paths(y, vector, tokens)
        y = self.out(functional.silu(self.norm(y)))
        return crop(from_patches(y, self.patch), space)

    def _paths(self, y: Tensor, vector: Tensor, tokens: Tensor | None) -> Tensor:
        """Go down and up again; each block of the way up sees its twin of the way down."""
        skips: list[Tensor] = []
        down, up = iter(self.down), iter(self.up)
        for level, blocks in enumerate(self.blocks):
            for _ in range(blocks):
                y = next(down)(y, vector, tokens)
                skips.append(y)
            if level < len(self.shrink):
                y = self.shrink[level](y)
        for level in reversed(range(len(self.blocks))):
            if level < len(self.grow):
                y = functional.interpolate(self.grow[level](y), scale_factor=2, mode="nearest")
                y = crop(y, tuple(skips[-1].shape[2:]))
            for _ in range(self.blocks[level]):
                y = next(up)(y, vector, tokens, skips.pop())
        return y

    def options(self) -> dict[str, Any]:
        """Return the arguments that build this network again, fit for JSON."""
        return {
            "shape": list(self.shape),
            "conditions": self.conditions,
            "entry": self.entry,
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "attention": list(self.attention),
            "patch": self.patch,
            "head": self.head,
            "dropout": self.dropout,
            "waves": self.waves,
            "outputs": self.outputs,
        }
