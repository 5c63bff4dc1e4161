"""The forward process as one path per item: the same noise grows, as q(x_1..x_T | x_0) says.

Drawing each level on its own would give the right marginals and a film that flickers; neighbouring
levels of one path are correlated, Cov(x_s, x_t | x0) = alpha_t/alpha_s · sigma_s² for s
cleaner than t.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ornstein.core import Level, Process, item_normal, spread, transition
from ornstein.errors import LevelError


def ascent(process: Process, count: int) -> Level:
    """Levels of a process at ``count`` times evenly from 0 to 1: from data to noise, (count,)."""
    if count < 2:
        raise LevelError(f"a path needs at least 2 levels, got {count}.")
    return process(torch.linspace(0, 1, count, dtype=torch.float64))


def joint_path(
    x0: Tensor, levels: Level, seed: int = 0, items: Sequence[int] | None = None
) -> Tensor:
    """Draw x at every level from the joint law, step by step with the forward kernel (A3).

    Args:
        x0: Clean points, (B, *D).
        levels: From clean to noisy, (K,).
        seed: Of the noise; row k is a function of (seed, items[k]) alone.
        items: Numbers of the rows, default 0, 1, ...

    Returns:
        (K, B, *D).

    Raises:
        LevelError: the levels do not grow noisier.
    """
    items = list(range(len(x0))) if items is None else items
    path = torch.empty(len(levels), *x0.shape, dtype=x0.dtype)
    x, level = x0, Level(torch.tensor(1.0), torch.tensor(0.0))
    for k in range(len(levels)):
        if float(levels[k].sigma) == 0:
            if k > 0:
                raise LevelError(
                    "a path leads from clean to noisy; only its first level can be clean."
                )
            x = spread(levels[k].alpha, x0) * x0
        else:
            scale, variance = transition(level, levels[k])
            z = item_normal(seed, items, x0.shape[1:], step=k, stream="path").to(x0)
            x = spread(scale, x) * x + spread(variance.sqrt(), x) * z
        path[k] = x
        level = levels[k]
    return path
