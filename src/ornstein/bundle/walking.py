"""Walking a trained model from noise to data, in batches of which every item is independent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ornstein.bundle.asking import Said, texts
from ornstein.bundle.guiding import calls
from ornstein.bundle.parts import ROWS, Progress, Sampler, Walk, choose
from ornstein.core import ItemNoise
from ornstein.data.conditions import CLASS
from ornstein.errors import UsageError
from ornstein.samples import Samples
from ornstein.solvers import SOLVERS
from ornstein.solvers import trace as walk_levels
from ornstein.tune import FREE

if TYPE_CHECKING:
    from ornstein.bundle.bundle import Bundle


def walk(bundle: Bundle, n: int, *, seed: int, first: int, said: Said, sampler: Sampler) -> Walk:
    """Prepare a trajectory; see :meth:`ornstein.bundle.Bundle.walk`."""
    if n < 1 or first < 0:
        raise UsageError(f"sampling makes at least one item from item 0 on, not {n} at {first}.")
    bundle.check_guidance(sampler.guidance)
    solver = choose("solver", sampler.solver, SOLVERS)()
    levels = bundle.levels(sampler)
    rows = n if bundle.device.type != "cpu" else -(-n // ROWS) * ROWS
    noise = ItemNoise(seed, range(first, first + rows))
    cond = bundle.cond(rows, said, first)
    start = noise.start(bundle.shape).to(bundle.device) * float(levels.sigma[0])
    denoise = bundle.denoiser(cond, sampler)
    walked = walk_levels(denoise, start, levels, solver, noise)
    named, words = texts(bundle.conditions, said)
    return Walk(
        start=start[:n],
        levels=levels,
        labels=cond[CLASS][:n] if CLASS in cond else None,
        steps=(step._replace(x=step.x[:n], x0=step.x0[:n]) for step in walked),
        settings={
            **sampler.settings,
            "schedule": sampler.schedule or bundle.process,
            **({"levels": levels.rho.tolist()} if sampler.grid == FREE else {}),
            "class": named,
            **({"cond": words} if words else {}),
            **bundle.leads.settings,
            "model": bundle.fingerprint,
            "seed": seed,
        },
        evaluations=solver.evaluations * sampler.steps * calls(bundle, cond, sampler),
    )


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
) -> Samples:
    """Make items in pieces; see :meth:`ornstein.bundle.Bundle.sample`."""
    if batch < 1:
        raise UsageError(f"a batch holds at least one item, not {batch}.")
    began = time.monotonic()
    sizes = [min(batch, n - k) for k in range(0, n, batch)] or [n]
    ends: list[Tensor] = []
    labels: list[int | None] = []
    done = 0
    for k, size in enumerate(sizes):
        way = walk(bundle, size, seed=seed, first=first + k * batch, said=said, sampler=sampler)
        x = way.start
        for step in way.steps:
            x, done = step.x, done + 1
            if progress is not None:
                progress(done, len(sizes) * sampler.steps)
        ends.append(x.cpu())
        labels += [None] * size if way.labels is None else way.labels.tolist()
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
