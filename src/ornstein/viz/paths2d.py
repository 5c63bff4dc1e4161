"""Points in the plane: noising, their density, and both ways back, with the exact denoiser (A13).

The law is that of the data points themselves, so what leads back is known exactly, and what is
seen is the process and not a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ornstein.core import FiniteData, ItemNoise, Level, Process
from ornstein.errors import UsageError
from ornstein.solvers import DDIM, SOLVERS, Solver, trace
from ornstein.viz.forward import joint_path, unit
from ornstein.viz.pictures import strip, thin
from ornstein.viz.plots import cloud, framed

MOMENTS, POINTS, DATA, REACH = 65, 1200, 1500, 3.0
CELLS = 72  # of the density along each side
BLUR = 0.07  # at least so wide is a point drawn in the density
TRAILS = 160
ROWS = ("noising", "density", "back with fresh noise", "back along the flow")


@dataclass(frozen=True)
class Planes:
    """Moments of a process in the plane, from data to noise, all at unit variance.

    Attributes:
        t: Times, (K,).
        levels: Level of each moment, (K,).
        data: The points whose law it is, (N, 2).
        noising: Forward paths, (K, B, 2).
        sde: Reverse paths with fresh noise, (K, B, 2).
        ode: Reverse paths along the flow from the same noise, (K, B, 2).
    """

    t: np.ndarray
    levels: Level
    data: Tensor
    noising: Tensor
    sde: Tensor
    ode: Tensor


def moments(process: Process, count: int) -> tuple[Tensor, Level]:
    """Times and levels from data to noise, even in the angle atan(sigma/alpha), (count,)."""
    first, last = (
        float(torch.atan2(end.sigma, end.alpha)) for end in (process(0.0), process(1.0))
    )
    angle = torch.linspace(first, last, count, dtype=torch.float64)[1:-1]
    inside = process.time(-2 * angle.tan().log())
    t = torch.cat([inside.new_zeros(1), inside, inside.new_ones(1)])
    return t, process(t)


def planes(process: Process, points: Tensor, seed: int = 0, most: int = MOMENTS) -> Planes:
    """Walk points in the plane forward and back.

    Args:
        process: The process.
        points: The data, standardised, (N, 2).
        seed: Of the noise.
        most: Moments.

    Raises:
        UsageError: the points are not in the plane.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise UsageError(
            f"this figure is of points in the plane, these items are {tuple(points.shape[1:])}; "
            "'ornstein viz forward' shows any kind."
        )
    data = points[torch.tensor(thin(len(points), DATA))].float()
    t, levels = moments(process, most)
    count = min(POINTS, len(data))
    noise = ItemNoise(seed, range(count))
    down = Level(levels.alpha.flip(0), levels.sigma.flip(0))
    start = float(down[0].sigma) * noise.start((2,))

    def back(solver: Solver) -> Tensor:
        walk = trace(FiniteData(data), start, down, solver, noise)
        seen = [unit(start, down[0]), *(unit(step.x, step.level) for step in walk)]
        return torch.stack(seen).flip(0)

    path = joint_path(data[torch.tensor(thin(len(data), count))], levels, seed)
    seen = torch.stack([unit(x, levels[k]) for k, x in enumerate(path)])
    return Planes(t.numpy(), levels, data, seen, back(DDIM(eta=1.0)), back(SOLVERS["dpmpp-2m"]()))


def field(data: Tensor, level: Level, cells: int = CELLS) -> np.ndarray:
    """Density of the noised points at unit variance on a grid, (cells, cells), rows upwards."""
    side = torch.linspace(-REACH, REACH, cells)
    grid = torch.cartesian_prod(side, side)
    norm = float(level.alpha if float(level.sigma) == 0 else level.norm)
    alpha, sigma = float(level.alpha) / norm, max(BLUR, float(level.sigma) / norm)
    square = torch.cdist(grid, alpha * data).square()
    p = torch.exp(-square / (2 * sigma**2)).mean(1) / (2 * math.pi * sigma**2)
    found: np.ndarray = p.reshape(cells, cells).T.flip(0).numpy()
    return found


def hues(points: np.ndarray) -> np.ndarray:
    """A colour for each place in the plane, by its direction from the middle, (B, 3) in 0..255."""
    angle = np.arctan2(points[:, 1], points[:, 0])[:, None]
    wheel = 0.5 + 0.5 * np.cos(angle - 2 * np.pi * np.array([0.0, 1 / 3, 2 / 3]))
    found: np.ndarray = 25 + 200 * wheel**1.3
    return found


LIMITS = np.array([[-REACH, REACH]] * 2)


def panel(seen: Planes, row: int, k: int, side: int) -> np.ndarray:
    """What row of ``ROWS`` shows at moment k, (side, side, 3) uint8."""
    if row == 1:
        return _heat(field(seen.data, seen.levels[k]), side)
    paths = (seen.noising, seen.noising, seen.sde, seen.ode)[row].numpy()
    tile = cloud(paths[k], LIMITS, side, hues(paths[0]))
    return framed(np.minimum(tile, _trails(paths[k:, :TRAILS], side))) if row == 3 else tile


def sheet_of(seen: Planes, columns: int, side: int = 150) -> Image.Image:
    """A strip for each of ``ROWS``: data at the left, noise at the right."""
    at = thin(len(seen.t), columns)
    rows = [np.stack([panel(seen, row, k, side) for k in at]) for row in range(len(ROWS))]
    return strip(rows, ROWS, [f"t {seen.t[k]:.2f}" for k in at])


def frames_of(seen: Planes, count: int, side: int = 240) -> list[Image.Image]:
    """Frames in which data become noise and, beside it, noise becomes data."""
    made = []
    for k in thin(len(seen.t), count):
        moments = (k, k, len(seen.t) - 1 - k, len(seen.t) - 1 - k)
        shown = [panel(seen, row, moment, side) for row, moment in enumerate(moments)]
        made.append(strip([np.stack(shown)], (), ROWS))
    return made


def _trails(paths: np.ndarray, side: int) -> np.ndarray:
    """Thin lines along paths, (K, B, 2), as a tile."""
    fine = 3
    tile = Image.new("RGB", (fine * side, fine * side), "white")
    pen = ImageDraw.Draw(tile)
    place = (paths * np.array([1, -1]) + REACH) / (2 * REACH) * (fine * side - 1)
    for b in range(paths.shape[1]):
        if len(paths) > 1:
            pen.line([tuple(p) for p in place[:, b].tolist()], fill="#c3c9d4", width=2)
    return np.asarray(tile.reduce(fine))


def _heat(p: np.ndarray, side: int) -> np.ndarray:
    """A density as ink on white, by its root: a thin law and a wide one both show."""
    share = np.sqrt(p / p.max())[..., None]
    low, high = np.array([255.0, 255, 255]), np.array([16.0, 52, 110])
    ink = np.rint(low + (high - low) * share).astype(np.uint8)
    wide = Image.fromarray(ink).resize((side, side), Image.Resampling.BICUBIC)
    return framed(np.asarray(wide).copy())
