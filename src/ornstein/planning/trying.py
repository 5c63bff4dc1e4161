"""Trying a training out: what one of its steps takes here, in seconds and in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ornstein import build
from ornstein.config import Config
from ornstein.data import Dataset
from ornstein.errors import OutOfMemoryError, lacks_memory
from ornstein.training.budget import compared, pace
from ornstein.training.memory import fitting, forget_peak, used_mb
from ornstein.training.ranks import Share

FAR = 10**6  # steps of a training whose end is not in sight


LACKING = (OutOfMemoryError, RuntimeError, MemoryError)
"""What a step may end in that does not fit, among other faults."""


class Trial(NamedTuple):
    """What a step of a training took.

    Attributes:
        seconds: Median of a few steps.
        memory_mb: Most memory in use; None if not told.
        compile_seconds: Of the first step, where the network is compiled.
    """

    seconds: float
    memory_mb: int | None
    compile_seconds: float | None


@dataclass(frozen=True)
class Trials:
    """Steps of trainings that are thrown away.

    Of several ranks one tries its share; what they say to each other is not counted.

    Attributes:
        data: What is trained on.
        device: Where.
        ranks: This rank's share of each batch.
        check: Called between the steps; what it raises ends the trial.
    """

    data: Dataset
    device: torch.device
    ranks: Share
    check: Callable[[], None]

    def step(self, config: Config) -> Callable[[], None]:
        """Return a step of a training with these settings, to be called again and again."""
        trial = build.trainer(config, self.data, self.device, Share(0, self.ranks.count))

        def step() -> None:
            self.check()
            fitting(trial, FAR)

        return step

    def _plain(self, config: Config) -> Callable[[], None]:
        return self.step(config.changed("train", compile=False))

    def seconds(self, config: Config) -> float:
        """Seconds of one step, not compiled, measured for about a second."""
        return pace(self._plain(config), 1.0)

    def affordable(self, config: Config) -> float:
        """Seconds of one step as :meth:`seconds` finds them; infinite where memory is lacking.

        For one of several ways, none of which the user has asked for.
        """
        try:
            return self.seconds(config)
        except LACKING as fault:
            if not _lacks(fault):
                raise
            return math.inf

    def share(self, one: Config, other: Config) -> float:
        """Time of a step of ``other`` in times of one of ``one``, not compiled.

        Both are held at once and take turns. Where there is no memory for that each is measured
        alone: 0 where only ``other`` fits, infinite or not a number where it does not.
        """
        try:
            return compared(self._plain(one), self._plain(other))
        except LACKING as fault:
            if not _lacks(fault):
                raise
        return self.affordable(other) / self.affordable(one)

    def whole(self, config: Config) -> Trial:
        """Measure a training as it will be done."""
        forget_peak(self.device)  # that of trials which were not chosen
        step, compiling = self.step(config), None
        if config.train.compile:
            start = time.perf_counter()
            step()
            compiling = time.perf_counter() - start
        return Trial(pace(step, 2.0), used_mb(self.device), compiling)


def _lacks(fault: Exception) -> bool:
    return isinstance(fault, OutOfMemoryError) or lacks_memory(fault)
