"""One-dimensional paths over their exact density: noising, and both ways back (A11).

The law is a known mixture, so the density behind the paths and the score that leads back are
exact, and the paths are so up to the steps of the solver.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ornstein.core import ItemNoise, Level, Mixture, Process
from ornstein.solvers import DDIM, Solver, trace
from ornstein.viz.forward import ascent, joint_path, unit
from ornstein.viz.pictures import film
from ornstein.viz.schedule import dress, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D as Line

PATHS, MOMENTS, REACH, FRAMES = 36, 201, 3.2, 49


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
) -> tuple[Path, Path]:
    """Draw paths in one dimension, as a picture and as a film in which they grow (A11).

    From the left: the density of the data, noising, the way back with fresh noise, the way back
    along the flow, the density of the noise. A path has the colour of its end at the data.

    Args:
        process: The process.
        path: Where to write the picture; the film stands beside it as .webp.
        law: Law of the data in one dimension, default :func:`two_peaks`.
        seed: Of data and noise.

    Raises:
        UsageError: matplotlib is not installed.
    """
    law, path = law or two_peaks(), Path(path)
    figure, panels, drawn = _figure(process, law, walk(process, law, seed=seed))
    full = _pixels(figure)
    for line in drawn:
        line.set_visible(False)
    empty = _pixels(figure)
    Image.fromarray(full).save(path)
    return path, film(list(_grown(full, empty, panels)), path.with_suffix(".webp"))


def _figure(process: Process, law: Mixture, found: Paths) -> tuple[Figure, list[Axes], list[Line]]:
    """The figure, its three panels of paths, and the paths."""
    figure = new_figure((14, 4))
    x = torch.linspace(-REACH, REACH, 400, dtype=torch.float64)
    shade = density(process, law, x)
    axes = figure.subplots(1, 5, width_ratios=[0.3, 1, 1, 1, 0.3], sharey=True)
    _profile(axes[0], shade[0], x.numpy(), "data", flip=True)
    drawn: list[Line] = []
    for axis, points, title in (
        (axes[1], found.noising, "noising  →"),
        (axes[2], found.sde, "←  back with fresh noise"),
        (axes[3], found.ode, "←  back along the flow"),
    ):
        axis.imshow(
            np.sqrt(shade.T), origin="lower", aspect="auto", extent=(0, 1, -REACH, REACH),
            cmap="Greys", vmin=0, vmax=2 * float(np.sqrt(np.quantile(shade, 0.995))),
        )  # fmt: skip
        colours = _colours(points[0])
        for k in range(points.shape[1]):
            drawn += axis.plot(found.t, points[:, k], linewidth=0.9, color=colours[k], alpha=0.85)
        dress(axis, title, "time t")
        axis.set_xlim(0, 1)
    _profile(axes[4], shade[-1], x.numpy(), "noise")
    axes[0].set_ylabel("x at unit variance", fontsize=8)
    return figure, list(axes[1:4]), drawn


def _colours(ends: np.ndarray) -> np.ndarray:
    """Colours for the ends of paths at the data, blue for the lowest to red for the highest."""
    from matplotlib import colormaps

    place = np.clip((ends + 1.8) / 3.6, 0, 1)
    found: np.ndarray = colormaps["turbo"](0.05 + 0.87 * place)
    return found


def _pixels(figure: Figure) -> np.ndarray:
    """Draw a figure, (height, width, 3) uint8."""
    figure.set_dpi(120)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return np.asarray(Image.open(out).convert("RGB"))


def _grown(full: np.ndarray, empty: np.ndarray, panels: list[Axes]) -> Iterator[Image.Image]:
    """Frames in which the paths grow: the first panel from the left, the others from the right."""
    for share in np.linspace(0, 1, FRAMES):
        frame = empty.copy()
        for k, panel in enumerate(panels):
            box = panel.get_window_extent()
            width = round(share * box.width)
            left = round(box.x0) if k == 0 else round(box.x1) - width
            frame[:, left : left + width] = full[:, left : left + width]
        yield Image.fromarray(frame)


def _profile(
    axis: Axes, values: np.ndarray, x: np.ndarray, title: str, flip: bool = False
) -> None:
    axis.fill_betweenx(x, values, color="#9db7d5")
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    axis.plot(normal, x, color="#c84830", linewidth=1.2, label="N(0, 1)")
    dress(axis, title, "density")
    axis.set_ylim(-REACH, REACH)
    axis.legend(frameon=False, fontsize=7, loc="lower left" if flip else "lower right")
    if flip:
        axis.invert_xaxis()
