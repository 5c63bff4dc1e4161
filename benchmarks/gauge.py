"""How fast and how quiet the machine is right now, so that a table can say 'noisy'."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Gauge:
    """Speed of a float32 matrix product and load of the machine."""

    gflops: float
    load: float
    threads: int

    @property
    def noisy(self) -> bool:
        """Whether other work kept more than half a core busy."""
        return self.load > 0.5

    def __str__(self) -> str:
        word = "NOISY" if self.noisy else "quiet"
        return f"{word}: {self.gflops:.0f} GFLOP/s on {self.threads} threads, load {self.load:.1f}"


def gauge(seconds: float = 1.0) -> Gauge:
    """Measure: the median of products of 1024x1024 matrices over about a second."""
    load = os.getloadavg()[0]
    a, speeds = torch.ones(1024, 1024), []
    a @ a
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ a
        speeds.append(2 * 1024**3 / (time.perf_counter() - start) / 1e9)
    return Gauge(sorted(speeds)[len(speeds) // 2], load, torch.get_num_threads())
