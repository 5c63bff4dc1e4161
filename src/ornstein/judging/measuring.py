"""From samples to numbers: quality, novelty, likelihood, and two ways of sampling side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ornstein.data.conditions import as_known
from ornstein.evaluate import METRICS, Novelty, Quality, Row, novelty, score
from ornstein.evaluate.features import FeatureRows, ValueFeatures
from ornstein.evaluate.report import rows_of
from ornstein.judging.affording import BOUND_STEPS, Plan
from ornstein.judging.making import Made, Progress, samples_of
from ornstein.judging.tables import checks
from ornstein.likelihood import bounded

VARIETY = ("recall", "coverage", "diversity")
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured, and what it was measured on.

    Attributes:
        plan: What was asked for.
        made: The samples.
        quality: The numbers.
        novelty: In the values and in the features, in this order.
        mixed: Which samples of ``made`` the novelty is of, in its order; it looks at the first.
        other: The metrics of variety for samples made in another way, with its name.
    """

    plan: Plan
    made: Made
    quality: Quality
    novelty: tuple[Novelty, ...]
    mixed: np.ndarray
    other: tuple[str, Mapping[str, Row]] | None = None


def measure(
    plan: Plan,
    *,
    metrics: tuple[str, ...] = tuple(METRICS),
    folder: Path | None = None,
    log: list[dict[str, Any]] | None = None,
    sampling: Progress | None = None,
    bounding: Progress | None = None,
    say: Say | None = None,
) -> Measured:
    """Make the samples of a plan and measure them.

    Args:
        plan: What to make.
        metrics: Keys of METRICS.
        folder: Where samples are kept when this is stopped.
        log: Log of the training, of which the last held-out loss is told.
        sampling: Told how many samples are made.
        bounding: Told how many items are bounded.
        say: Told in a sentence what is done next.

    Raises:
        StoppedEarly: on request, while samples are made.
    """
    say = say or (lambda _: None)
    made = samples_of(plan, folder, sampling)
    say(f"measuring  {len(metrics)} metrics on {plan.reference.features.name}")
    quality = score(
        made.items,
        plan.reference,
        asked=made.asked,
        made={**made.settings, "seconds": round(made.seconds, 2)},
        metrics=metrics,
    )
    say("measuring  nearest training items")
    # Samples are made class after class, so that the first of them would be of the first classes.
    mixed = np.random.default_rng(0).permutation(len(made.items))
    found = novelties(plan, made, mixed)
    beside: dict[str, Any] = {"data": plan.data.name}
    beside |= {"novelty": [each.to_json() for each in found]}
    if plan.data.kind == "table":
        say("measuring  columns, pairs and closest rows of the table")
        beside["table"] = checks(plan.data, made.items[mixed])
    held = [entry for entry in log or [] if entry.get("heldout") is not None]
    if held:
        beside["loss"] = {key: held[-1][key] for key in ("step", "heldout")}
    if plan.likelihood:
        beside["likelihood"] = likelihoods(plan, bounding)
    return Measured(plan, made, replace(quality, beside=beside), found, mixed)


def novelties(plan: Plan, made: Made, mixed: np.ndarray) -> tuple[Novelty, ...]:
    """Nearest training items of the samples in a mixed order, in values and in features."""
    data, reference = plan.data, plan.reference
    sides = reference.train, reference.heldout
    values = ValueFeatures(data.coding, tuple(data.items.shape[1:]))
    truth = [FeatureRows(values, data.items, side.index) for side in sides]
    spaces = [novelty("values", FeatureRows(values, made.items, mixed), *truth)]
    if reference.features.name != values.name:
        read = FeatureRows(reference.features, made.items, mixed)
        name = f"features of {reference.features.name}"
        spaces.append(novelty(name, read, *(side.reading.features for side in sides)))
    return tuple(spaces)


def likelihoods(plan: Plan, progress: Progress | None = None) -> dict[str, Any]:
    """Bound the likelihood of held-out and of as many training items."""
    answers: dict[str, Any] = {"steps": BOUND_STEPS}
    sides = {"heldout": plan.reference.heldout, "train": plan.reference.train}
    for place, (name, side) in enumerate(sides.items()):
        index = np.sort(side.index[: plan.likelihood])
        known = as_known(plan.data.conditions, plan.bundle.conditions)
        cond = {condition.name: condition.batch(index) for condition in known}
        told = _watching(progress, place, plan.likelihood)
        answers[name] = bounded(
            plan.bundle, plan.data.raw(index), cond, steps=BOUND_STEPS, batch=plan.batch,
            dequantised=bool(plan.bundle.provenance.get("dequantised")), progress=told,
        ).to_json()  # fmt: skip
    return answers


def _watching(progress: Progress | None, place: int, count: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(place * count + done, 2 * count)


def compare_ways(found: Measured, other: Plan, progress: Progress | None = None) -> Measured:
    """Add the variety of samples that another solver makes: an ODE beside an SDE, say."""
    made = samples_of(other, None, progress)
    reading = other.reference.features.read(made.items)
    rows = rows_of(reading, other.reference, VARIETY)
    return replace(found, other=(other.sampler.solver, rows))
