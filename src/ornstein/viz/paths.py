"""One-dimensional paths over their exact density: noising, and both ways back (A11).

The law is a known mixture, so the density behind the paths and the score that leads back are
exact, and the paths are so up to the steps of the solver.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ornstein.core import ItemNoise, Level, Mixture, Process
from ornstein.solvers import DDIM, Solver, trace
from ornstein.viz.forward import ascent, joint_path, unit
from ornstein.viz.schedule import dress, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PATHS, MOMENTS, REACH = 24, 201, 3.2


def two_peaks() -> Mixture:
    """A law with mean 0 and variance 1 that no Gaussian resembles: peaks at -1.2 and 0.8."""
    deviation = (1 - 0.4 * 1.2**2 - 0.6 * 0.8**2) ** 0.5
    return Mixture(
        torch.tensor([0.4, 0.6]),
        torch.tensor([[-1.2], [0.8]]),
        torch.full((2,), deviation),
    )


class Paths(NamedTuple):
    """Paths of a process, all on the scale where data and noise have unit variance.

    Attributes:
        t: Times from 0 to 1, (K,).
        noising: Forward paths, (K, B).
        sde: Reverse paths with fresh noise, (K, B), read from t = 1 down.
        ode: Reverse paths of the probability flow, (K, B).
    """

    t: np.ndarray
    noising: np.ndarray
    sde: np.ndarray
    ode: np.ndarray


def walk(process: Process, law: Mixture, count: int = PATHS, seed: int = 0) -> Paths:
    """Draw ``count`` paths forward and back; the ways back start from the same noise."""
    levels = ascent(process, MOMENTS)
    x0 = law.sample(count, torch.Generator().manual_seed(seed))
    path = joint_path(x0, levels, seed)
    noising = torch.stack([unit(x, levels[k]) for k, x in enumerate(path)])[..., 0]
    down = Level(levels.alpha.flip(0), levels.sigma.flip(0))
    noise = ItemNoise(seed, range(count))
    start = down[0].sigma * noise.start((1,)).double()
    sde = _back(law, start, down, DDIM(eta=1.0), noise)
    ode = _back(law, start, down, DDIM(), noise)
    t = np.linspace(0, 1, MOMENTS)
    return Paths(t, noising.numpy(), sde.flip(0).numpy(), ode.flip(0).numpy())


def _back(law: Mixture, start: Tensor, down: Level, solver: Solver, noise: ItemNoise) -> Tensor:
    points = [unit(start, down[0])]
    points += [unit(step.x, step.level) for step in trace(law, start, down, solver, noise)]
    return torch.stack(points)[..., 0]


def density(process: Process, law: Mixture, x: Tensor) -> np.ndarray:
    """Exact density of the unit-variance point at each time, (K, len(x))."""
    levels = ascent(process, MOMENTS)
    rows = []
    for k in range(MOMENTS):
        level = levels[k]
        norm = level.alpha if float(level.sigma) == 0 else level.norm
        rows.append((law.log_prob(x[:, None] * norm, level).exp() * norm).numpy())
    return np.stack(rows)


def draw_paths(
    process: Process, path: str | Path, law: Mixture | None = None, seed: int = 0
) -> Path:
    """Draw paths in one dimension: forward, back with fresh noise, back along the flow.

    Args:
        process: The process.
        path: Where to write; the suffix names the format.
        law: Law of the data in one dimension, default :func:`two_peaks`.
        seed: Of data and noise.

    Raises:
        UsageError: matplotlib is not installed.
    """
    law = law or two_peaks()
    figure = new_figure((13, 3.6))
    found = walk(process, law, seed=seed)
    x = torch.linspace(-REACH, REACH, 320, dtype=torch.float64)
    shade = density(process, law, x)
    axes = figure.subplots(1, 5, width_ratios=[0.35, 1, 1, 1, 0.35], sharey=True)
    _profile(axes[0], shade[0], x.numpy(), "data", flip=True)
    for axis, points, title in (
        (axes[1], found.noising, "noising: t = 0 to 1"),
        (axes[2], found.sde, "back with fresh noise: t = 1 to 0"),
        (axes[3], found.ode, "back along the flow: t = 1 to 0"),
    ):
        axis.imshow(
            shade.T, origin="lower", aspect="auto", extent=(0, 1, -REACH, REACH), cmap="Greys",
            vmax=float(np.quantile(shade, 0.995)), alpha=0.6,
        )  # fmt: skip
        axis.plot(found.t, points, linewidth=0.7)
        dress(axis, title, "t")
    _profile(axes[4], shade[-1], x.numpy(), "noise")
    path = Path(path)
    figure.savefig(path, dpi=120)
    return path


def _profile(
    axis: Axes, values: np.ndarray, x: np.ndarray, title: str, flip: bool = False
) -> None:
    axis.fill_betweenx(x, values, color="#9db7d5")
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    axis.plot(normal, x, color="#c84830", linewidth=1)
    dress(axis, title, "density")
    axis.set_ylim(-REACH, REACH)
    if flip:
        axis.invert_xaxis()
