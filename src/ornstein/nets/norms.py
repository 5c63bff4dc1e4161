"""Group norms in the form that a processor is fast at, with a scale and shift of each item's own.

torch's group norm is slow on processors where a group is a few channels wide and the channels lie
next to each other in memory (channels last), above all backward and in bfloat16: at 16 channels of
28 x 28 it takes several times the convolution beside it. Here sums run over rows of pictures,
(B, H, W C), each of them one piece of memory, and what differs by channel is repeated along a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class GroupNorm(nn.GroupNorm):
    """A group norm that may be told a scale and a shift for each item, as AdaGN has them."""

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """Normalise x (B, C, *space), scale by 1 + s and shift by t; told (B, 2C) is s and t."""
        s, t = (None, None) if told is None else told.chunk(2, dim=1)
        if not in_rows(x):
            y = super().forward(x)
            space = (...,) + (None,) * (x.ndim - 2)
            return y if s is None or t is None else torch.addcmul(t[space], y, s[space] + 1)
        scale, shift = self.weight.expand(len(x), -1), self.bias.expand(len(x), -1)
        if s is not None and t is not None:
            scale, shift = scale * (s + 1), torch.addcmul(t, shift, s + 1)
        exact = torch.promote_types(x.dtype, torch.float32)
        apply: Callable[..., tuple[Tensor, Tensor, Tensor]] = Normalised.apply
        return apply(x, scale.to(exact), shift.to(exact), self.num_groups, self.eps)[0]


def in_rows(x: Tensor) -> bool:
    """Say whether x is pictures on a processor, channels last, for which rows are faster.

    A compiler makes its own kernels.
    """
    return (
        x.device.type == "cpu"
        and x.ndim == 4
        and x.stride(1) == 1
        and not torch.compiler.is_compiling()
    )


class _Context(FunctionCtx):
    """What the way back and derivatives know of the way there."""

    saved_tensors: tuple[Tensor, Tensor, Tensor, Tensor]
    groups: int
    eps: float


class Normalised(torch.autograd.Function):
    """scale (x - mean)/deviation + shift, over each item's groups of channels.

    From x (B, C, H, W) channels last, and scale and shift (B, C) in at least single precision.
    The mean and one over the deviation, (B, G, 1), go out as well: the way back needs them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, rate = _moments(x, groups, eps)
        gain = scale.unflatten(1, (groups, -1)) * rate
        offset = shift.unflatten(1, (groups, -1)) - gain * mean
        return _lines(offset, (x, gain)), mean, rate

    @staticmethod
    def setup_context(
        ctx: _Context,
        inputs: tuple[Tensor, Tensor, Tensor, int, float],
        output: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        x, scale, _, ctx.groups, ctx.eps = inputs
        _, mean, rate = output
        ctx.mark_non_differentiable(mean, rate)
        ctx.save_for_backward(x, scale, mean, rate)
        ctx.save_for_forward(x, scale, mean, rate)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean, rate = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative they must be functions of x again
            mean, rate = _moments(x, ctx.groups, ctx.eps)
        gain = scale.unflatten(1, (ctx.groups, -1)) * rate
        total = _sums(_rows(grad), x, ctx.groups)
        turned = _sums(_rows(grad) * _rows(x), x, ctx.groups) - mean * total
        flat = _mean(gain * total, x)
        bent = _mean(gain * turned, x) * rate.square()
        # gain grad - flat - bent (x - mean)
        offset, slope = (bent * mean - flat).expand_as(gain), (-bent).expand_as(gain)
        moved = _lines(offset, (x, slope), (grad, gain))
        return moved, (turned * rate).flatten(1), total.flatten(1), None, None

    @staticmethod
    def jvp(
        ctx: _Context, dx: Tensor | None, dscale: Tensor | None, dshift: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        x, scale, mean, rate = ctx.saved_tensors
        dx = torch.zeros_like(x) if dx is None else dx
        scale, dscale, dshift = (
            (torch.zeros_like(scale) if v is None else v).unflatten(1, (ctx.groups, -1))
            for v in (scale, dscale, dshift)
        )
        gain, total = scale * rate, _sums(_rows(dx), x, ctx.groups)
        turned = _sums(_rows(dx) * _rows(x), x, ctx.groups) - mean * total
        # gain (dx - its mean) + slope (x - mean) + dshift
        slope = rate * (dscale - gain * rate * _mean(turned, x))
        offset = dshift - gain * _mean(total, x) - slope * mean
        return _lines(offset, (x, slope), (dx, gain)), None, None


def _moments(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """The mean of each group and one over its deviation, (B, G, 1)."""
    rows = _rows(x)
    mean = _mean(_sums(rows, x, groups, exact=True), x)
    square = _mean(_sums(rows * rows, x, groups, exact=True), x)
    return mean, ((square - mean.square()).clamp(min=0) + eps).rsqrt()


def _rows(x: Tensor) -> Tensor:
    """(B, C, H, W), channels last, as (B, H, W C)."""
    return x.permute(0, 2, 3, 1).flatten(2)


def _sums(rows: Tensor, like: Tensor, groups: int, *, exact: bool = False) -> Tensor:
    """Sum rows (B, H, W C) over places: (B, G, C/G), in at least single precision.

    Sums of columns are exact, or rounded as rows are, which is faster; their sums always are.
    """
    kind = torch.promote_types(rows.dtype, torch.float32)
    columns = rows.sum(1, dtype=kind if exact else rows.dtype)
    sums: Tensor = columns.unflatten(1, (like.shape[3], groups, -1)).sum(1, dtype=kind)
    return sums


def _mean(sums: Tensor, like: Tensor) -> Tensor:
    """From sums over places, (B, G, C/G), to means of groups, (B, G, 1)."""
    return sums.sum(-1, keepdim=True) / (sums.shape[-1] * math.prod(like.shape[2:]))


def _lines(offset: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """Add arrays (B, C, H, W), each times numbers of its channels (B, G, C/G), to such numbers."""
    like = terms[0][0]
    line = _row(offset, like)
    for values, factor in terms:
        line = torch.addcmul(line, _rows(values), _row(factor, like))
    pictures: Tensor = line.unflatten(2, (like.shape[3], like.shape[1]))
    return pictures.permute(0, 3, 1, 2)


def _row(values: Tensor, like: Tensor) -> Tensor:
    """Numbers of each channel, (B, G, C/G), along one row: (B, 1, W C)."""
    wide = values.flatten(1).to(like.dtype)[:, None, None]
    return wide.expand(-1, -1, like.shape[3], -1).flatten(2)
