"""The samples that are judged: of which classes, made in pieces, kept for another try."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ornstein.bundle.walking import sample
from ornstein.data.conditions import CLASS
from ornstein.errors import StoppedEarly
from ornstein.evaluate.stamp import ALIKE, AS_DATA, CLASSES, NONE
from ornstein.judging.affording import Plan
from ornstein.training.disk import make_folder, remove, write_atomically
from ornstein.training.signals import StopRequest

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


def classes_of(plan: Plan) -> np.ndarray | None:
    """Number of the class that each sample is asked to be, (n,), or None.

    Class after class in the shares that they have in the training data, or those of held-out items
    where samples are told more of these.
    """
    if not plan.classed or plan.data.labels is None:
        return None
    if plan.told:
        return np.asarray(plan.data.labels[plan.tellers(0, plan.n)])
    labels = plan.data.labels[plan.data.train]
    wanted = np.bincount(labels, minlength=len(plan.data.classes)) * (plan.n / len(labels))
    counts = np.floor(wanted).astype(int)
    most_short = np.argsort(counts - wanted, kind="stable")
    counts[most_short[: plan.n - counts.sum()]] += 1
    return np.repeat(np.arange(len(counts)), counts)


@dataclass(frozen=True, eq=False)
class Made:
    """Samples and how they came about.

    Attributes:
        items: In raw units, (n, *shape).
        asked: The class asked for of each, (n,), or None.
        settings: What they follow from.
        seconds: Time it took here; of those taken over from an earlier try, nothing.
    """

    items: np.ndarray
    asked: np.ndarray | None
    settings: dict[str, Any]
    seconds: float


def samples_of(plan: Plan, folder: Path | None = None, progress: Progress | None = None) -> Made:
    """Make the samples; stopped by Ctrl-C, those made are kept in ``folder`` for the next try.

    Raises:
        StoppedEarly: on request.
    """
    began, key = time.monotonic(), _key(plan)
    parts = [] if folder is None else _kept(folder, key)
    kept = done = sum(map(len, parts))
    asked = classes_of(plan)
    with StopRequest() as stop:
        for first in range(kept, plan.n, plan.batch):
            parts.append(_make(plan, first, min(plan.batch, plan.n - first), asked))
            done += len(parts[-1])
            if progress is not None:
                progress(done, plan.n)
            if stop.asked is not None and done < plan.n:
                _keep(folder, key, parts)
                advice = " The same command goes on from there." if folder else ""
                raise StoppedEarly(f"stopped after {done:,} of {plan.n:,} samples.{advice}")
    if done > kept:
        _keep(folder, key, parts)
    way = plan.bundle.walk(1, seed=plan.seed, sampler=plan.sampler)
    return Made(
        np.concatenate(parts),
        asked,
        {**way.settings, **_said(plan), "evaluations": way.evaluations},
        time.monotonic() - began,
    )


def _said(plan: Plan) -> dict[str, Any]:
    """Of which classes samples are asked to be, and what else each is told, if anything."""
    told = {"told": [each.name for each in plan.told]} if plan.told else {}
    if plan.classed:
        return {**told, CLASSES: AS_DATA}
    # What the data do not say is asked of a model in turn; rows of a table as its own data were.
    turns = "as in the data of the model" if plan.bundle.coding.shares else ALIKE
    return {**told, CLASSES: turns if plan.bundle.classes else NONE}


def _make(plan: Plan, first: int, size: int, asked: np.ndarray | None) -> np.ndarray:
    """Items first..first+size-1 of the seed, of whatever classes: a piece of each would cost more.

    Raises:
        DivergedError: a sample is no longer finite.
    """
    index = plan.tellers(first, size)
    each = {condition.name: condition.batch(index) for condition in plan.told}
    if asked is not None and not plan.told:
        each = {CLASS: torch.from_numpy(asked[first : first + size])}
    return sample(
        plan.bundle, size, seed=plan.seed, first=first, said={}, sampler=plan.sampler,
        batch=plan.batch, progress=None, each=each,
    ).items  # fmt: skip


def _key(plan: Plan) -> str:
    way = {**plan.sampler.settings, "n": plan.n, "seed": plan.seed, "batch": plan.batch}
    way |= {**plan.bundle.leads.settings, **plan.bundle.rounding, **_said(plan)}
    return json.dumps({**way, "model": plan.bundle.fingerprint, "data": plan.data.fingerprint})


def forget_samples(folder: Path) -> None:
    """Remove the samples that were kept for another try."""
    for name in ("part.npy", "part.json"):
        remove(folder / name)


def _keep(folder: Path | None, key: str, parts: list[np.ndarray]) -> None:
    if folder is None:
        return
    make_folder(folder)
    file = io.BytesIO()
    np.save(file, np.concatenate(parts), allow_pickle=False)
    remove(folder / "part.json")  # so that the key never names other samples
    write_atomically(folder / "part.npy", file.getvalue())
    write_atomically(folder / "part.json", key.encode())


def _kept(folder: Path, key: str) -> list[np.ndarray]:
    """Samples of an earlier try of the same plan; what cannot be read is made again."""
    try:
        if (folder / "part.json").read_text("utf-8") != key:
            return []
        return [np.load(folder / "part.npy", allow_pickle=False)]
    except (OSError, ValueError):
        return []
