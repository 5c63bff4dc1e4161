"""The divergence of a vector field at given points: exactly, or by random probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ornstein.core import item_normal
from ornstein.errors import UsageError, look_up

EXACT_MOST = 64  # dimensions up to which the exact trace is the default
PROBES = 4  # beyond them, so many probes


class Probes(Protocol):
    """The directions v in which a divergence is taken, and what their products v·(df/dx)·v give.

    Attributes:
        exact: Whether the products add up to the divergence; else each is an estimate of it.
    """

    @property
    def exact(self) -> bool: ...

    def directions(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the directions at x, each like x, (B, *D)."""
        ...


@dataclass(frozen=True)
class Axes:
    """Every axis in turn: the trace itself, at one backward pass for each dimension."""

    exact = True

    def directions(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the unit vectors."""
        for k in range(x[0].numel()):
            axis = torch.zeros_like(x)
            axis.flatten(1)[:, k] = 1
            yield axis


def rademacher(z: Tensor) -> Tensor:
    """Signs: the least variance of all independent entries, none at all on the diagonal."""
    return torch.where(z < 0, -1.0, 1.0)


def gaussian(z: Tensor) -> Tensor:
    """Standard normal entries."""
    return z


LAWS: dict[str, Callable[[Tensor], Tensor]] = {"rademacher": rademacher, "gaussian": gaussian}
"""Laws of a probe, of unit covariance, made from standard normal numbers."""


@dataclass(frozen=True)
class Hutchinson:
    """Random probes of unit covariance: E[v·(df/dx)·v] is the trace (Hutchinson 1990).

    A probe is kept for a whole trajectory (arXiv:1810.01367, section 3.2), so the integral of the
    products has the right mean; several probes show its standard error.

    Args:
        count: Probes of each item.
        law: Key of ``LAWS``.
        seed: Where they come from.
        items: Number of each item, so that its probes are the same in any batch; default 0, 1, ...
    """

    count: int = PROBES
    law: str = "rademacher"
    seed: int = 0
    items: Sequence[int] | None = None
    exact = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"the trace needs at least one probe, got {self.count}.")
        look_up("law of probes", self.law, LAWS)

    def directions(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the probes."""
        items = range(len(x)) if self.items is None else self.items
        for k in range(self.count):
            z = item_normal(self.seed, items, x.shape[1:], step=k, stream="probe")
            yield LAWS[self.law](z).to(x)


def chosen(
    dims: int, probes: int | None, items: Sequence[int] | None = None, seed: int = 0
) -> Probes:
    """Probes for items of ``dims`` dimensions: 0 is the exact trace, None decides by ``dims``."""
    if probes is None:
        probes = 0 if dims <= EXACT_MOST else PROBES
    return Hutchinson(probes, items=items, seed=seed) if probes else Axes()


def divergence(
    field: Callable[[Tensor], Tensor], x: Tensor, directions: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The field at x, and v·(d field/dx)·v for each direction v.

    One pass forward and one backward for each direction; every item's value must depend on that
    item alone.

    Args:
        field: Maps (B, *D) to the same shape, differentiably.
        x: Points, (B, *D).
        directions: n directions like x.

    Returns:
        The field, (B, *D), and the products, (B, n) float64.

    Raises:
        UsageError: no gradient comes through the field.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = field(x)
    if not value.requires_grad:
        raise UsageError("the denoiser lets no gradient through; a density needs its derivative.")
    products = [
        (torch.autograd.grad(value, x, v, retain_graph=True)[0] * v).flatten(1).sum(1).double()
        for v in directions
    ]
    return value.detach(), torch.stack(products, 1)
