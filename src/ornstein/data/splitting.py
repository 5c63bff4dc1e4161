"""Which items are held out: a choice by content, the same for every seed and order."""

from __future__ import annotations

import numpy as np

from ornstein.data.moments import chunks

HELDOUT_SHARE = 0.05
HELDOUT_MOST = 10_000
HELDOUT_FROM = 20  # smaller sets hold nothing out
_PIECE = 1 << 18  # bytes hashed at a time


def split(items: np.ndarray) -> np.ndarray:
    """Indices of the held-out items, ascending: 5 %, at most 10,000, none of fewer than 20.

    An item's rank comes from a hash of its own content. So the split depends on no seed, order
    or file name, a set that grows keeps most of its held-out items, and exact copies stay on
    one side.
    """
    return held_out(content_keys(items))


def held_out(keys: np.ndarray) -> np.ndarray:
    """The same, from the hash of each item, (N,) uint64."""
    n = len(keys)
    if n < HELDOUT_FROM:
        return np.empty(0, dtype=np.int64)
    count = min(max(1, round(HELDOUT_SHARE * n)), HELDOUT_MOST)
    # The least keys alone are sorted, with all copies of the last of them.
    least = np.flatnonzero(keys <= np.partition(keys, count)[count])
    order = least[np.argsort(keys[least], kind="stable")]
    ranked = keys[order]
    cut = count
    while cut > 0 and ranked[cut - 1] == ranked[cut]:  # never between two copies
        cut -= 1
    return np.sort(order[: cut or count]).astype(np.int64)


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
