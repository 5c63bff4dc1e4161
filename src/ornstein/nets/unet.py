"""The U-Net, for series (C, L), images (C, H, W) and volumes (C, D, H, W) of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.errors import ConfigError
from ornstein.nets.attention import Attention, CrossAttention
from ornstein.nets.base import Embedding, among, fraction, options_of, truth, whole, wholes
from ornstein.nets.conditions import (
    Conditions,
    beside,
    channels_beside,
    checked_entry,
    declared,
)
from ornstein.nets.layers import (
    MODULATIONS,
    Block,
    Style,
    convolution,
    doubled,
    group_norm,
    silent,
)
from ornstein.nets.patches import crop, filled, from_patches, to_patches, with_waves
from ornstein.nets.wiener import Wiener

CLASS = "class"  # the condition that has Gaussians of its own


class Stage(nn.Module):
    """A block, a skip joined before it where given, and attention after it where asked.

    Attention is between all places, and to the tokens of conditions where there are some.
    """

    def __init__(
        self, style: Style, channels: int, *, attends: bool, joined: bool, tokens: bool
    ) -> None:
        super().__init__()
        self.join = convolution(style.rank, 2 * channels, channels, 1) if joined else None
        self.block = Block(style, channels)
        self.attention = Attention(style, channels) if attends else None
        self.cross = CrossAttention(style, channels) if attends and tokens else None

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
        attention_at: Sizes whose blocks are followed by self-attention as well: that of the
            longest axis at a level, such as 16 where a picture is 16 x 12.
        resample: Between two levels, a strided convolution down and a copied one up ("strided"),
            or residual blocks that change the size on both ways ("biggan", arXiv:1809.11096).
        modulation: How the embedding enters each block: it scales and shifts the normalised
            activations ("adagn", arXiv:2105.05233), or is added before the norm ("add", DDPM's).
        groups: Groups of a group norm.
        rescale: Divide each x + f(x) by sqrt 2, which keeps its variance (arXiv:2011.13456).
        blind: Leave the noise level out of all blocks, to see what it is worth.
        head: Channels per attention head.
        dropout: Share of inner activations dropped in training.
        waves: Octaves of sines and cosines of the input that are seen beside it, as in
            arXiv:2107.00630, appendix C: fine detail, which likelihoods are made of.
        wiener: Directions of each of the Gaussians whose guess of the clean item is seen beside it
            (0: none); they are fitted before training, see :class:`ornstein.nets.wiener.Wiener`.
        gaussians: How many there are of each class, beside one of all items; or how many of all
            where there is no condition "class".
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
        attention_at: Sequence[int] = (),
        resample: str = "strided",
        modulation: str = "adagn",
        groups: int = 8,
        rescale: bool = False,
        blind: bool = False,
        patch: int = 1,
        head: int = 32,
        dropout: float = 0.0,
        waves: int = 0,
        wiener: int = 0,
        gaussians: int = 1,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.shape = wholes("shape", shape)
        self.waves = whole("waves", waves, 0)
        self.wiener = whole("wiener", wiener, 0)
        self.gaussians = whole("gaussians", gaussians)
        self.conditions, self.entry = declared(conditions), checked_entry(entry)
        self.widths = wholes("widths", widths)
        self.blocks = wholes("blocks", blocks)
        self.attention = wholes("attention", attention, 0)
        self.attention_at = wholes("attention_at", attention_at)
        self.resample = among("resample", resample, ("strided", "biggan"))
        self.modulation = among("modulation", modulation, MODULATIONS)
        self.groups = whole("groups", groups)
        self.rescale = truth("rescale", rescale)
        self.blind = truth("blind", blind)
        self.patch = whole("patch", patch)
        self.head = whole("head", head)
        self.dropout = fraction("dropout", dropout)
        self.outputs = whole("outputs", outputs)
        self._refuse()
        self._build(len(self.shape) - 1)

    def _refuse(self) -> None:
        if not 2 <= len(self.shape) <= 4:
            raise ConfigError(
                "a U-Net takes items of shape (C, L), (C, H, W) or (C, D, H, W), not "
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
        for size in self.attention_at:
            if size not in self._sizes():
                raise ConfigError(
                    f"attention_at names size {size}, but the levels have the sizes "
                    f"{', '.join(map(str, self._sizes()))}."
                )
        if self.entry == "cross-attention" and not (self.attention or self.attention_at):
            raise ConfigError(
                "entry 'cross-attention' needs a level with attention; name one in attention."
            )

    def _sizes(self) -> list[int]:
        """The longest axis of each level."""
        first = -(-max(self.shape[1:]) // self.patch)
        return [-(-first // 2**level) for level in range(len(self.widths))]

    def _build(self, rank: int) -> None:
        folded = self.shape[0] * self.patch**rank
        vector = 2 * self.widths[0] + 128
        style = Style(
            rank, vector, self.modulation, self.groups, self.head, self.dropout, self.rescale
        )
        self.embed = Embedding(vector, self.conditions, self.entry)
        told = channels_beside(self.conditions, self.shape) * self.patch**rank
        seen = folded * (1 + 2 * self.waves + (self.wiener > 0)) + told
        self.stem = convolution(rank, seen, self.widths[0], 3)
        classed = self.conditions.get(CLASS, {"kind": None})
        groups = 1 + (classed["count"] if classed["kind"] == "class" else 0)
        self.guess = None
        if self.wiener:
            self.guess = Wiener(self.shape, groups, self.wiener, self.gaussians)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(self.widths):
            self.down.extend(self._stages(style, level, joined=False))
            if level + 1 < len(self.widths):
                below = self.widths[level + 1]
                if self.resample == "biggan":
                    self.shrink.append(Block(style, width, below, "down"))
                    self.grow.append(Block(style, below, width, "up"))
                else:
                    self.shrink.append(convolution(rank, width, below, 3, stride=2))
                    self.grow.append(convolution(rank, below, width, 1))
        for level in reversed(range(len(self.widths))):
            self.up.extend(self._stages(style, level, joined=True))
        self.norm = group_norm(self.widths[0], self.groups)
        self.out = silent(convolution(rank, self.widths[0], self.outputs * folded, 3))

    def _stages(self, style: Style, level: int, *, joined: bool) -> list[Stage]:
        """The blocks of one level on one way."""
        attends = level in self.attention or self._sizes()[level] in self.attention_at
        tokens = self.entry == "cross-attention" and bool(self.embed.places)
        return [
            Stage(style, self.widths[level], attends=attends, joined=joined, tokens=tokens)
            for _ in range(self.blocks[level])
        ]

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Map x (B, C, *space), with the noise number (B,) and the condition, like x.

        With more outputs than one, to (B, outputs·C, *space).
        """
        space = tuple(x.shape[2:])
        seen = beside(with_waves(x, self.waves), self.conditions, cond)
        if self.guess is not None:
            group = cond.get(CLASS) if self.guess.groups > 1 else None
            seen = torch.cat([seen, self.guess(x, noise, group)], dim=1)
        x = filled(seen, self.patch)
        vector = self.embed(torch.zeros_like(noise) if self.blind else noise, cond)
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
                shrink = self.shrink[level]
                y = shrink(y, vector) if isinstance(shrink, Block) else shrink(y)
        for level in reversed(range(len(self.blocks))):
            if level < len(self.grow):
                grow = self.grow[level]
                y = grow(y, vector) if isinstance(grow, Block) else doubled(grow(y))
                y = crop(y, tuple(skips[-1].shape[2:]))
            for _ in range(self.blocks[level]):
                y = next(up)(y, vector, tokens, skips.pop())
        return y

    def options(self) -> dict[str, Any]:
        """Return the arguments that build this network again, fit for JSON."""
        return options_of(self)
