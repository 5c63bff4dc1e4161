"""One trained model of one family, measured as every other; kept on the disk when it is done."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ornstein.comparing.families import FAMILIES
from ornstein.comparing.family import Budget, Fitted, Spent, Task
from ornstein.errors import DataError, DivergedError
from ornstein.evaluate import Quality, Reference, score
from ornstein.likelihood.answer import BIT
from ornstein.training.disk import make_folder, write_atomically

METRICS = ("frechet_train", "precision", "recall", "coverage")
LIKELY = 128  # held-out items at most whose likelihood is told
SHOWN = {"image": 64, "series": 64, "vector": 1000, "table": 1000}  # samples kept for the figure
WARM = 16  # samples made before the clock is read


@dataclass(frozen=True, eq=False)
class Part:
    """One family with one seed.

    Attributes:
        family: Key of FAMILIES.
        seed: Of its training and of its samples.
        trouble: Why there are no numbers: the training diverged.
        spent: What the training took.
        quality: The numbers of its samples.
        off: How far its classes are from those of the data, see :func:`off`; None without.
        likelihood: Of held-out items by dimension: bits of levels, nats of density of real
            numbers; None for a family or data without.
        evaluations: Passes through the network for one sample.
        each: Seconds for one sample, many made together.
    """

    family: str
    seed: int
    trouble: str | None = None
    spent: Spent | None = None
    quality: Quality | None = None
    off: float | None = None
    likelihood: float | None = None
    evaluations: int | None = None
    each: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        fields = {key: value for key, value in vars(self).items() if key != "quality"}
        fields["spent"] = None if self.spent is None else self.spent._asdict()
        found = None if self.quality is None else json.loads(self.quality.to_json())
        return {**fields, "quality": found}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Part:
        """Part from what ``to_json`` gave.

        Raises:
            DataError: it is something else.
        """
        spent, quality = fields["spent"], fields["quality"]
        return cls(**{
            **fields,
            "spent": None if spent is None else Spent(**spent),
            "quality": None if quality is None else Quality.from_json(json.dumps(quality)),
        })  # fmt: skip


def measured(
    family: str, task: Task, budget: Budget, reference: Reference, *, n: int, seed: int
) -> tuple[Part, np.ndarray | None]:
    """Train one family, make samples and measure them; the samples come along.

    Raises:
        StoppedEarly: somebody asked to stop.
    """
    try:
        fitted = FAMILIES[family].fit(task, budget, seed)
        fitted.sample(WARM, seed)
        began = time.perf_counter()
        items = fitted.sample(n, seed)
        each = (time.perf_counter() - began) / n
    except DivergedError as error:
        return Part(family, seed, trouble=str(error)), None
    quality = score(items, reference, made=_made(family, seed, budget), metrics=METRICS)
    part = Part(
        family,
        seed,
        spent=fitted.spent,
        quality=quality,
        off=off(np.array(quality.found), reference) if quality.found else None,
        likelihood=likelihood_of(fitted, task, seed),
        evaluations=fitted.evaluations,
        each=each,
    )
    return part, items


def _made(family: str, seed: int, budget: Budget) -> dict[str, Any]:
    return {"by": family, "seed": seed, "seconds": budget.seconds, "steps": budget.steps}


def off(found: np.ndarray, reference: Reference) -> float | None:
    """How far a histogram of classes is from that of the training items, both by the judge.

    Half the sum of the differences of the shares: the share of items that would have to change
    their class. None for a judge that knows no classes.
    """
    known = reference.train.reading.classes
    if known is None:
        return None
    shares = np.bincount(known.numpy(), minlength=len(found)) / len(known)
    return float(np.abs(found / found.sum() - shares).sum() / 2)


def likelihood_of(fitted: Fitted, task: Task, seed: int) -> float | None:
    """Of held-out items by dimension; rows of a table have no density of their own."""
    data = task.data
    if tuple(data.items.shape[1:]) != data.shape:
        return None
    found = fitted.log_density(data.raw(data.heldout[:LIKELY]), seed)
    if found is None:
        return None
    return float(found.mean()) / data.dims / (1.0 if data.coding.step is None else -BIT)


def keep(part: Part, items: np.ndarray | None, kind: str, folder: Path) -> None:
    """Write a part, the samples first: what has its numbers is whole.

    Raises:
        DiskError: it cannot be written.
    """
    make_folder(folder)
    if items is not None:
        file = io.BytesIO()
        np.save(file, items[: SHOWN[kind]], allow_pickle=False)
        write_atomically(folder / f"{part.family}-{part.seed}.npy", file.getvalue())
    text = json.dumps(part.to_json(), indent=1)
    write_atomically(folder / f"{part.family}-{part.seed}.json", text.encode())


def kept(family: str, seed: int, folder: Path) -> Part | None:
    """A part that is done; None where it is not, or cannot be read."""
    try:
        return Part.from_json(json.loads((folder / f"{family}-{seed}.json").read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def samples(part: Part, folder: Path) -> np.ndarray | None:
    """The samples that were kept of a part; None where there are none."""
    try:
        found = np.load(folder / f"{part.family}-{part.seed}.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return np.asarray(found)
