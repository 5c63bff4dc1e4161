"""The architecture of diffusers' UNet2DModel, of ornstein's layers, weight for weight.

So that two trainings of one network can be timed side by side; ornstein's own U-Net joins its
skips in another way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets.attention import Attention
from ornstein.nets.base import Embedding
from ornstein.nets.layers import Block, Style, convolution, doubled, group_norm, silent

STYLE = Style(2, 256, "add", groups=32, head=8)


class Twin(nn.Module):
    """32x32x1, base 64, multipliers 1, 2, 2, a block per level, attention at 8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = Embedding(STYLE.embedding)
        self.stem = convolution(2, 1, 64, 3)
        down = [[64, 64], None, [64, 128], None, [128, 128, "attends"]]
        middle = [[128, 128, "attends"], [128, 128]]
        up = [[256, 128, "attends"], [256, 128, "attends"], None]
        up += [[256, 128], [192, 128], None, [192, 64], [128, 64]]
        self.down = nn.ModuleList(_parts(down, 2))
        self.middle = nn.ModuleList(_parts(middle, 1))
        self.up = nn.ModuleList(_parts(up, 1))
        self.norm = group_norm(64, STYLE.groups)
        self.out = silent(convolution(2, 64, 1, 3))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Map x (B, 1, 32, 32), with the noise number (B,), like x."""
        vector = self.embed(noise, cond)
        y = self.stem(x).contiguous(memory_format=torch.channels_last)
        skips = [y, *(y := _through(part, y, vector) for part in self.down)]
        for part in self.middle:
            y = _through(part, y, vector)
        for part in self.up:
            whole = isinstance(part, nn.ModuleList)
            y = _through(part, torch.cat([y, skips.pop()], 1) if whole else doubled(y), vector)
        answer: Tensor = self.out(functional.silu(self.norm(y)))
        return answer

    def options(self) -> dict[str, Any]:
        """It has none."""
        return {}


def _parts(rows: list[list[Any] | None], stride: int) -> Iterator[nn.Module]:
    """Blocks with attention where it is said; between levels, a convolution."""
    width = 64
    for row in rows:
        if row is None:
            yield convolution(2, width, width, 3, stride=stride)
            continue
        inside, width, *attends = row
        block = Block(STYLE, inside, width)
        yield nn.ModuleList([block, *(Attention(STYLE, width) for _ in attends)])


def _through(part: nn.Module, y: Tensor, vector: Tensor) -> Tensor:
    """Through a block and its attention, or from one level to the next."""
    if not isinstance(part, nn.ModuleList):
        answer: Tensor = part(y)
        return answer
    y = part[0](y, vector)
    for attention in list(part)[1:]:
        y = attention(y)
    return y


WHOLE = {
    "conv_in": "stem", "time_embedding.linear_1": "embed.first", "conv_norm_out": "norm",
    "time_embedding.linear_2": "embed.second", "conv_out": "out",
}  # fmt: skip
WITHIN = {"time_emb_proj": "modulate", "conv_shortcut": "around", "group_norm": "norm"}
WITHIN |= {"to_out.0": "out", "conv": ""}
PLACE = re.compile(r"(?:(down|up)_blocks\.(\d)|mid_block)\.(\w+)\.(\d)\.(.*)\.(weight|bias)")


def from_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a UNet2DModel by the names of a Twin, which then is the same function.

    The noise number is then the timestep: the frequencies of its waves come along.
    """
    found = {}
    for name, tensor in state.items():
        place = PLACE.fullmatch(name)
        if place is None:
            layer, _, kind = name.rpartition(".")
            found[f"{WHOLE[layer]}.{kind}"] = tensor
        elif not place[5].startswith("to_") or place[5] == "to_out.0":
            own = WITHIN.get(place[5], place[5])
            found[".".join(filter(None, [*_place(place), own, place[6]]))] = _fitting(own, tensor)
        elif place[5] == "to_q":
            three = [state[name.replace("to_q", f"to_{part}")] for part in "qkv"]
            found[".".join([*_place(place), "qkv", place[6]])] = _fitting("qkv", torch.cat(three))
    # Theirs are cosines and sines, ours sines and cosines.
    first = found["embed.first.weight"]
    found["embed.first.weight"] = torch.cat(first.chunk(2, 1)[::-1], 1)
    found["embed.frequencies"] = torch.exp(-math.log(10_000) * torch.arange(32) / 32)
    return found


def _place(found: re.Match[str]) -> tuple[str, ...]:
    """Where a part of theirs lies in a Twin."""
    path, level, kind, k = found[1] or "middle", int(found[2] or 0), found[3], int(found[4])
    parts = {"down": 2, "up": 3, "middle": 1}[path]  # a level and what leads to the next
    if kind.endswith("samplers"):
        return path, str(parts * level + parts - 1)
    return path, str(parts * level + k), str(int(kind == "attentions"))


def _fitting(layer: str, tensor: Tensor) -> Tensor:
    """A linear map of theirs as a convolution of ours over single places."""
    linear = tensor.ndim == 2 and layer in ("qkv", "out")
    return tensor[..., None, None] if linear else tensor
