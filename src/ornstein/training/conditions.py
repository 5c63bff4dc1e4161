"""Conditions in training: hidden from some items, noised, compared, picked by rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ornstein.core import Level, per_item


def hidden(
    cond: Mapping[str, Tensor], null: Mapping[str, Tensor], rows: Tensor
) -> dict[str, Tensor]:
    """Conditions with those of some items not said, (B, ...) each.

    All conditions of an item are hidden together (arXiv:2207.12598, algorithm 1). Guidance goes
    away from the answer to nothing said at all, so that is what the network must have met; hidden
    one by one, two of them at a rate of 0.1 would be met so in 1 item of 100 only.

    Args:
        cond: What is said.
        null: What stands for "not said", one row under each name.
        rows: Which items are told nothing, (B,) bool.
    """
    return {
        name: torch.where(per_item(rows, value), null[name], value) for name, value in cond.items()
    }


def noisy(name: str, picture: Tensor, share: Tensor, eps: Tensor) -> dict[str, Tensor]:
    """A picture with noise on it, and what tells how much: noise conditioning augmentation.

    arXiv:2106.15282, section 4.2. The variance of standardised pictures is kept.

    Args:
        name: Of the condition; the other is called "NAME-noise".
        picture: (B, C, *space).
        share: Standard deviation of the noise, from 0 to 1, (B,).
        eps: Standard noise, like the picture.
    """
    level = Level((1 - share.square()).sqrt(), share)
    return {name: level.mix(picture, eps), f"{name}-noise": share[:, None]}


def groups(cond: Mapping[str, Tensor], count: int) -> Tensor:
    """Number the items so that those told the same have one number, (count,)."""
    told = [value.reshape(count, -1).double().nan_to_num(torch.inf) for value in cond.values()]
    if not told:
        return torch.zeros(count, dtype=torch.int64)
    numbers: Tensor = torch.cat(told, dim=1).unique(dim=0, return_inverse=True)[1]
    return numbers


def picked(cond: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The conditions of some of the items."""
    return {name: value[rows] for name, value in cond.items()}
