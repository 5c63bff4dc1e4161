"""Budgets: a number of steps, or minutes that are turned into steps by measuring."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

JUDGED = 5.0  # seconds after which a pace is believed, and by which a plan may be wrong


def pace(step: Callable[[], object], seconds: float = 2.0, most: int = 12) -> float:
    """Measure seconds per call of ``step``, the median after one call to warm up.

    Args:
        step: Does one training step.
        seconds: Stop measuring after about this long.
        most: Measure at most so many calls.
    """
    step()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < most and (len(times) < 2 or time.perf_counter() - start < seconds):
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return median(times)


def compared(
    one: Callable[[], object], other: Callable[[], object], seconds: float = 3.0, most: int = 24
) -> float:
    """Measure the time of a call of ``other`` in times of one of ``one``.

    They are called in turn, after one call each to warm up, and the ratio is the median over the
    turns: a moment in which the machine is slow meets both.

    Args:
        one: Does one training step.
        other: Does one in another way.
        seconds: Stop measuring after about this long.
        most: Measure at most so many turns.
    """
    one(), other()
    ratios: list[float] = []
    start = time.perf_counter()
    while len(ratios) < most and (len(ratios) < 3 or time.perf_counter() - start < seconds):
        marks = [time.perf_counter()]
        for call in (one, other):
            call()
            marks.append(time.perf_counter())
        ratios.append((marks[2] - marks[1]) / (marks[1] - marks[0]))
    return median(ratios)


def largest(needs: Mapping[str, float], seen: Callable[[str], float]) -> str:
    """Choose the largest network size that the budget feeds well enough.

    Args:
        needs: Size name, small to large, to the items it must see to beat the one before.
        seen: Measures how many items a size would see within the budget.

    Returns:
        The last size before the first that would see too little; the first one at least.
    """
    names = list(needs)
    chosen = names[0]
    for name in names[1:]:
        if seen(name) < needs[name]:
            break
        chosen = name
    return chosen


class Budget:
    """How many steps the training has in all.

    A number of steps is kept as it is. A time budget is turned into steps, and again at each
    ``replan``, as long as steps are left: a slower or faster machine changes the number of steps,
    not the time. The total is part of a checkpoint, so what follows one is a function of it.

    Args:
        steps: Total steps, first estimate for a time budget.
        seconds: Time budget for training, None to train a number of steps.
        elapsed: Training time already spent, from a checkpoint.

    Attributes:
        total: Steps in all, as planned now.
        reserve: Seconds kept back for what comes after the last step.
    """

    def __init__(self, steps: int, seconds: float | None = None, elapsed: float = 0.0) -> None:
        self.total = max(1, steps)
        self.seconds = seconds
        self.reserve = 0.0
        self._before = elapsed
        self._start = time.monotonic()
        self._mark: tuple[float, int] | None = None

    @property
    def elapsed(self) -> float:
        """Training time spent, over all sessions."""
        return self._before + time.monotonic() - self._start

    def left(self, done: int, per_step: float) -> float:
        """Seconds left to the end, for display."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.elapsed)
        return (self.total - done) * per_step

    def astray(self, done: int) -> bool:
        """Whether the pace since the last plan leads far from the time: the machine changed."""
        if self.seconds is None or self._mark is None:
            return False
        spent, steps = self.elapsed - self._mark[0], done - self._mark[1]
        if spent < JUDGED or steps < 1:
            return False
        left = self.seconds - self.reserve - self.elapsed
        return abs((self.total - done) * spent / steps - left) > max(JUDGED, left / 4)

    def rest(self, seconds: float) -> None:
        """Leave time that was not spent on steps out of the pace."""
        if self._mark is not None:
            self._mark = (self._mark[0] + seconds, self._mark[1])

    def replan(self, done: int) -> None:
        """Measure the pace since the last call and set the total so that the time is kept."""
        now = (self.elapsed, done)
        if self.seconds is not None and self._mark is not None and done > self._mark[1]:
            per_step = (now[0] - self._mark[0]) / (done - self._mark[1])
            left = self.seconds - self.reserve - now[0]
            self.total = max(done, done + round(left / per_step))
        self._mark = now
