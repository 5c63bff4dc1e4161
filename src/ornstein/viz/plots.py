"""Small plots drawn without a plotting library: lines for series, clouds for vectors."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

PALETTE = ((31, 90, 166), (200, 72, 48), (40, 134, 84), (138, 80, 166), (186, 132, 20))
FRAME = (214, 218, 224)
_FINE = 3  # lines are drawn this many times larger and averaged down


def lines(
    series: np.ndarray, limits: tuple[float, float], size: tuple[int, int] = (160, 96)
) -> np.ndarray:
    """Plot each series as a small tile, channels in colours.

    Args:
        series: (N, C, L).
        limits: Lowest and highest value of the tile.
        size: Width and height of a tile in pixels.

    Returns:
        (N, height, width, 3) uint8.
    """
    width, height = (_FINE * s for s in size)
    low, high = limits
    across = np.linspace(0, width - 1, series.shape[2])
    down = (high - series.astype(np.float64)) / (high - low) * (height - 1)
    # A point far outside would overflow the drawing; it leaves the tile all the same.
    down = down.clip(-height, 2 * height)
    tiles = np.empty((len(series), size[1], size[0], 3), dtype=np.uint8)
    for k, channels in enumerate(down):
        tile = Image.new("RGB", (width, height), (255, 255, 255))
        draw = ImageDraw.Draw(tile)
        draw.rectangle((0, 0, width - 1, height - 1), outline=FRAME, width=_FINE)
        for c, curve in enumerate(channels):
            points = [(float(x), float(y)) for x, y in zip(across, curve, strict=True)]
            colour = PALETTE[c % len(PALETTE)]
            if len(points) == 1:
                points *= 2
            draw.line(points, fill=colour, width=_FINE + 1, joint="curve")
        tiles[k] = np.asarray(tile.reduce(_FINE))
    return tiles


def cloud(
    points: np.ndarray, limits: np.ndarray, side: int = 320, colours: np.ndarray | None = None
) -> np.ndarray:
    """Plot points of two coordinates as a cloud, darker where they are many.

    Args:
        points: (N, 2).
        limits: (2, 2), lowest and highest of each coordinate.
        side: Pixels.
        colours: (N, 3) in 0..255, mixed where points meet; default one colour for all.

    Returns:
        (side, side, 3) uint8, the second coordinate upwards.
    """
    place = (points - limits[:, 0]) / (limits[:, 1] - limits[:, 0])
    column = np.floor(place[:, 0] * (side - 1) + 0.5)
    row = np.floor((1 - place[:, 1]) * (side - 1) + 0.5)
    inks = np.broadcast_to(PALETTE[0], (len(points), 3)) if colours is None else colours
    layers = np.zeros((4, side * side))  # how much ink, and of which colour
    for dy, dx, weight in _DOT:
        y, x = row + dy, column + dx
        inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
        place = (y[inside] * side + x[inside]).astype(int)
        for layer, value in zip(layers, (np.ones(len(inks)), *inks.T), strict=True):
            layer += np.bincount(place, weight * value[inside], side * side)
    mass, mixed = np.split(layers.T.reshape(side, side, 4), [1], axis=2)
    # Few points are drawn in full ink, thousands let their density show.
    cover = 1 - np.exp(-mass * max(0.35, min(3.0, 900 / max(1, len(points)))))
    tile = 255 + cover * (mixed / np.maximum(mass, 1e-12) - 255)
    return framed(np.rint(tile).astype(np.uint8))


def framed(tile: np.ndarray) -> np.ndarray:
    """Draw a light line around a tile, (H, W, 3) uint8, in place."""
    tile[[0, -1], :] = tile[:, [0, -1]] = FRAME
    return tile


def bars(values: np.ndarray, limits: np.ndarray, side: int = 320) -> np.ndarray:
    """Histogram of numbers, (N,), between limits (2,), as a tile (side, side, 3) uint8."""
    count = min(48, side // 4)
    heights, _ = np.histogram(values, bins=count, range=(float(limits[0]), float(limits[1])))
    tile = np.full((side, side, 3), 255, dtype=np.uint8)
    tops = np.rint(heights / max(1, heights.max()) * (side - 8)).astype(int)
    edges = np.linspace(0, side, count + 1).astype(int)
    for k, top in enumerate(tops):
        tile[side - top :, edges[k] : edges[k + 1] - 1] = PALETTE[0]
    return framed(tile)


_DOT = [
    (dy, dx, 1.0 if not dy and not dx else 0.45 if not dy or not dx else 0.2)
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
]
