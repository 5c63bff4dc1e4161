"""Grids: lists of n + 1 levels from most noise to clean, the way a solver walks in n steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ornstein.core.chain import DDPM
from ornstein.core.level import Level
from ornstein.core.process import Process
from ornstein.errors import LevelError


def closed(process: Process, levels: Level) -> Level:
    """Append the clean level at which the process starts."""
    end = process(0.0)
    return Level(
        torch.cat([levels.alpha, end.alpha.reshape(1)]),
        torch.cat([levels.sigma, levels.sigma.new_zeros(1)]),
    )


def uniform(process: Process, steps: int) -> Level:
    """Uniform in time from t = 1 to 0, the usual grid of flows; tables are read between levels."""
    _check(steps)
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return closed(process, process(times[:-1]))


def karras(process: Process, steps: int, exponent: float = 7.0) -> Level:
    """Uniform in rho^(1/exponent) over the span, then clean (arXiv:2206.00364, eq. 5)."""
    _check(steps)
    low, high = process.span
    ends = torch.tensor([-0.5 * low, -0.5 * high], dtype=torch.float64).exp() ** (1 / exponent)
    rho = _between(ends[0], ends[1], steps) ** exponent
    return closed(process, process.level(-2 * rho.log()))


def log_snr(process: Process, steps: int) -> Level:
    """Uniform in log-SNR over the span, then clean (arXiv:2206.00927, section 3)."""
    _check(steps)
    low, high = process.span
    ends = torch.tensor([low, high], dtype=torch.float64)
    return closed(process, process.level(_between(ends[0], ends[1], steps)))


def blend(process: Process, steps: int, share: float = 0.5) -> Level:
    """Between even places sigma/(alpha + sigma) and even log-SNRs over the span, then clean.

    Even places are a flow's uniform grid, which hurries past fine detail; even log-SNRs linger
    there. Half of each is near the best on every target of ``python -m benchmarks solvers``.

    Args:
        process: Where to walk.
        steps: Number of steps.
        share: Weight of the even log-SNRs, from 0 to 1.
    """
    _check(steps)
    low, high = process.span
    ends = torch.tensor([low, high], dtype=torch.float64)
    # sigma/(alpha + sigma) as a function of the log-SNR.
    place = torch.sigmoid(-_between(ends[0], ends[1], steps) / 2)
    even = place[0] * torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
    return closed(process, process.level(-2 * torch.logit(torch.lerp(even, place, share))))


def subchain(process: Process, steps: int) -> Level:
    """Evenly chosen levels of a DDPM table from T to 1, then clean (arXiv:2102.09672, section 4).

    With T steps this is the whole chain. The betas of a shorter one follow from its levels. Other
    processes are cut into 1,000 levels.
    """
    table = _table(process, steps)
    k = torch.linspace(table - 1, 0, steps, dtype=torch.float64).round() + 1
    return closed(process, process(k / table))


def trailing(process: Process, steps: int) -> Level:
    """Levels of a DDPM table at equal strides from T down (arXiv:2305.08891, section 3.3)."""
    table = _table(process, steps)
    k = (torch.arange(steps, 0, -1, dtype=torch.float64) * table / steps).round()
    return closed(process, process(k / table))


def _table(process: Process, steps: int) -> int:
    _check(steps)
    table = process.steps if isinstance(process, DDPM) else 1000
    if steps > table:
        raise LevelError(
            f"a chain of {table} steps has no {steps} levels to choose; ask for at most {table}."
        )
    return table


def _between(start: Tensor, end: Tensor, steps: int) -> Tensor:
    # linspace of one point is its start, which is what a single step needs.
    weight = torch.linspace(0, 1, steps, dtype=torch.float64)
    return start + weight * (end - start)


def _check(steps: int) -> None:
    if steps < 1:
        raise LevelError(f"a grid needs at least 1 step, got {steps}.")


GRIDS: dict[str, Callable[[Process, int], Level]] = {
    "uniform": uniform,
    "karras": karras,
    "log-snr": log_snr,
    "blend": blend,
    "subchain": subchain,
    "trailing": trailing,
}
