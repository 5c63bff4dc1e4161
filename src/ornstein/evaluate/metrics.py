"""The metrics: each measures samples against one side of the real data.

The floor of a metric is the same measurement with real data in the place of the samples,
so that a new line in METRICS has its floor, its column and its test without more code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from ornstein.evaluate.features import Reading
from ornstein.evaluate.frechet import frechet_with_error
from ornstein.evaluate.kernel import kernel_distance, mean_distance
from ornstein.evaluate.neighbours import Support, support
from ornstein.evaluate.number import Number, bootstrap
from ornstein.evaluate.reference import Side

PAIRS_LIMIT = 5_000  # items of either set where the cost grows with their product


@dataclass(frozen=True)
class Pair:
    """Samples and the side of the real data that they are held against.

    Attributes:
        samples: What was read of the samples, in a shuffled order.
        truth: The real data.
    """

    samples: Reading
    truth: Side

    @property
    def equal(self) -> int:
        """Items of either set where the numbers must be equal: balls shrink as a set grows."""
        return min(len(self.samples), len(self.truth.reading), PAIRS_LIMIT)

    @property
    def many(self) -> int:
        """Samples that are paired with each other."""
        return min(len(self.samples), PAIRS_LIMIT)

    @property
    def all(self) -> int:
        """All samples."""
        return len(self.samples)

    @cached_property
    def support(self) -> Support:
        """Who lies in whose balls."""
        n = self.equal
        return support(self.samples.features[:n], self.truth.reading.features[:n])


@dataclass(frozen=True)
class Metric:
    """One way to hold samples against real data.

    Attributes:
        title: What the table calls it.
        against: The side of the real data that is the truth.
        better: Whether less or more is better, or what is near the floor.
        items: Which number of samples it takes: an attribute of Pair.
        interval: How its interval is found.
        measure: Its number for such a pair.
    """

    title: str
    against: Literal["train", "heldout"]
    better: Literal["less", "more", "near"]
    items: Literal["all", "many", "equal"]
    interval: Literal["jackknife", "U-statistic", "bootstrap"]
    measure: Callable[[Pair], Number]


def _frechet(pair: Pair) -> Number:
    return frechet_with_error(pair.samples.features, pair.truth.moments)


def _kernel(pair: Pair) -> Number:
    data = pair.truth.reading.features[:PAIRS_LIMIT]
    return kernel_distance(pair.samples.features[: pair.many], data)


def _diversity(pair: Pair) -> Number:
    return mean_distance(pair.samples.features[: pair.many])


def _share(name: str) -> Callable[[Pair], Number]:
    """Mean of one of the four things that Support says of each item."""
    return lambda pair: bootstrap(torch.as_tensor(getattr(pair.support, name)))


METRICS = {
    "frechet_train": Metric(
        "Fréchet distance to training data", "train", "less", "all", "jackknife", _frechet
    ),
    "frechet_heldout": Metric(
        "Fréchet distance to held-out data", "heldout", "less", "all", "jackknife", _frechet
    ),
    "kernel_train": Metric(
        "kernel distance to training data", "train", "less", "many", "U-statistic", _kernel
    ),
    "kernel_heldout": Metric(
        "kernel distance to held-out data", "heldout", "less", "many", "U-statistic", _kernel
    ),
    "precision": Metric(
        "precision (k = 3)", "heldout", "more", "equal", "bootstrap", _share("plausible")
    ),
    "recall": Metric(
        "recall (k = 3)", "heldout", "more", "equal", "bootstrap", _share("found")
    ),
    "density": Metric(
        "density (k = 5)", "heldout", "near", "equal", "bootstrap", _share("density")
    ),
    "coverage": Metric(
        "coverage (k = 5)", "heldout", "more", "equal", "bootstrap", _share("covered")
    ),
    "diversity": Metric(
        "mean distance of two samples", "heldout", "near", "many", "U-statistic", _diversity
    ),
}  # fmt: skip
