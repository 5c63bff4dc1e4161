"""Tuning a trained model: solver and levels for a number of steps, measured and kept with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from math import ceil, prod
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.bundle.bundle import Bundle
from ornstein.bundle.description import MOST_STEPS, MOST_TUNED
from ornstein.bundle.guiding import calls
from ornstein.bundle.parts import ROWS, Sampler, TunedGrid
from ornstein.core import Denoiser, Estimate, Level, item_normal
from ornstein.errors import UsageError
from ornstein.guide import Guide
from ornstein.solvers import SOLVERS
from ornstein.tune import (
    TRUTH_PRICE,
    Start,
    Truth,
    Tuning,
    candidates,
    is_deterministic,
    price,
    tune,
)
from ornstein.tune.truth import TRUTH_STEPS, dense

NUMBERS, RACING = 1 << 14, 1 << 11  # numbers in the ends that are tuned on, and raced on
BATCH = 64


class Cost(NamedTuple):
    """What tuning asks of the network.

    Attributes:
        items: Trajectories tuned on; as many others measure the outcome.
        evaluations: Of one item each, about.
    """

    items: int
    evaluations: int


def cost(bundle: Bundle, ways: Sequence[Sampler], solvers: Sequence[str] = ()) -> Cost:
    """Say what :func:`tuned` will spend, before it does.

    Which levels are guided is that of the model's own grids, though tuning moves the levels.

    Raises:
        UsageError: more than 1,000 steps.
    """
    _check_steps(ways)
    items, racing = _amounts(bundle)
    names = candidates(solvers)
    each = max(SOLVERS[name]().evaluations for name in names)
    spent = 0.0
    for way in ways:
        walks = each * price(way.steps, len(names), items, racing)
        spent += walks * _calls(bundle, way, bundle.levels(way))
    for way in {(way.schedule, way.guidance, way.guide): way for way in ways}.values():
        levels = dense(bundle.make_process(way.schedule), TRUTH_STEPS)
        spent += 2 * items * TRUTH_PRICE * _calls(bundle, way, levels)
    return Cost(items, ceil(spent))


def seconds_per_evaluation(bundle: Bundle) -> float:
    """How long the network takes for one item here, measured on a batch."""
    x = item_normal(0, range(ROWS), bundle.shape, stream="tune").to(bundle.device)
    denoise, level = bundle.denoiser(bundle.cond(ROWS)), bundle.levels()[0]
    with torch.no_grad():
        denoise(x, level).x0.sum().item()
        began = time.monotonic()
        denoise(x, level).x0.sum().item()
    return (time.monotonic() - began) / ROWS


def _calls(bundle: Bundle, way: Sampler, levels: Level) -> float:
    """Calls of the network for one answer of the denoiser, averaged along a grid."""
    return calls(bundle, bundle.cond(1), way, levels[:-1]) / (len(levels) - 1)


def tuned(
    bundle: Bundle,
    ways: Sequence[Sampler],
    solvers: Sequence[str] = (),
    seed: int = 0,
    asked: Callable[[int], None] = lambda rows: None,
) -> tuple[Bundle, list[Tuning]]:
    """Find solver and levels for each way to sample; return the model that has them, and reports.

    Args:
        bundle: The model; its classes take turns.
        ways: Schedule, steps and guidance to tune for; solver and grid are what to compare with.
        solvers: Keys of ``SOLVERS`` to choose from; by default all that can be tuned.
        seed: Of the noise, which is never that of samples.
        asked: Called with the number of items at each question to the network.

    Raises:
        UsageError: a solver that cannot be tuned, guidance that the model cannot follow, or more
            than 1,000 steps.
    """
    _check_steps(ways)
    truths: dict[tuple[str | None, float, Guide], tuple[Truth, Truth]] = {}
    kept = {found.suits: found for found in bundle.tuned}
    reports = []
    for way in ways:
        bundle.check_guidance(way.guidance, way.guide)
        if way.guide.kind == "cfg++":
            raise UsageError(
                "the strength of cfg++ follows from the grid, so no grid can be tuned to it; "
                "cfg and apg can be tuned for."
            )
        schedule = way.schedule or bundle.process
        key = (schedule, way.guidance, way.guide)
        if key not in truths:
            truths[key] = _truths(bundle, way, seed, asked)
        report = tune(
            *truths[key],
            way.steps,
            solvers=solvers,
            usual=(way.solver if is_deterministic(way.solver) else "dpmpp-2m", way.grid),
        )
        found = TunedGrid(
            **asdict(report.best),
            schedule=schedule,
            guidance=way.guidance,
            before=report.usual.error,
            guide=way.manner,
        )
        kept.pop(found.suits, None)  # so that the newest come last
        kept[found.suits] = found
        reports.append(report)
    return replace(bundle, tuned=tuple(kept.values())[-MOST_TUNED:]), reports


def _check_steps(ways: Sequence[Sampler]) -> None:
    """Refuse more steps than a model file holds.

    Raises:
        UsageError: a way has more.
    """
    most = max((way.steps for way in ways), default=0)
    if most > MOST_STEPS:
        raise UsageError(
            f"levels are tuned for at most {MOST_STEPS:,} steps, not {most:,}; so many need no "
            "tuning, sample with them as they are."
        )


def _amounts(bundle: Bundle) -> tuple[int, int]:
    """Items to tune on, and how many of them race: the more, the fewer numbers an item has."""
    size = prod(bundle.shape)
    items = min(512, max(32, len(bundle.classes), ceil(NUMBERS / size)))
    return items, min(items, max(4, ceil(RACING / size)))


def _truths(
    bundle: Bundle, way: Sampler, seed: int, asked: Callable[[int], None]
) -> tuple[Truth, Truth]:
    """The trajectories to tune on, those that race in the first batch, and as many fresh ones."""
    items, racing = _amounts(bundle)
    edges = [0, racing, *range(racing + BATCH, items, BATCH), items]

    def starts(first: int) -> list[Start]:
        pieces = [range(first + a, first + b) for a, b in pairwise(edges) if a < b]
        return [
            Start(
                _counted(bundle, piece, way, asked),
                item_normal(seed, piece, bundle.shape, stream="tune").to(bundle.device),
            )
            for piece in pieces
        ]

    process = bundle.make_process(way.schedule)
    return Truth.of(process, starts(0)), Truth.of(process, starts(items))


def _counted(bundle: Bundle, items: range, way: Sampler, asked: Callable[[int], None]) -> Denoiser:
    cond = bundle.cond(len(items), first=items.start)
    denoise = bundle.denoiser(cond, way)

    def counting(x: Tensor, level: Level) -> Estimate:
        here = Level(level.alpha.reshape(1), level.sigma.reshape(1))
        asked(calls(bundle, cond, way, here) * len(x))
        return denoise(x, level)

    return counting
