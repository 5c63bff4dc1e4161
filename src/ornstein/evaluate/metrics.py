"""The metrics: each measures samples against one side of the real data.

The floor of a metric is the same measurement with real data in the place of the samples,
so that a new line in METRICS has its floor, its column and its test without more code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ornstein.evaluate.features import Reading
from ornstein.evaluate.frechet import Number, frechet_with_error
from ornstein.evaluate.neighbours import precision_recall
from ornstein.evaluate.reference import Side

NEIGHBOURS_LIMIT = 5_000  # items of either set: the cost grows with their product


@dataclass(frozen=True)
class Metric:
    """One way to hold samples against real data.

    Attributes:
        title: What the table calls it.
        against: The side of the real data that is the truth.
        better: Whether less or more is better.
        measure: Number of a reading of samples against that side.
    """

    title: str
    against: Literal["train", "heldout"]
    better: Literal["less", "more"]
    measure: Callable[[Reading, Side], Number]


def _frechet(samples: Reading, truth: Side) -> Number:
    return frechet_with_error(samples.features, truth.moments)


def _precision_recall(samples: Reading, truth: Side) -> tuple[float, float]:
    """Equal numbers on both sides: the balls shrink as a set grows."""
    n = min(len(samples), len(truth.reading), NEIGHBOURS_LIMIT)
    return precision_recall(samples.features[:n], truth.reading.features[:n])


def _precision(samples: Reading, truth: Side) -> Number:
    return Number(_precision_recall(samples, truth)[0])


def _recall(samples: Reading, truth: Side) -> Number:
    return Number(_precision_recall(samples, truth)[1])


METRICS = {
    "frechet_train": Metric("Fréchet distance to training data", "train", "less", _frechet),
    "frechet_heldout": Metric("Fréchet distance to held-out data", "heldout", "less", _frechet),
    "precision": Metric("precision (k = 3)", "heldout", "more", _precision),
    "recall": Metric("recall (k = 3)", "heldout", "more", _recall),
}
