"""Walking a trained model from noise to data, in batches of which every item is independent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ornstein.bundle.agreeing import agreeing
from ornstein.bundle.asking import Said, texts
from ornstein.bundle.guiding import calls
from ornstein.bundle.parts import ROWS, Progress, Sampler, Walk
from ornstein.core import ItemNoise, Level, item_normal
from ornstein.data.conditions import CLASS
from ornstein.data.lowered import NOISED, noised
from ornstein.errors import UsageError, look_up
from ornstein.samples import Samples
from ornstein.solvers import SOLVERS, asked
from ornstein.solvers import trace as walk_levels
from ornstein.training.conditions import noisy
from ornstein.tune import FREE

if TYPE_CHECKING:
    from ornstein.bundle.bundle import Bundle


def walk(
    bundle: Bundle,
    n: int,
    *,
    seed: int,
    first: int,
    said: Said,
    sampler: Sampler,
    each: Mapping[str, Tensor] | None = None,
) -> Walk:
    """Prepare a trajectory; see :meth:`ornstein.bundle.Bundle.walk`.

    Besides what is ``said`` of all items, ``each`` holds what is said of each, (n, ...) by name,
    as a network takes it.
    """
    if n < 1 or first < 0:
        raise UsageError(f"sampling makes at least one item from item 0 on, not {n} at {first}.")
    bundle.check_guidance(sampler.guidance, sampler.guide)
    solver = look_up("solver", sampler.solver, SOLVERS)()
    levels = bundle.levels(sampler)
    rows = rows_of(bundle, n)
    noise = ItemNoise(seed, range(first, first + rows))
    cond = bundle.cond(rows, said, first)
    cond |= {name: filled_up(value, rows) for name, value in (each or {}).items()}
    cond |= with_noise(cond, noised(bundle.conditions), noise)
    start = noise.start(bundle.shape).to(bundle.device) * float(levels.sigma[0])
    denoise = agreeing(bundle, bundle.denoiser(cond, sampler), cond)
    walked = walk_levels(denoise, start, levels, solver, noise)
    return Walk(
        start=start[:n],
        levels=levels,
        labels=cond[CLASS][:n] if bundle.classes and CLASS in cond else None,
        steps=(step._replace(x=step.x[:n], x0=step.x0[:n]) for step in walked),
        settings=settings_of(bundle, sampler, levels, said, seed),
        evaluations=calls(bundle, cond, sampler, asked(levels, solver)),
    )


def settings_of(
    bundle: Bundle, sampler: Sampler, levels: Level, said: Said, seed: int
) -> dict[str, Any]:
    """All that a sample follows from but its number, fit for JSON.

    Args:
        bundle: The model, and what leads its guidance.
        sampler: The way that is walked.
        levels: Its grid, which is written down where no name stands for it.
        said: What is said of the item.
        seed: Where the noise comes from.
    """
    named, words = texts(bundle.conditions, said)
    return {
        **sampler.settings,
        "schedule": sampler.schedule or bundle.process,
        **({"levels": levels.rho.tolist()} if sampler.grid == FREE else {}),
        "class": named,
        **({"cond": words} if words else {}),
        **bundle.leads.settings,
        **bundle.rounding,
        "model": bundle.fingerprint,
        "seed": seed,
    }


def rows_of(bundle: Bundle, n: int) -> int:
    """How many rows the network is asked for n items."""
    return n if bundle.device.type != "cpu" else -(-n // ROWS) * ROWS


def filled_up(values: Tensor, rows: int) -> Tensor:
    """Values of more rows: those to come, which are cut off again, repeat the last."""
    return torch.cat([values, values[-1:].expand(rows - len(values), *values.shape[1:])])


def with_noise(
    cond: Mapping[str, Tensor], names: Sequence[str], noise: ItemNoise
) -> dict[str, Tensor]:
    """Pictures that are said with as much noise on them as is said; none, where nothing is."""
    told: dict[str, Tensor] = {}
    for name in names:
        if name in cond:
            share = cond.get(NOISED.format(name), torch.zeros(len(cond[name]), 1))[:, 0]
            stream = f"on {name}"
            eps = item_normal(noise.seed, noise.items, cond[name].shape[1:], stream=stream)
            told |= noisy(name, cond[name], share, eps)
    return told


def sample(
    bundle: Bundle,
    n: int,
    *,
    seed: int,
    first: int,
    said: Said,
    sampler: Sampler,
    batch: int,
    progress: Progress | None,
    each: Mapping[str, Tensor] | None = None,
) -> Samples:
    """Make items in pieces; see :meth:`ornstein.bundle.Bundle.sample` and :func:`walk`."""
    if batch < 1:
        raise UsageError(f"a batch holds at least one item, not {batch}.")
    began = time.monotonic()
    sizes = [min(batch, n - k) for k in range(0, n, batch)] or [n]
    ends: list[Tensor] = []
    labels: list[int | None] = []
    done = 0
    for k, size in enumerate(sizes):
        rows = slice(k * batch, k * batch + size)
        own = {name: value[rows] for name, value in (each or {}).items()}
        way = walk(
            bundle, size, seed=seed, first=first + rows.start, said=said, sampler=sampler, each=own
        )
        x = way.start
        for step in way.steps:
            x, done = step.x, done + 1
            if progress is not None:
                progress(done, len(sizes) * sampler.steps)
        ends.append(x.cpu())
        told = [None] * size if way.labels is None else way.labels.tolist()
        labels += [None if label == len(bundle.classes) else label for label in told]
    return Samples(
        items=bundle.coding.labelled(bundle.coding.decode(torch.cat(ends)), labels),
        coding=bundle.coding,
        seed=seed,
        numbers=tuple(range(first, first + n)),
        labels=tuple(None if c is None else bundle.classes[c] for c in labels),
        settings=way.settings,
        evaluations=way.evaluations,
        seconds=time.monotonic() - began,
    )
