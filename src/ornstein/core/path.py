"""The forward process as one joint path: the same noise grows, as q(x_1..x_T | x_0) says."""

from __future__ import annotations

import torch
from torch import Tensor

from ornstein.core.kernel import transition
from ornstein.core.level import Level, check_descent, spread
from ornstein.core.noise import Noise


def forward_path(x0: Tensor, levels: Level, noise: Noise) -> Tensor:
    """Draw x at every level of a grid from the joint law, by the forward kernel (A3).

    Drawn one by one, the levels would have the right marginals and no memory of each other. Along
    a path Cov(x_s, x_t | x0) = (alpha_t/alpha_s)·sigma_s² for s cleaner than t.

    Args:
        x0: Clean points, (B, *D).
        levels: From most noise to least, as every grid, (n + 1,); the last may be clean.
        noise: Its step k is used for the draw of level k.

    Returns:
        The point at each level, (n + 1, B, *D).

    Raises:
        LevelError: the levels do not grow cleaner.
    """
    check_descent(levels)
    last = len(levels) - 1
    z = torch.zeros_like(x0) if float(levels[last].sigma) == 0 else noise.at(last)(x0)
    path = [levels[last].mix(x0, z)]
    for k in range(last - 1, -1, -1):
        scale, variance = transition(levels[k + 1], levels[k])
        path.append(spread(scale, x0) * path[-1] + spread(variance.sqrt(), x0) * noise.at(k)(x0))
    return torch.stack(path[::-1])
