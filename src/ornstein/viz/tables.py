"""The columns of a table as histograms, and those of other rows over them."""

from __future__ import annotations

import numpy as np

from ornstein.viz.plots import PALETTE, framed

BINS = 24


def marginals(
    rows: np.ndarray, limits: np.ndarray, side: int = 120, beside: np.ndarray | None = None
) -> np.ndarray:
    """A histogram of each column, those of other rows as a line over it.

    Args:
        rows: (N, columns), NaN for missing cells.
        limits: (columns, 2), lowest and highest value of each.
        side: Pixels.
        beside: (M, columns), other rows, such as the real ones beside samples.

    Returns:
        (columns, side, side, 3) uint8.
    """
    tiles = np.full((rows.shape[1], side, side, 3), 255, dtype=np.uint8)
    edges = np.linspace(0, side, BINS + 1).astype(int)
    for k, tile in enumerate(tiles):
        shares = [_shares(part[:, k], limits[k]) for part in (rows, beside) if part is not None]
        top = max(float(share.max()) for share in shares) or 1.0
        heights = [np.rint(share / top * (side - 8)).astype(int) for share in shares]
        for n, height in enumerate(heights[0]):
            tile[side - height :, edges[n] : edges[n + 1] - 1] = PALETTE[0]
        for line in heights[1:]:
            _outline(tile, side - 1 - line, edges)
        framed(tile)
    return tiles


def _shares(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Share of the values in each bin; missing ones are in none."""
    there = values[np.isfinite(values)]
    found, _ = np.histogram(there, BINS, range=(float(limits[0]), float(limits[1])))
    return np.asarray(found / max(1, len(values)))


def _outline(tile: np.ndarray, tops: np.ndarray, edges: np.ndarray) -> None:
    """Draw the upper line of a histogram, two pixels wide."""
    before = len(tile) - 1
    for n, top in enumerate(tops):
        left, right = edges[n], edges[n + 1]
        low, high = sorted((before, int(top)))
        tile[low : high + 1, left : left + 2] = PALETTE[1]
        tile[max(0, top - 1) : top + 1, left:right] = PALETTE[1]
        before = int(top)
