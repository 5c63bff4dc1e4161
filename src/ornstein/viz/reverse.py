"""The way from noise to data as it was walked: x at chosen moments, and the x0 seen in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.core import Level
from ornstein.solvers import Step
from ornstein.viz.forward import unit
from ornstein.viz.pictures import thin


@dataclass(frozen=True)
class Reversal:
    """Moments of a trajectory, from noise to data.

    Attributes:
        x: The points on the scale where data and noise together have unit variance, (K, B, *D).
        x0: The estimate of x0 made at each moment, (K, B, *D); at the last one, x itself.
        levels: Level of each moment, (K,).
    """

    x: Tensor
    x0: Tensor
    levels: Level


def record(start: Tensor, levels: Level, steps: Iterable[Step], most: int = 49) -> Reversal:
    """Walk a trajectory to its end and keep at most ``most`` moments of it, evenly chosen.

    Args:
        start: The point at levels[0], (B, *D).
        levels: The grid that is walked, (n + 1,).
        steps: What :func:`ornstein.solvers.trace` yields for it.
        most: Moments kept; memory is that of 2·most batches, however long the walk.
    """
    kept = thin(len(levels), most)
    wanted = set(kept)
    points, guesses = [], []
    x = start
    for step in steps:
        if step.number in wanted:
            points.append(unit(x, levels[step.number]))
            guesses.append(step.x0)
        x = step.x
    end = unit(x, levels[len(levels) - 1])
    return Reversal(
        torch.stack([*points, end]), torch.stack([*guesses, end]), levels[torch.tensor(kept)]
    )
