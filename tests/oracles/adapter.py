"""Our solvers behind the plain numpy call in which the oracle records are written.

Any checker with the same contract can call ``adapter:solve`` too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ornstein.core import Draw, Estimate, Level, from_x0
from ornstein.solvers import DDIM, SOLVERS, Ancestral, Solver, sample


class _Given:
    """The noise that a record prescribes for each step."""

    def __init__(self, noise: Callable[[int], np.ndarray]) -> None:
        self.noise = noise

    def at(self, step: int, /) -> Draw:
        return lambda x: torch.as_tensor(self.noise(step)).to(x)


def _solver(name: str, order: int, eta: float, large: bool) -> Solver:
    if name == "ddim":
        return DDIM(eta)
    if name == "ddpm":
        return Ancestral("large" if large else "small")
    table = {
        "euler": "euler",
        "flow_euler": "euler",
        "heun": "heun",
        "dpmpp": {1: "dpmpp-1", 2: "dpmpp-2m", 3: "dpmpp-3m-published"}.get(order, ""),
    }
    if name not in table:
        raise NotImplementedError(name)
    return SOLVERS[table[name]]()


def solve(
    denoiser: Callable[[np.ndarray, float, float], np.ndarray],
    start: np.ndarray,
    grid: Sequence[tuple[float, float]],
    solver: str,
    *,
    order: int = 2,
    eta: float = 0.0,
    large: bool = False,
    noise: Callable[[int], np.ndarray] | None = None,
    **_: object,
) -> np.ndarray:
    """Walk from ``start`` at grid[0] to grid[-1], all in numpy float64.

    Options of solvers that are not offered do not matter, and ``lower_order_final`` needs none of
    ours: a step to clean data is of first order anyway.
    """
    pairs = torch.tensor(grid, dtype=torch.float64)

    def denoise(x: torch.Tensor, level: Level) -> Estimate:
        x0 = denoiser(x.numpy(), float(level.alpha), float(level.sigma))
        return from_x0(torch.as_tensor(x0), x, level)

    source = None if noise is None else _Given(noise)
    levels = Level(pairs[:, 0], pairs[:, 1])
    chosen = _solver(solver, order, eta, large)
    return sample(denoise, torch.as_tensor(start), levels, chosen, source).numpy()
