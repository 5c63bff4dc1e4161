"""The forward process for the eye: one path per item, in which the same noise grows.

Drawing each level on its own would give the right marginals and a film that flickers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ornstein.core import ItemNoise, Level, Process, forward_path, spread
from ornstein.errors import LevelError


def ascent(process: Process, count: int) -> Level:
    """Levels of a process at ``count`` times evenly from 0 to 1: from data to noise, (count,)."""
    if count < 2:
        raise LevelError(f"a path needs at least 2 levels, got {count}.")
    return process(torch.linspace(0, 1, count, dtype=torch.float64))


def joint_path(
    x0: Tensor, levels: Level, seed: int = 0, items: Sequence[int] | None = None
) -> Tensor:
    """Draw x at every level from the joint law q(x_1..x_T | x_0), from data to noise (A3).

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
    down = Level(levels.alpha.flip(0), levels.sigma.flip(0))
    return forward_path(x0, down, ItemNoise(seed, items)).flip(0)


def unit(x: Tensor, level: Level) -> Tensor:
    """Put x, (B, *D), on the scale where data and noise have unit variance; clean x stays."""
    norm = level.alpha if float(level.sigma) == 0 else level.norm
    return x * spread(1 / norm, x)
