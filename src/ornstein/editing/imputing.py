"""Gaps of tables, series and vectors filled by a trained model, several times if asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ornstein.bundle import Bundle
from ornstein.bundle.asking import joined
from ornstein.bundle.parts import ROWS
from ornstein.bundle.walking import rows_of
from ornstein.data.conditions import CLASS
from ornstein.data.tables import Table
from ornstein.edit import Mask, Measurement
from ornstein.editing.workbench import Ask, Workbench, settled
from ornstein.errors import UsageError

BATCH, NUMBERS = 512, 1 << 18  # items at a time, and numbers in them: 16 pictures of 3x64x64
_APART = 1_000_000_000  # numbers of two draws of the same item, so that neither depends on n


@dataclass(frozen=True, eq=False)
class Imputed:
    """Items without gaps.

    Attributes:
        draws: Raw units, (n, *items.shape): each draw fills every gap anew.
        gaps: Where a value was made, like the items.
        seconds: Time it took.
    """

    draws: np.ndarray
    gaps: np.ndarray
    seconds: float


def impute(
    bundle: Bundle,
    items: np.ndarray,
    ask: Ask,
    progress: Callable[[int, int], None] | None = None,
) -> Imputed:
    """Fill the gaps of every item; what is there is kept to the last bit.

    Args:
        bundle: The model.
        items: Raw units, NaN where nothing is known: (N, columns) of a table, (N, *shape) else.
        ask: How; n versions of every item.
        progress: Told how many items are done, and how many there are.

    Raises:
        UsageError: there is nothing to fill in, the class of a row is unknown, or a value is
            infinite.
    """
    _check_finite(items)
    ask = settled(bundle, ask)
    began, gaps = time.monotonic(), np.isnan(items)
    if isinstance(bundle.coding, Table):
        _check_class(bundle.coding, ask)
        gaps &= ~np.array(
            [column.name not in bundle.coding.header for column in bundle.coding.columns]
        )
    open_ = np.flatnonzero(gaps.reshape(len(items), -1).any(1))
    if not len(open_):
        raise UsageError("nothing is missing; empty the cells that are to be filled in.")
    draws = np.repeat(items[None], ask.n, axis=0)
    pieces = np.array_split(open_, -(-len(open_) // _most(bundle)))
    work = [(draw, part) for draw in range(ask.n) for part in pieces]
    for done, (draw, part) in enumerate(work, 1):
        made = _filled(bundle, items[part], replace(ask, n=len(part)), part + draw * _APART)
        draws[draw, part] = np.where(gaps[part], made, items[part])
        if progress is not None:
            progress(done, len(work))
    return Imputed(draws, gaps, time.monotonic() - began)


def impute_long(
    bundle: Bundle,
    series: np.ndarray,
    ask: Ask,
    progress: Callable[[int, int], None] | None = None,
) -> Imputed:
    """Fill the gaps of a series longer than the model's windows.

    Each gap is filled in the window around its middle, from what is known there and what was
    filled before it; a gap longer than a window is filled bit by bit from its beginning.

    Args:
        bundle: A model of windows.
        series: (channels, time) in raw units, NaN where nothing is known.
        ask: How.
        progress: Told how many gaps are done, and how many there are at the most.

    Raises:
        UsageError: there is nothing to fill in, or a value is infinite.
    """
    _check_finite(series)
    ask = settled(bundle, ask)
    began, gaps, side = time.monotonic(), np.isnan(series), bundle.shape[1]
    if not gaps.any():
        raise UsageError("nothing is missing; empty the cells that are to be filled in.")
    draws, most = np.repeat(series[None], ask.n, axis=0), int(gaps.any(0).sum())
    done = 0
    while (open_ := np.flatnonzero(np.isnan(draws[0]).any(0))).size:
        run = open_[: int((np.diff(open_, prepend=open_[0] - 1) == 1).argmin()) or len(open_)]
        first = int(run[0])
        middle = first + min(len(run), side // 2) // 2
        start = min(max(0, middle - side // 2), series.shape[1] - side)
        span = slice(start, start + side)
        numbers = np.arange(ask.n) * _APART + first
        made = _filled(bundle, draws[:, :, span], ask, numbers)
        # Of a gap that goes on beyond the window the far part waits for a window of its own.
        near = np.arange(start, start + side) <= first + side // 2
        empty = np.isnan(draws[:, :, span]) & near
        draws[:, :, span] = np.where(empty, made, draws[:, :, span])
        done += 1
        if progress is not None:
            progress(done, most)
    if progress is not None:
        progress(most, most)
    return Imputed(draws, gaps, time.monotonic() - began)


def _check_finite(items: np.ndarray) -> None:
    """Refuse infinite values.

    Raises:
        UsageError: there are some.
    """
    if np.isinf(items).any():
        raise UsageError(
            "the items have infinite values; give numbers, or NaN for what is to be filled in."
        )


def _check_class(coding: Table, ask: Ask) -> None:
    """Refuse a class that is said of rows which say their own.

    Raises:
        UsageError: that it is.
    """
    if coding.label is not None and joined(ask.cond, ask.class_name):
        raise UsageError(
            f"each row says its class itself, in column '{coding.columns[coding.label].name}'; "
            "leave --class and --cond out, and change that column instead."
        )


def _most(bundle: Bundle) -> int:
    """How many items are filled at a time: of large ones fewer, since a gradient keeps much.

    On a CPU a piece is filled up to a multiple of 16 rows, so fewer would spare nothing.
    """
    least = ROWS if bundle.device.type == "cpu" else 1
    fitting = NUMBERS // math.prod(bundle.shape) // least * least
    return min(BATCH, max(least, fitting))


def _filled(bundle: Bundle, items: np.ndarray, ask: Ask, numbers: np.ndarray) -> np.ndarray:
    """One draw of every item of a piece, in raw units."""
    filling = range(-1, len(numbers) - rows_of(bundle, len(numbers)) - 1, -1)
    bench = Workbench(bundle, ask, [*numbers.tolist(), *filling])
    known, seen = (
        _padded(part, bench.rows).to(bench.device) for part in bundle.coding.posed(items)
    )
    classes = bundle.coding.classes(items)
    if classes is not None:
        cond = {CLASS: _padded(classes, bench.rows)}
        bench.denoise = bundle.denoiser(cond, bench.sampler)
    known = known * seen
    x = bench.drawn(Measurement(Mask(seen), known), (known, seen))
    return bundle.coding.decode(x[: len(items)])


def _padded(rows: Tensor, count: int) -> Tensor:
    """Rows repeated to a number that keeps the bits of each the same in any batch."""
    return rows[torch.arange(count) % len(rows)]
