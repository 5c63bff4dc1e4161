"""Means, deviations and ranges of items that may not fit into memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_CHUNK_BYTES = 1 << 24


def chunks(
    items: np.ndarray, indices: np.ndarray | range, most: int = _CHUNK_BYTES
) -> Iterator[np.ndarray]:
    """The items at ``indices`` in order, in pieces of some bytes, so that a memmap stays one."""
    size = max(1, int(most // max(1, items[:1].nbytes)))
    for start in range(0, len(indices), size):
        yield np.take(items, indices[start : start + size], axis=0)


def moments_of_bytes(
    items: np.ndarray, train: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of 8-bit items, counted exactly in integers."""
    channels = items.shape[1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for part in chunks(items, train, 1 << 18):  # bincount makes eight bytes of one
        for c in range(channels):
            counts[c] += np.bincount(part[:, c].ravel(), minlength=256)
    values = np.arange(256, dtype=np.float64)
    total = counts.sum(axis=1)
    mean = (counts @ values) / total
    variance = (counts * (values[None] - mean[:, None]) ** 2).sum(axis=1) / total
    return _as_moments(mean, variance, mean)


def moments_of_reals(
    items: np.ndarray, train: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of real numbers, in two passes of float64."""
    over = (0, *range(2, items.ndim))
    count = len(train) * int(np.prod(items.shape[2:], dtype=np.int64))
    mean = np.zeros(items.shape[1])
    for part in chunks(items, train):
        mean += part.sum(axis=over, dtype=np.float64) / count
    variance = np.zeros(items.shape[1])
    column = mean.reshape(1, -1, *[1] * (items.ndim - 2))
    for part in chunks(items, train):
        variance += ((part - column) ** 2).sum(axis=over) / count
    return _as_moments(mean, variance, mean)


def _as_moments(
    mean: np.ndarray, variance: np.ndarray, scale: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A constant channel (spread within rounding of its mean) gets standard deviation 1."""
    std = np.sqrt(variance)
    std = np.where(std > 1e-12 * np.abs(scale), std, 1.0)
    return tuple(float(v) for v in mean), tuple(float(v) for v in std)


def usual_range(items: np.ndarray) -> tuple[float, float]:
    """Range of real-valued pictures: the first usual one that holds them all, else their own."""
    parts = [(part.min(), part.max()) for part in chunks(items, range(len(items)))]
    return usual(float(min(low for low, _ in parts)), float(max(high for _, high in parts)))


def usual(low: float, high: float) -> tuple[float, float]:
    """The first usual range that holds all from ``low`` to ``high``, else just these."""
    deep = ((0.0, 2.0**bits - 1) for bits in (8, 10, 12, 14, 16))
    known = ((0.0, 1.0), (-1.0, 1.0), *deep)
    return next(((a, b) for a, b in known if a <= low and high <= b), (low, high))
