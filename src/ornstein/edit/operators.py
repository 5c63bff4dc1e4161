"""Linear measurements of clean items, y = A·x0 + std·n: what an edit knows of its result.

An operator is any function that is linear in its argument, (B, *D) to (B, *E), each item for
itself. Its adjoint comes from automatic differentiation and its pseudo-inverse from conjugate
gradients, so an operator of one's own is one function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, avg_pool2d, pad

from ornstein.core import per_item
from ornstein.errors import UsageError

Linear = Callable[[Tensor], Tensor]
"""A linear function of a batch, (B, *D) to (B, *E)."""


@dataclass(frozen=True, eq=False)
class Mask:
    """Some coordinates are seen, the others read 0.

    Attributes:
        seen: 1 where the item is known, 0 where it is to be filled in; (*D) or (B, *D).
    """

    seen: Tensor

    def __call__(self, x0: Tensor) -> Tensor:
        """Return the known part."""
        return x0 * self.seen.to(x0)


@dataclass(frozen=True)
class Shrink:
    """Means of blocks: what a picture or series of lower resolution shows.

    Attributes:
        factor: Side of a block; it must divide the sides of the item.
    """

    factor: int

    def __call__(self, x0: Tensor) -> Tensor:
        """Return the smaller items.

        Raises:
            UsageError: vectors, or sides that the factor does not divide.
        """
        sides = tuple(x0.shape[2:])
        if not 1 <= len(sides) <= 2 or any(side % self.factor for side in sides):
            shown = "x".join(map(str, sides)) or "no sides"
            raise UsageError(
                f"items of {shown} cannot be shrunk by {self.factor}; take a factor that divides "
                "the sides."
            )
        return (avg_pool1d if len(sides) == 1 else avg_pool2d)(x0, self.factor)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of pictures or series; beyond the border the last value is repeated.

    Attributes:
        width: Standard deviation of the kernel, in pixels.
    """

    width: float

    def __call__(self, x0: Tensor) -> Tensor:
        """Return the blurred items, one axis after the other."""
        reach = max(1, round(3 * self.width))
        at = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = (-0.5 * (at / self.width) ** 2).exp()
        kernel = (kernel / kernel.sum()).to(x0)
        for axis in range(2, x0.ndim):
            rows = x0.movedim(axis, -1)
            padded = pad(rows.flatten(0, -2)[:, None], (reach, reach), mode="replicate")
            x0 = torch.conv1d(padded, kernel[None, None]).reshape(rows.shape).movedim(-1, axis)
        return x0


@dataclass(frozen=True)
class Grey:
    """The mean of the channels."""

    def __call__(self, x0: Tensor) -> Tensor:
        """Return one channel."""
        return x0.mean(1, keepdim=True)


def adjoint(operator: Linear, like: Tensor) -> Linear:
    """Return the transpose of an operator that takes items like ``like``, (B, *D)."""
    pull = torch.func.vjp(operator, torch.zeros_like(like))[1]

    def transpose(y: Tensor) -> Tensor:
        back: Tensor = pull(y)[0]
        return back

    return transpose


def solve(
    system: Linear, right: Tensor, rtol: float = 1e-5, most: int = 100, reach: float = math.inf
) -> Tensor:
    """Solve system(v) = right by conjugate gradients, each item for itself.

    Args:
        system: Symmetric and not negative.
        right: Right-hand side, (B, *E); where the system is singular, within its range.
        rtol: Stop when every residual is so small relative to its right-hand side.
        most: Stop after so many products.
        reach: No stride changes the residual by more than so many times its size. The curvature
            of a system that is not what it should be may be about 0, and a stride divides by it.
    """
    v, residual = torch.zeros_like(right), right
    direction, size = residual, _dot(residual, residual)
    small = rtol**2 * size
    for _ in range(most):
        going = size > small
        if not bool(going.any()):
            break
        product = system(direction)
        along = _dot(direction, product)
        longest = reach * (size / _dot(product, product)).sqrt()
        # An item that has arrived, or whose direction the system does not see, stands still.
        stride = torch.where(going & (along > 0), torch.minimum(size / along, longest), 0)
        v, residual = v + stride * direction, residual - stride * product
        before, size = size, _dot(residual, residual)
        direction = residual + torch.where(going, size / before, 0) * direction
    return v


def pseudo_inverse(operator: Linear, y: Tensor, like: Tensor) -> Tensor:
    """Return the smallest x with operator(x) closest to y, for y in the operator's range.

    Args:
        operator: From items like ``like``.
        y: (B, *E).
        like: (B, *D).
    """
    back = adjoint(operator, like)
    return back(solve(lambda v: operator(back(v)), y))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product of each item, shaped to multiply it, (B, 1, ...)."""
    return per_item((a * b).flatten(1).sum(1), a)
