"""Times of training steps: of each size of network at several batches, and of two ways in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

Clock = Callable[[], float]
ROUNDS = 3  # fewer say nothing
GROWTH = 4.0  # a size does about so many times the work of the one before


class Cell(NamedTuple):
    """What a step of one size at one batch takes.

    Attributes:
        size: Name of the size.
        batch: Items in a step.
        seconds: Of one step; expected from another cell where it was not tried.
        mb: Most memory in use, in MB; None where not tried or not told.
        tried: Whether it was measured.
        fits: Whether there was memory for it.
    """

    size: str
    batch: int
    seconds: float
    mb: int | None = None
    tried: bool = True
    fits: bool = True

    @property
    def rate(self) -> float:
        """Items a second; 0 where there is no memory for it."""
        return self.batch / self.seconds if self.seconds else 0.0


Trial = Callable[[str, int, float], Cell]
"""Measures a size at a batch for about so many seconds."""


def table(
    sizes: Sequence[str],
    batches: Sequence[int],
    seconds: float,
    trial: Trial,
    clock: Clock = time.monotonic,
) -> Iterator[Cell]:
    """Measure each size at each batch, in the order of cost, within about so many seconds.

    What would not be measured in the time that is left is expected, from the cell before: time
    grows with the batch, and from size to size.

    Args:
        sizes: Names, small to large.
        batches: Items in a step, few to many.
        seconds: Time for all.
        trial: Measures one.
        clock: Seconds, from anywhere on.
    """
    end, left = clock() + seconds, len(sizes) * len(batches)
    first: Cell | None = None
    for size in sizes:
        last = first and first._replace(seconds=GROWTH * first.seconds)
        for batch in batches:
            expected = last.seconds * batch / last.batch if last else 0.0
            rest = end - clock()
            if (last and not last.fits) or (ROUNDS + 1) * expected > rest:
                # Where a smaller network had no room for a batch, a larger one has none either.
                fits = last is None or last.fits
                cell = Cell(size, batch, expected, None, tried=False, fits=fits)
            else:
                cell = trial(size, batch, rest / left)
            first = cell if batch == batches[0] else first
            last, left = cell, left - 1
            yield cell


def in_turn(
    works: Mapping[str, Callable[[], object]], seconds: float, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Seconds of each piece of work, the median of rounds in which each is done once.

    Each is done once before that, to warm up.
    """
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    end, rounds = clock() + seconds, 0
    while rounds < ROUNDS or clock() < end:
        for name, work in works.items():
            before = clock()
            work()
            times[name].append(clock() - before)
        rounds += 1
    return {name: median(found) for name, found in times.items()}
