"""What a family of generative models is given, and what it must answer to stand beside others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from ornstein.data import Dataset
from ornstein.errors import StoppedEarly
from ornstein.training.signals import StopRequest


@dataclass(frozen=True, eq=False)
class Task:
    """The same for every family.

    Attributes:
        source: The data as ``train`` takes them.
        data: The same, opened; no family is told their classes or other conditions.
        folder: Where a family may keep what it needs to go on.
        size: Side of the pictures that ``data`` were brought to, None for their own.
    """

    source: str | Path | np.ndarray
    data: Dataset
    folder: Path
    size: int | None = None


@dataclass(frozen=True)
class Budget:
    """Seconds by the clock, or a number of steps, which a test can repeat.

    Attributes:
        seconds: Of training; None for steps.
        steps: Of training; None for seconds.
    """

    seconds: float | None = None
    steps: int | None = None

    def shares(self) -> Iterator[float]:
        """Before each step, the share that is spent already; ends when all is.

        Raises:
            StoppedEarly: somebody asked to stop.
        """
        began, done = time.monotonic(), 0
        with StopRequest() as stop:
            while True:
                spent = done if self.steps else time.monotonic() - began
                share = spent / (self.steps or self.seconds or 1.0)
                if share >= 1:
                    return
                yield share
                done += 1
                if stop.asked:
                    raise StoppedEarly("stopped in the middle of a training.")


class Spent(NamedTuple):
    """What a training took.

    Attributes:
        parameters: Weights that were trained, of a critic too.
        steps: Steps done.
        seconds: By the clock.
    """

    parameters: int
    steps: int
    seconds: float


class Fitted(Protocol):
    """A trained model of any family."""

    @property
    def spent(self) -> Spent:
        """What its training took."""

    @property
    def evaluations(self) -> int:
        """Passes through its network for one sample."""

    def sample(self, n: int, seed: int) -> np.ndarray:
        """New items in raw units, (n, *shape)."""

    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        """Nats of items in raw units, (n,): of a probability where the data are levels.

        None for a family that has no likelihood.
        """


Fit = Callable[[Task, Budget, int], Fitted]
"""Trains one family within the budget; all that is random follows from the seed.

It raises DivergedError where a number is not finite any more, and StoppedEarly when asked to stop.
"""
