"""What is fast on this machine, tried with the trainings and models that a user has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from ornstein import build
from ornstein.benching.steps import ROUNDS, Cell, in_turn
from ornstein.bundle import Bundle
from ornstein.bundle.parts import ROWS
from ornstein.config import Config
from ornstein.data import Dataset
from ornstein.errors import OutOfMemoryError
from ornstein.planning import FAR, Plan, plan
from ornstein.training.budget import pace
from ornstein.training.loop import Trainer
from ornstein.training.memory import fitting, forget_peak, used_mb


@dataclass(frozen=True)
class Bench:
    """A training to try, and on what.

    Attributes:
        config: Every setting of a training; those of the network are varied.
        data: What is trained on.
        device: Where it is tried.
    """

    config: Config
    data: Dataset
    device: torch.device

    def trainer(self, **how: object) -> Trainer:
        """A training that has not begun, with some settings of its section "train" changed."""
        return build.trainer(self.config.changed("train", **how), self.data, self.device)

    def trial(self, size: str, batch: int, seconds: float) -> Cell:
        """Measure steps of one size at one batch; "" is the network as it is."""
        config = self.config.changed("train", batch=batch)
        config = config.changed("net", size=size) if size else config
        forget_peak(self.device)
        made = build.trainer(config, self.data, self.device)
        try:
            spent = pace(lambda: fitting(made, FAR), seconds)
        except OutOfMemoryError:
            return Cell(size, batch, 0.0, fits=False)
        return Cell(size, batch, spent, used_mb(self.device))

    def threads(self, seconds: float) -> float:
        """How many times faster all threads are than one, at a step of training."""
        most, made = torch.get_num_threads(), self.trainer()

        def on(count: int) -> Callable[[], None]:
            def work() -> None:
                with only(count):
                    made.step(FAR)

            return work

        spent = in_turn({"one": on(1), "all": on(most)}, seconds)
        return spent["one"] / spent["all"]

    def half(self, seconds: float) -> float:
        """How many times faster a step is in bfloat16."""
        ways = {way: self.trainer(precision=way) for way in ("float32", "bfloat16")}
        spent = in_turn({way: partial(made.step, FAR) for way, made in ways.items()}, seconds)
        return spent["float32"] / spent["bfloat16"]

    def compiled(self, seconds: float) -> tuple[float, float]:
        """Seconds of the first step of a compiled network, and how many times faster it is then.

        Raises:
            ConfigError: it cannot be compiled here.
        """
        plain, made = self.trainer(compile=False), self.trainer(compile=True)
        start = time.perf_counter()
        fitting(made, FAR)
        first = time.perf_counter() - start
        works = {"plain": partial(plain.step, FAR), "compiled": partial(made.step, FAR)}
        spent = in_turn(works, seconds)
        return first, spent["plain"] / spent["compiled"]


class Foreseen(NamedTuple):
    """What a training of some minutes would be.

    Attributes:
        minutes: Its time.
        net: Network and size.
        weights: How many it has.
        batch: Items in a step.
        steps: Steps in all.
    """

    minutes: float
    net: str
    weights: int
    batch: int
    steps: int


def for_minutes(config: Config, data: Dataset, device: torch.device, minutes: float) -> Plan:
    """Plan a training of so many minutes, as ``ornstein train`` does."""
    return plan(config.changed("train", minutes=minutes), data, device)


def foreseen(made: Plan, minutes: float) -> Foreseen:
    """What a plan comes to."""
    net, batch = made.config.net, made.config.train.batch or 0
    name = f"{net.name} {net.size}" if net.size else str(net.name)
    return Foreseen(minutes, name, made.parameters, batch, made.steps)


@contextmanager
def only(count: int) -> Iterator[None]:
    """Compute on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Made(NamedTuple):
    """What sampling takes: items at a time, seconds for each, and the way there."""

    batch: int
    seconds: float
    evaluations: int
    solver: str


def sampling(bundle: Bundle, most: int, seconds: float, each: float) -> Made:
    """Seconds for each item that a model makes, as it makes them where nothing is said.

    Args:
        bundle: The model.
        most: Items at a time.
        seconds: Time for it; fewer items are made where it would not be enough.
        each: Seconds that one evaluation of one item is expected to take.
    """
    evaluations = bundle.walk(1).evaluations
    room = int(seconds / (ROUNDS * evaluations * max(each, 1e-9)))
    batch = min(most, max(ROWS, room - room % ROWS))  # a CPU makes at least so many rows
    spent = pace(lambda: bundle.sample(batch, batch=batch), seconds, most=5)
    return Made(batch, spent / batch, evaluations, bundle.how().solver)
