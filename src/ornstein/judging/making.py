"""The samples that are judged: of which classes, made in pieces, kept for another try."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ornstein.bundle.walking import sample
from ornstein.errors import StoppedEarly
from ornstein.judging.affording import Plan
from ornstein.training.disk import make_folder, remove, write_atomically
from ornstein.training.signals import StopRequest

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


class Piece(NamedTuple):
    """Samples that are made together: items first..first+size-1 of the seed, of one class."""

    label: int | None
    first: int
    size: int


def pieces_of(plan: Plan) -> Iterator[Piece]:
    """The samples in pieces; classes in the shares that they have in the training data."""
    if plan.told or not plan.classed or plan.data.labels is None:
        for first in range(0, plan.n, plan.batch):
            yield Piece(None, first, min(plan.batch, plan.n - first))
        return
    labels = plan.data.labels[plan.data.train]
    wanted = np.bincount(labels, minlength=len(plan.data.classes)) * (plan.n / len(labels))
    counts = np.floor(wanted).astype(int)
    most_short = np.argsort(counts - wanted, kind="stable")
    counts[most_short[: plan.n - counts.sum()]] += 1
    first = 0
    for label, count in enumerate(counts):
        for start in range(0, int(count), plan.batch):
            yield Piece(label, first + start, min(plan.batch, int(count) - start))
        first += int(count)


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
    pieces = list(pieces_of(plan))
    with StopRequest() as stop:
        for piece in pieces:
            if piece.first < kept:
                continue
            parts.append(_make(plan, piece))
            done += piece.size
            if progress is not None:
                progress(done, plan.n)
            if stop.asked is not None and done < plan.n:
                _keep(folder, key, parts)
                advice = " The same command goes on from there." if folder else ""
                raise StoppedEarly(f"stopped after {done:,} of {plan.n:,} samples.{advice}")
    if done > kept:
        _keep(folder, key, parts)
    asked = [np.full(piece.size, piece.label) for piece in pieces if piece.label is not None]
    if plan.told and plan.classed and plan.data.labels is not None:
        asked = [plan.data.labels[plan.tellers(0, plan.n)]]
    way = plan.bundle.walk(1, seed=plan.seed, sampler=plan.sampler)
    return Made(
        np.concatenate(parts),
        np.concatenate(asked) if asked else None,
        {**way.settings, **_said(plan), "evaluations": way.evaluations},
        time.monotonic() - began,
    )


def _said(plan: Plan) -> dict[str, Any]:
    return {"told": [condition.name for condition in plan.told]} if plan.told else {}


def _make(plan: Plan, piece: Piece) -> np.ndarray:
    if plan.told:
        index = plan.tellers(piece.first, piece.size)
        each = {condition.name: condition.batch(index) for condition in plan.told}
        return sample(
            plan.bundle, piece.size, seed=plan.seed, first=piece.first, said={},
            sampler=plan.sampler, batch=plan.batch, progress=None, each=each,
        ).items  # fmt: skip
    name = None if piece.label is None else plan.data.classes[piece.label]
    way = {key: value for key, value in vars(plan.sampler).items() if value is not None}
    made = plan.bundle.sample(
        piece.size, seed=plan.seed, first=piece.first, class_name=name, batch=plan.batch, **way
    )
    return made.items


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
