"""How fast and how quiet the machine is right now, so that a table can say 'noisy'."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

BUSY = 0.25  # cores that others may use before a figure is not believed
UNEVEN = 1.25  # and how many times slower than usual the slowest matrix product may be
IDLE = (3, 4)  # places of "idle" and "waiting for a disk" among the numbers of /proc/stat


class Gauge(NamedTuple):
    """Speed of a float32 matrix product, and what others did meanwhile.

    Attributes:
        gflops: Billions of operations a second, the median of many products.
        threads: Threads that it used.
        others: Cores that other work kept busy, None where the system does not tell.
    """

    gflops: float
    threads: int
    others: float | None

    @property
    def noisy(self) -> bool:
        """Whether other work took part of the machine."""
        return (self.others or 0) > BUSY

    def __str__(self) -> str:
        said = "" if self.others is None else f", others use {self.others:.1f} cores"
        word = "NOISY" if self.noisy else "quiet"
        return f"{word}: {self.gflops:.0f} GFLOP/s on {threads(self.threads)}{said}"


class Watch:
    """Counts the cores that others keep busy, from now on.

    This process and all that it starts, such as compilers, are no others.
    """

    def __init__(self) -> None:
        self.start = (time.monotonic(), self._spent())

    def others(self) -> float | None:
        """Cores, on average since the start; None where the system does not tell."""
        then, before = self.start
        now, after = time.monotonic(), self._spent()
        if before is None or after is None:
            return None
        return max(0.0, (after - before) / max(now - then, 1e-9))

    def _spent(self) -> float | None:
        """Seconds of processor time that others have used, or the machine below took away."""
        tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        try:
            numbers = [int(n) for n in Path("/proc/stat").read_text().split()[1:9]]
        except (OSError, ValueError):
            return None
        whole = sum(n for place, n in enumerate(numbers) if place not in IDLE)
        return (whole - own_ticks()) / tick


def own_ticks() -> int:
    """Processor time in ticks of this process and of all that it started, gone or not."""
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # gone meanwhile
            words = path.read_text(errors="replace").rpartition(")")[2].split()
            process = int(path.parent.name)
            # Its own time, and that of those it started that are gone.
            parents[process], spent[process] = int(words[1]), sum(map(int, words[11:15]))
    ours = {os.getpid()}
    while more := {one for one, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent.get(one, 0) for one in ours)


def threads(count: int) -> str:
    """So many threads, in words."""
    return f"{count} thread{'s' if count > 1 else ''}"


def gauge(seconds: float = 1.0, clock: Callable[[], float] = time.perf_counter) -> Gauge:
    """Measure: the median of products of 1024x1024 matrices over about so long, by a clock."""
    watch, a = Watch(), torch.ones(1024, 1024)
    speeds: list[float] = []
    a @ a
    end = time.perf_counter() + seconds
    while not speeds or time.perf_counter() < end:
        start = clock()
        a @ a
        speeds.append(2 * 1024**3 / (clock() - start) / 1e9)
    return Gauge(median(speeds), torch.get_num_threads(), watch.others())


def summed_up(gauges: Sequence[Gauge], others: float | None) -> str:
    """One sentence on all of a measurement: was the machine quiet, and how fast."""
    speeds = sorted(g.gflops for g in gauges)
    usual = median(speeds)
    noisy = (others or 0) > BUSY or usual > UNEVEN * speeds[0]
    told = "" if others is None else f"; others used {others:.2f} cores on average"
    return (
        f"The machine was {'NOISY' if noisy else 'quiet'}: matrix products between the rounds ran "
        f"at {usual:.0f} GFLOP/s ({speeds[0]:.0f} to {speeds[-1]:.0f}) on "
        f"{threads(gauges[0].threads)}{told}."
    )
