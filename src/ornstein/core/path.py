"""The forward process as a path: exactly, by its kernels, or by simulating its SDE."""

from __future__ import annotations

import torch
from torch import Tensor

from ornstein.core.kernel import transition
from ornstein.core.level import Level, as_clock, check_descent, spread
from ornstein.core.noise import Noise
from ornstein.core.process import Process
from ornstein.errors import LevelError


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


def forward_sde(process: Process, x0: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """Simulate dx = f·x·dt + g·dw by Euler-Maruyama, x += f·x·dt + g·sqrt(dt)·z (A11).

    What :func:`forward_path` draws exactly, for any process; the error of the law falls with the
    first power of dt.

    Args:
        process: Gives f and g².
        x0: Clean points, (B, *D).
        times: Rising, (K,). At the first one x is drawn exactly; f must be finite before the last.
        noise: Its step k is used for the draw of time k.

    Returns:
        The point at each time, (K, B, *D).

    Raises:
        LevelError: the times do not rise.
    """
    times = as_clock(times)
    dt = times.diff()
    if not bool((dt > 0).all()):
        raise LevelError("the times of a forward simulation must rise; sort them, each once.")
    f, g2 = process.drift(times[:-1]), process.diffusion2(times[:-1])
    path = [process(times[0]).mix(x0, noise.at(0)(x0))]
    for k in range(len(dt)):
        move = Level(1 + f[k] * dt[k], (g2[k] * dt[k]).sqrt())
        path.append(move.mix(path[-1], noise.at(k + 1)(x0)))
    return torch.stack(path)
