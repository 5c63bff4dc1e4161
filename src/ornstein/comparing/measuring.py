"""One trained model of one family, measured as every other; kept on the disk when it is done."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from ornstein import jsons
from ornstein.comparing.families import FAMILIES
from ornstein.comparing.family import Budget, Fitted, Task
from ornstein.errors import DivergedError
from ornstein.evaluate import Quality, Reference, score
from ornstein.likelihood.answer import BIT
from ornstein.training.batches import evenly
from ornstein.training.disk import make_folder, write_atomically

METRICS = ("frechet_train", "precision", "recall", "coverage")
LIKELY = 64  # held-out items at most whose likelihood is told
SHOWN = {"image": 64, "series": 64, "vector": 1000, "table": 1000}  # samples kept for the figure
WARM = 16  # samples made before the clock is read


@dataclass(frozen=True)
class Part:
    """One family with one seed.

    Attributes:
        family: Key of FAMILIES.
        seed: Of its training and of its samples.
        numbers: By name of the column; what has no meaning for the family or the data is missing.
            A likelihood may be infinite: the model holds an item impossible.
        floor: Some of them for real held-out items in the place of samples.
        trouble: Why there are no numbers: the training, or what its model was asked, diverged.
    """

    family: str
    seed: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    trouble: str | None = None


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
        each = 1e3 * (time.perf_counter() - began) / n
        likely = likelihood_of(fitted, task, seed)
    except DivergedError as error:
        return Part(family, seed, trouble=str(error)), None
    quality = score(items, reference, metrics=METRICS)
    numbers = {"evaluations": fitted.evaluations, "each": each, **fitted.spent._asdict()}
    numbers |= {} if likely is None else {"likelihood": likely}
    one, two = _quality(quality, reference)
    return Part(family, seed, {**one, **numbers}, two), items


def _quality(quality: Quality, reference: Reference) -> tuple[dict[str, float], dict[str, float]]:
    """Numbers of the samples and of real items, by name of the column."""
    distance, shares = quality.rows["frechet_train"], METRICS[1:]
    ours = {name: quality.rows[name].value for name in shares} | {"frechet": distance.value}
    real = {name: quality.rows[name].floor for name in shares}
    if distance.floor_n == distance.n:
        real["frechet"] = distance.floor
    else:  # the distance falls with the number of items
        ours["matched"], real["matched"] = distance.matched, distance.floor
    known, held = reference.train.reading.classes, reference.heldout.reading.classes
    if known is not None and held is not None:
        usual = np.bincount(known, minlength=len(reference.classes))
        ours["classes"] = off(np.array(quality.found), usual)
        real["classes"] = off(np.bincount(held, minlength=len(usual)), usual)
    return ours, real


def off(one: np.ndarray, two: np.ndarray) -> float:
    """Total variation of two histograms: the share of items that would have to change class."""
    return float(np.abs(one / one.sum() - two / two.sum()).sum() / 2)


def likelihood_of(fitted: Fitted, task: Task, seed: int) -> float | None:
    """Of held-out items, evenly spread, by dimension: bits of levels, nats of a density.

    Rows of a table have no density of their own.
    """
    data = task.data
    if tuple(data.items.shape[1:]) != data.shape:
        return None
    some = data.heldout[evenly(len(data.heldout), LIKELY).numpy()]
    found = fitted.log_density(data.raw(some), seed)
    if found is None:
        return None
    return float(found.mean()) / data.dims / (1.0 if data.coding.step is None else -BIT)


def keep(part: Part, items: np.ndarray | None, kind: str, folder: Path) -> None:
    """Write a part, the samples first: what has its numbers is whole.

    Raises:
        DiskError: it cannot be written.
    """
    make_folder(folder)
    path = folder / f"{part.family}-{part.seed}.json"
    if items is not None:
        file = io.BytesIO()
        np.save(file, items[: SHOWN[kind]], allow_pickle=False)
        write_atomically(path.with_suffix(".npy"), file.getvalue())
    write_atomically(path, jsons.dumps(asdict(part), indent=1).encode())


def kept(family: str, seed: int, folder: Path) -> Part | None:
    """A part that is done; None where it is not, or cannot be read."""
    try:
        part = Part(**json.loads((folder / f"{family}-{seed}.json").read_text("utf-8")))
        return replace(part, numbers=_read(part.numbers), floor=_read(part.floor))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _read(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Numbers from JSON, where null is one that is not finite."""
    return {name: math.nan if value is None else value for name, value in numbers.items()}


def samples(part: Part, folder: Path) -> np.ndarray | None:
    """The samples that were kept of a part; None where there are none."""
    try:
        found = np.load(folder / f"{part.family}-{part.seed}.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return np.asarray(found)
