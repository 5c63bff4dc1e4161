"""What is judged: how many samples and likelihoods the time allows, and what they cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from ornstein.bundle import Bundle, Sampler
from ornstein.bundle.walking import rows_of
from ornstein.data import Dataset
from ornstein.data.conditions import CLASS, Condition, as_known
from ornstein.errors import UsageError
from ornstein.evaluate import Reference
from ornstein.tune import FREE

# A budget that buys a little more or less must not make numbers that do not compare.
LADDER = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
ITEMS = (16, 32, 64, 128, 256, 512, 1_024)  # whose likelihood is bounded
SHARE, LIKELIHOOD_SHARE = 0.6, 0.2  # of the budget; the rest is for reading and measuring
BOUND_STEPS = 100


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be made and measured, and its price.

    Attributes:
        bundle: The model.
        data: What it is held against.
        reference: The same, read by the judge.
        sampler: How samples are made.
        n: Samples.
        seed: Of the samples.
        batch: Items at a time.
        likelihood: Held-out items whose likelihood is bounded, and as many training items; 0 none.
        seconds: About what the samples take here.
        likelihood_seconds: About what the bound takes here.
    """

    bundle: Bundle
    data: Dataset
    reference: Reference
    sampler: Sampler
    n: int
    seed: int
    batch: int
    likelihood: int
    seconds: float
    likelihood_seconds: float

    @property
    def own(self) -> bool:
        """Whether these are the data that the model was trained on."""
        return self.data.known_as(self.bundle.provenance.get("fingerprint"))

    @property
    def classed(self) -> bool:
        """Whether samples are asked for by the classes of the data."""
        known = self.data.labels is not None and bool(self.bundle.classes)
        return known and self.bundle.classes == self.data.classes

    @property
    def told(self) -> tuple[Condition, ...]:
        """What every sample is told of a held-out item's, where that is more than its class."""
        known = as_known(self.data.conditions, self.bundle.conditions)
        return known if any(condition.name != CLASS for condition in known) else ()

    def tellers(self, first: int, size: int) -> np.ndarray:
        """The held-out items whose conditions samples first..first+size-1 are told."""
        index = self.reference.heldout.index
        return index[np.arange(first, first + size) % len(index)]

    def other_way(self, sampler: Sampler) -> Plan:
        """The same samples made in another way."""
        return replace(self, sampler=sampler)


def plan(
    bundle: Bundle,
    data: Dataset,
    reference: Reference,
    *,
    sampler: Sampler | None = None,
    minutes: float = 3.0,
    n: int | None = None,
    seed: int = 0,
    batch: int = 128,
    likelihood: bool = True,
) -> Plan:
    """Measure the pace of the model here and plan what the minutes allow.

    Args:
        bundle: The model.
        data: Data of its kind and shape.
        reference: Of these data.
        sampler: How to sample; default the model's own way.
        minutes: For the samples and the measuring.
        n: Samples; default what the time allows.
        seed: Of the samples.
        batch: Items at a time.
        likelihood: Whether to bound the likelihood of held-out items where time allows.

    Raises:
        UsageError: model and data do not fit.
    """
    check_fit(bundle, data)
    sampler = sampler or bundle.how()
    row, call = _pace(bundle, sampler, batch)
    if n is None:
        most = SHARE * 60 * minutes / row
        n = max((rung for rung in LADDER if _rows(bundle, rung, batch) <= most), default=LADDER[0])
    spare = LIKELIHOOD_SHARE * 60 * minutes / (2 * BOUND_STEPS * call)
    # Rows of a table are other numbers than the network sees, and have no density of their own.
    bounded = likelihood and tuple(data.items.shape[1:]) == data.shape
    spare = min(spare, len(data.heldout)) if bounded else 0
    items = max((rung for rung in ITEMS if rung <= spare), default=0)
    seconds, cost = row * _rows(bundle, n, batch), 2 * BOUND_STEPS * call * items
    return Plan(bundle, data, reference, sampler, n, seed, batch, items, seconds, cost)


def check_fit(bundle: Bundle, data: Dataset) -> None:
    """Refuse to judge a model against data of another kind.

    Raises:
        UsageError: kind or shape differ, or the model only enlarges.
    """
    if bundle.upscales is not None:
        raise UsageError(
            "this model makes large items of small ones and has no samples of its own to judge; "
            "compare with originals: ornstein edit MODEL PICTURE --upscale "
            f"{bundle.upscales} --spoil"
        )
    if data.kind != bundle.kind or data.shape != tuple(bundle.shape):
        raise UsageError(
            f"the model makes {bundle.kind} items of {'x'.join(map(str, bundle.shape))} and "
            f"'{data.name}' holds {data.kind} items of {'x'.join(map(str, data.shape))}: judge it "
            "against data of its own kind and size."
        )


def _pace(bundle: Bundle, sampler: Sampler, batch: int) -> tuple[float, float]:
    """Seconds for one row of samples, and for one call of the network for one row.

    Timed is the second of three steps: the first pays for what later ones find ready, and in the
    last, to clean data, many solvers ask less often. What it asks, guided or not, is counted.
    """
    probe = replace(sampler, steps=min(sampler.steps, 3)) if sampler.grid != FREE else sampler
    walk = bundle.walk(batch, seed=1, sampler=probe)
    calls = bundle.walk(1, seed=1, sampler=sampler).evaluations
    weak = bundle.leads.weak
    asked = [0]

    def count(net: nn.Module, inputs: tuple[Any, ...]) -> None:
        asked[0] += len(inputs[0])

    nets = [bundle.model.net, *([weak.model.net] if weak else [])]
    hooks = [net.register_forward_pre_hook(count) for net in nets]
    marks = [(time.monotonic(), 0)]
    try:
        for _ in walk.steps:
            marks.append((time.monotonic(), asked[0]))
            if len(marks) == 3:
                break
    finally:
        for hook in hooks:
            hook.remove()
    (began, before), (ended, after) = marks[-2:]
    rows = rows_of(bundle, batch)
    call = max(ended - began, 1e-6) / max(1.0, (after - before) / rows) / rows
    return call * calls, call


def _rows(bundle: Bundle, n: int, batch: int) -> int:
    """How many rows the network is asked for so many samples, the last batch filled up."""
    return sum(rows_of(bundle, min(batch, n - k)) for k in range(0, n, batch))
