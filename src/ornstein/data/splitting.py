"""Which items are held out: a choice by content, the same for every seed and order."""

from __future__ import annotations

import numpy as np

from ornstein.data.moments import chunks

HELDOUT_SHARE = 0.05
HELDOUT_MOST = 10_000
HELDOUT_FROM = 20  # smaller sets hold nothing out
LONG_RUN = 10  # a run of more than this part of all items is not held out whole
_STEP = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's, between two copies of an item
_PIECE = 1 << 18  # bytes hashed at a time


def split(items: np.ndarray) -> np.ndarray:
    """Indices of the held-out items, ascending: 5 %, at most 10,000, none of fewer than 20.

    An item's rank comes from a hash of its own content. So the split depends on no seed, order
    or file name, a set that grows keeps most of its held-out items, and exact copies stay on
    one side, unless most items are copies.
    """
    return held_out(content_keys(items))


def held_out(keys: np.ndarray) -> np.ndarray:
    """The same, from the hash of each item, (N,) uint64."""
    n = len(keys)
    if n < HELDOUT_FROM:
        return np.empty(0, dtype=np.int64)
    count = min(max(1, round(HELDOUT_SHARE * n)), HELDOUT_MOST)
    left = np.arange(n, dtype=np.int64)
    while 2 * len(left) > n:
        own = keys[left]
        bar = np.partition(own, count)[count]
        copies = own == bar
        if copies.sum() <= count:
            return np.asarray(left[own < bar])  # never some of the copies of an item
        left = left[~copies]  # too many to be held out, all of one item
    return _one_by_one(keys, count)


def _one_by_one(keys: np.ndarray, count: int) -> np.ndarray:
    """Hold out single copies, where most items are copies: rows of a few columns with few words.

    The k-th copy of an item has a rank of its own, so that what is held out is like the rest.
    """
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    lengths = np.diff([*begins, len(keys)])
    which = np.arange(len(keys)) - np.repeat(begins, lengths)
    own = _mix(ranked + (which.astype(np.uint64) + np.uint64(1)) * _STEP)
    return np.sort(order[np.argsort(own, kind="stable")[:count]]).astype(np.int64)


def split_runs(items: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Held-out items where they come in runs, such as the windows of a recording in their order.

    A run is held out whole, since its parts tell of each other. Where most items are in runs too
    long for that, the end of each is.

    Args:
        items: (N, *shape).
        lengths: Items of each run, (runs,); their sum is N.
    """
    n, ends = len(items), np.cumsum(lengths)
    if n < HELDOUT_FROM:
        return np.empty(0, dtype=np.int64)
    count = min(max(1, round(HELDOUT_SHARE * n)), HELDOUT_MOST)
    most = max(count, n // LONG_RUN)
    short = lengths <= most
    if 2 * lengths[short].sum() <= n:
        late = np.where(short, 0, np.maximum(1, np.rint(count / n * lengths))).astype(np.int64)
        first = ends - late
    else:
        own = _mix(np.add.reduceat(_mix(content_keys(items)), ends - lengths))
        ranked = np.flatnonzero(short)[np.argsort(own[short], kind="stable")]
        last = ranked[np.searchsorted(np.cumsum(lengths[ranked]), count)]
        first = np.where(short & (own <= own[last]), ends - lengths, ends)  # copies together
    return np.concatenate(list(map(np.arange, first, ends))).astype(np.int64)


def content_keys(items: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each item's bytes, (N,) uint64, the same on every machine.

    Each 64-bit word is moved by a fixed random number, spread by the finaliser of SplitMix64
    (Steele, Lea and Flood 2014) and summed with random odd weights; vectorised, because a set
    may hold millions of items.
    """
    size = items[:1].nbytes
    words = -(-size // 8)
    odd = np.random.Generator(np.random.PCG64(2014)).integers(
        0, 1 << 64, size=words, dtype=np.uint64
    ) | np.uint64(1)
    keys = np.empty(len(items), dtype=np.uint64)
    start = 0
    for part in chunks(items, range(len(items)), _PIECE):
        rows = np.zeros((len(part), words * 8), dtype=np.uint8)
        little = part.astype(part.dtype.newbyteorder("<"), copy=False)
        rows[:, :size] = np.ascontiguousarray(little).view(np.uint8).reshape(len(part), size)
        # Without the spreading, numbers in a row would get evenly spaced keys, not random ones.
        keys[start : start + len(part)] = (_mix(rows.view("<u8") + odd) * odd).sum(axis=1)
        start += len(part)
    return keys


def _mix(z: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64: every bit of the input reaches every bit of the output."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
