"""Two-dimensional toy sets, drawn from a seed; float32 points, exactly known laws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ornstein.data.dataset import Dataset, Source, make_dataset

TOY_SIZE = 10_000
Drawn = tuple[np.ndarray, np.ndarray, tuple[str, ...]]  # points (N, 2), labels (N,), class names


def two_moons(n: int, rng: np.random.Generator) -> Drawn:
    """Two interleaved half circles of radius 1, the lower one shifted by (1, 0.5); noise 0.06."""
    label = rng.integers(2, size=n)
    angle = rng.uniform(0, np.pi, n)
    x = np.where(label == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(label == 0, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([x, y], 1) + 0.06 * rng.standard_normal((n, 2)), label, ("upper", "lower")


def gaussians(n: int, rng: np.random.Generator) -> Drawn:
    """Eight round Gaussians of deviation 0.15, equally spaced on a circle of radius 2."""
    label = rng.integers(8, size=n)
    angle = 2 * np.pi * label / 8
    centre = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    names = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")
    return centre + 0.15 * rng.standard_normal((n, 2)), label, names


def spiral(n: int, rng: np.random.Generator) -> Drawn:
    """Two arms, opposite each other: radius angle/pi, angle uniform in pi/2..3 pi; noise 0.06."""
    label = rng.integers(2, size=n)
    angle = rng.uniform(np.pi / 2, 3 * np.pi, n)
    sign = np.where(label == 0, 1.0, -1.0)
    arm = (sign * angle / np.pi)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return arm + 0.06 * rng.standard_normal((n, 2)), label, ("first arm", "second arm")


def checkerboard(n: int, rng: np.random.Generator) -> Drawn:
    """Uniform on the eight dark unit squares of a 4x4 board over [-2, 2]^2; no noise."""
    square = rng.integers(8, size=n)
    row, column = square // 2, 2 * (square % 2) + (square // 2) % 2
    corner = np.stack([column, row], 1) - 2.0
    return corner + rng.uniform(size=(n, 2)), row, ("row 1", "row 2", "row 3", "row 4")


def rings(n: int, rng: np.random.Generator) -> Drawn:
    """Three circles of radius 1, 2, 3, a third of the points on each; radial noise 0.06."""
    label = rng.integers(3, size=n)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = 1.0 + label + 0.06 * rng.standard_normal(n)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return points, label, ("inner", "middle", "outer")


def swiss_roll(n: int, rng: np.random.Generator) -> Drawn:
    """One arm seen from its end: radius = angle, uniform in 1.5 pi..4.5 pi; noise 0.4.

    The two-dimensional swiss roll of Sohl-Dickstein et al. (arXiv:1503.03585, figure 1).
    """
    angle = rng.uniform(1.5 * np.pi, 4.5 * np.pi, n)
    points = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return points + 0.4 * rng.standard_normal((n, 2)), np.zeros(n), ()


TOYS: dict[str, Callable[[int, np.random.Generator], Drawn]] = {
    "two-moons": two_moons,
    "gaussians": gaussians,
    "spiral": spiral,
    "checkerboard": checkerboard,
    "rings": rings,
    "swiss-roll": swiss_roll,
}


def open_toy(name: str, n: int = TOY_SIZE, seed: int = 0) -> Dataset:
    """``n`` points of the toy ``name``, a function of the seed."""
    points, label, classes = TOYS[name](n, np.random.default_rng(seed))
    return make_dataset(
        name,
        "vector",
        points.astype(np.float32),
        labels=label if classes else None,
        classes=classes,
        source=Source(f"toy '{name}', {n:,} points, seed {seed}", licence="CC0-1.0"),
    )
