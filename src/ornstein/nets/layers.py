"""The residual blocks of the U-Net, for series, images and volumes alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets.dropout import Dropout
from ornstein.nets.norms import GroupNorm

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


def group_norm(channels: int, groups: int = 8) -> GroupNorm:
    """Return a group norm of up to ``groups`` groups; any channel count will do."""
    return GroupNorm(gcd(groups, channels), channels)


def halved(x: Tensor) -> Tensor:
    """Average neighbours of x (B, C, *space); half the size, rounded up."""
    made: Tensor = POOLS[x.ndim - 2](x, 2, ceil_mode=True)
    return made


def doubled(x: Tensor) -> Tensor:
    """Show every place of x (B, C, *space) twice along each axis."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def adaptive(norm: GroupNorm, y: Tensor, told: Tensor) -> Tensor:
    """Scale and shift the normalised y by what is told: AdaGN (arXiv:2105.05233, eq. 3)."""
    out: Tensor = norm(y, told)
    return out


def added(norm: GroupNorm, y: Tensor, told: Tensor) -> Tensor:
    """Add what is told to y, then normalise, as in DDPM (arXiv:2006.11239)."""
    out: Tensor = norm(y + told[(...,) + (None,) * (y.ndim - 2)])
    return out


POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
RESIZED: dict[str, Callable[[Tensor], Tensor]] = {"down": halved, "up": doubled}

# How the embedding enters a block, and how many numbers a channel it is told.
MODULATIONS: dict[str, tuple[Callable[[GroupNorm, Tensor, Tensor], Tensor], int]] = {
    "adagn": (adaptive, 2),
    "add": (added, 1),
}


@dataclass(frozen=True)
class Style:
    """What all blocks of one network share.

    Attributes:
        rank: Number of spatial axes.
        embedding: Length of the embedding vector.
        modulation: How the embedding enters a block, a name in MODULATIONS.
        groups: Groups of a group norm, or their greatest common divisor with the channels.
        head: Channels per attention head.
        dropout: Share of the inner activations dropped in training.
        rescale: Whether x + f(x) is divided by sqrt 2, which keeps its variance
            (arXiv:2011.13456, appendix H).
    """

    rank: int
    embedding: int
    modulation: str = "adagn"
    groups: int = 8
    head: int = 32
    dropout: float = 0.0
    rescale: bool = False

    def joined(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the way through a block to the way around it."""
        return (x + y) * 0.5**0.5 if self.rescale else x + y


class Block(nn.Module):
    """A residual block that knows the noise level: the embedding enters it by its modulation.

    A resized block changes the size on both its ways, inside before the first convolution: the
    up and down blocks of BigGAN (arXiv:1809.11096, figure 15) as ADM has them (arXiv:2105.05233).
    The last convolution starts at zero, so a new block adds nothing.

    Args:
        style: What it shares with the other blocks.
        inside: Channels of what comes in.
        outside: Channels of what goes out, as many where not said.
        resized: "down" for half the size, "up" for twice.
    """

    def __init__(
        self, style: Style, inside: int, outside: int = 0, resized: str | None = None
    ) -> None:
        super().__init__()
        outside = outside or inside
        self.style = style
        self.resized = resized
        self.inform, told = MODULATIONS[style.modulation]
        self.norm1 = group_norm(inside, style.groups)
        self.conv1 = convolution(style.rank, inside, outside, 3)
        self.modulate = nn.Linear(style.embedding, told * outside)
        self.norm2 = group_norm(outside, style.groups)
        self.dropout = Dropout(style.dropout)
        self.conv2 = silent(convolution(style.rank, outside, outside, 3))
        self.around = None if inside == outside else convolution(style.rank, inside, outside, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map x (B, inside, *space) given the embedding ``vector`` (B, embedding)."""
        y = functional.silu(self.norm1(x))
        if self.resized is not None:
            x, y = RESIZED[self.resized](x), RESIZED[self.resized](y)
        y = functional.silu(self.inform(self.norm2, self.conv1(y), self.modulate(vector)))
        return self.style.joined(
            x if self.around is None else self.around(x), self.conv2(self.dropout(y))
        )
