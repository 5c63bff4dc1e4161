"""One sheet of items of any kind: pictures in a grid, series as plots, vectors as a cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ornstein.errors import UsageError
from ornstein.viz.pictures import as_tiles, best_scale, enlarge, grid
from ornstein.viz.plots import bars, cloud, lines
from ornstein.viz.tables import marginals

PAIRS = 4  # of a long vector this many coordinates are plotted against each other


def limits_of(arrays: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Range that holds nearly all values, so that several sheets can share their axes.

    Args:
        arrays: Batches of one kind, (N, *shape) each.
        kind: "image", "series", "vector" or "table".

    Returns:
        Lowest and highest: (2,) for series, (D, 2) for vectors (the same span along each axis, so
        that round stays round), (columns, 2) for tables, and (0, 255) for pictures.
    """
    if kind == "image":
        return np.array([0.0, 255.0])
    if kind == "table":
        rows = np.concatenate(arrays)
        there = np.where(np.isnan(rows).all(0), 0.0, rows)  # a column without values has no range
        return _room(np.nanquantile(there, (0.002, 0.998), axis=0).T)
    if kind == "series":
        low, high = np.quantile(np.concatenate([a.ravel() for a in arrays]), (0.001, 0.999))
        return _room(np.array([[low, high]])).reshape(2)
    low, high = np.quantile(np.concatenate(arrays), (0.002, 0.998), axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    if len(half) == 2:
        half = np.full(2, half.max())
    return _room(np.stack([middle - half, middle + half], axis=1))


def _room(limits: np.ndarray) -> np.ndarray:
    """Add a margin of 6 %; a range without width gets one."""
    width = limits[:, 1:] - limits[:, :1]
    width = np.where(width > 0, width, np.maximum(1.0, np.abs(limits[:, 1:])))
    return np.concatenate([limits[:, :1] - 0.06 * width, limits[:, 1:] + 0.06 * width], axis=1)


def sheet(
    items: np.ndarray,
    kind: str,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    limits: np.ndarray | None = None,
    beside: np.ndarray | None = None,
) -> Image.Image:
    """Draw a batch of any kind on one sheet.

    Args:
        items: (N, C, H, W) uint8 pictures, (N, C, L) series, (N, D) vectors or (N, columns) rows
            of a table, in raw units.
        kind: "image", "series", "vector" or "table".
        columns: Items in a row; vectors are drawn together and have none.
        labels: A short text under each item, or each column of a table; vectors have none.
        limits: Range of the axes, see :func:`limits_of`; default that of these items.
        beside: Other rows of a table, whose histograms are drawn as lines.

    Raises:
        UsageError: an unknown kind, or an array that is not of this kind.
    """
    _check(items, kind)
    if kind == "image":
        return grid(items, columns=columns, labels=labels)
    compared = [items] if beside is None else [items, beside]
    bounds = limits_of(compared, kind) if limits is None else limits
    if kind == "table":
        tiles = marginals(items, bounds, beside=beside)
        return grid(tiles, columns=columns, scale=1, gap=4, labels=labels)
    if kind == "series":
        tiles = lines(items, (float(bounds[0]), float(bounds[1])))
        return grid(tiles, columns=columns, scale=1, gap=4, labels=labels)
    return Image.fromarray(_vectors(items, bounds, 420))


def strip_rows(
    frames: Sequence[np.ndarray], kind: str, limits: np.ndarray | None = None
) -> list[np.ndarray]:
    """Tiles of the same items at several moments: a row of moments for each item.

    Args:
        frames: K batches (B, *shape) of one kind, pictures as uint8.
        kind: "image", "series", "vector" or "table".
        limits: Shared range, default that of all frames.

    Returns:
        One (K, h, w, 3) uint8 array for each item; for vectors a single row whose tiles show the
        whole batch as a cloud; for tables a row for each column.
    """
    _check(frames[0], kind)
    bounds = limits_of(frames, kind) if limits is None else limits
    if kind == "table":
        return list(np.stack([marginals(f, bounds, 96) for f in frames], axis=1))
    if kind == "vector":
        return [np.stack([_vectors(f, bounds, 150) for f in frames])]
    if kind == "series":
        drawn = [lines(f, (float(bounds[0]), float(bounds[1])), (120, 80)) for f in frames]
    else:
        tiles = [as_tiles(f) for f in frames]
        height, width = tiles[0].shape[1:3]
        factor = best_scale(height, width, len(frames), len(frames[0]))
        drawn = [enlarge(t, factor) for t in tiles]
    return [np.stack([moment[b] for moment in drawn]) for b in range(len(frames[0]))]


def _vectors(points: np.ndarray, limits: np.ndarray, side: int) -> np.ndarray:
    """One coordinate as a histogram, two as a cloud, more as clouds of pairs of the first four."""
    count = min(points.shape[1], PAIRS)
    if count == 1:
        return bars(points[:, 0], limits[0], side)
    if count == 2:
        return cloud(points, limits, side)
    small = max(96, side // count)
    return np.concatenate([
        np.concatenate([
            bars(points[:, i], limits[i], small) if i == j
            else cloud(points[:, [j, i]], limits[[j, i]], small)
            for j in range(count)
        ], axis=1)
        for i in range(count)
    ])  # fmt: skip


def _check(items: np.ndarray, kind: str) -> None:
    axes = {"image": 4, "series": 3, "vector": 2, "table": 2}
    if kind not in axes:
        raise UsageError(f"unknown kind of data '{kind}'; it is one of {', '.join(axes)}.")
    if items.ndim != axes[kind] or 0 in items.shape:
        raise UsageError(
            f"a batch of kind '{kind}' has {axes[kind]} axes and at least one item, got shape "
            f"{items.shape}."
        )
