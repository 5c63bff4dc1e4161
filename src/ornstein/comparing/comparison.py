"""All families with all seeds: trained in turn, kept part by part, put into one table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import torch

from ornstein import build, jsons
from ornstein.comparing.families import FAMILIES, check_needs
from ornstein.comparing.family import Budget, Task
from ornstein.comparing.measuring import Part, keep, kept, measured
from ornstein.errors import StoppedEarly, UsageError
from ornstein.evaluate import Number, Reference
from ornstein.training.disk import make_folder, write_atomically

RULES = "compare-2"  # recipes and measures; a change of them makes a new name
Told = Callable[[Part, int, int], None]
"""Called with (part, parts done, parts in all)."""


def spread(numbers: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return str(Number(mean(numbers), stdev(numbers) if len(numbers) > 1 else None))


def typical(numbers: Sequence[float]) -> str:
    """The mean, in three digits."""
    found = mean(numbers)
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


def broken(numbers: Sequence[float]) -> str:
    """How many of some numbers are not finite; "" where none is."""
    many = sum(not math.isfinite(number) for number in numbers)
    return f"not finite in {many} of {len(numbers)}" if many else ""


def cell(name: str, numbers: Sequence[float]) -> str:
    """What the table tells of a number of all seeds.

    A mean over those that happen to be finite would be of the lucky ones, so there is none.
    """
    return broken(numbers) or COLUMNS[name][1](numbers) if numbers else "–"


COLUMNS = {
    "frechet": ("Fréchet", spread),
    "matched": ("Fréchet, as few as held out", spread),
    "precision": ("precision", spread),
    "recall": ("recall", spread),
    "coverage": ("coverage", spread),
    "classes": ("classes off", spread),
    "likelihood": ("{unit}/dim", spread),
    "evaluations": ("evaluations", typical),
    "each": ("ms/sample", typical),
    "parameters": ("weights", typical),
    "steps": ("steps", typical),
    "seconds": ("seconds", typical),
}
"""Name of a number to the head of its column, and what is told of the values of all seeds."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Parts that were measured alike.

    Attributes:
        protocol: What they share: data, judge, budget, samples, version of the recipes.
        families: Keys of FAMILIES, in the order of the table.
        parts: All that were trained.
        unit: Of a likelihood: "bits" of levels, "nats" of the density of real numbers.
    """

    protocol: Mapping[str, Any]
    families: tuple[str, ...]
    parts: tuple[Part, ...]
    unit: str

    def of(self, family: str) -> list[Part]:
        """The parts of one family."""
        return [part for part in self.parts if part.family == family]

    @property
    def floor(self) -> Mapping[str, float]:
        """Numbers of real held-out items in the place of samples, by name of the column."""
        return next((part.floor for part in self.parts if part.floor), {})

    def titles(self) -> dict[str, str]:
        """Heads of the columns that say something of these data, by name."""
        known = {name for part in self.parts for name in part.numbers}
        return {k: c[0].format(unit=self.unit) for k, c in COLUMNS.items() if k in known}

    def values(self, name: str, family: str) -> list[float]:
        """The numbers of one column for one family, by seed, finite or not."""
        return [part.numbers[name] for part in self.of(family) if name in part.numbers]

    def cells(self) -> list[list[str]]:
        """The table as text: a head, a line for each family, and the floor of real data."""
        titles = self.titles()
        lines = [["", "family", "seeds", *titles.values()]]
        for family in self.families:
            parts = self.of(family)
            good = sum(part.trouble is None for part in parts)
            told = [cell(name, self.values(name, family)) for name in titles]
            lines.append(["", FAMILIES[family].title, f"{good}/{len(parts)}", *told])
        real = [f"{self.floor[name]:.4g}" if name in self.floor else "" for name in titles]
        return [*lines, ["", "real data", "", *real]]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; a number that is not finite is null there."""
        return {
            "protocol": dict(self.protocol),
            "unit": self.unit,
            "likelihood": {name: FAMILIES[name].likelihood for name in self.families},
            "parts": [asdict(part) for part in self.parts],
            "not_finite": self.not_finite(),
        }

    def not_finite(self) -> dict[str, dict[str, int]]:
        """How many numbers are not finite, by family and column; only where some are."""
        found = {
            family: {
                name: sum(not math.isfinite(value) for value in self.values(name, family))
                for name in self.titles()
            }
            for family in self.families
        }
        some = {family: {k: n for k, n in row.items() if n} for family, row in found.items()}
        return {family: row for family, row in some.items() if row}


def held(task: Task, budget: Budget, n: int, reference: Reference) -> dict[str, Any]:
    """Write what all parts share into the folder of a comparison, or find it there.

    Raises:
        UsageError: the folder holds a comparison by another protocol.
    """
    judge = f"{reference.features.name} {reference.features.digest}"
    of = {"data": task.data.name, "fingerprint": task.data.fingerprint, "judge": judge}
    mine: dict[str, Any] = {**of, **asdict(budget), **_pace(budget), "n": n, "rules": RULES}
    path = task.folder / "protocol.json"
    other = json.loads(path.read_text("utf-8")) if path.is_file() else mine
    # Older versions did not write down all of it.
    unlike = [f"{k} {other[k]} and not {v}" for k, v in mine.items() if other.get(k, v) != v]
    if unlike:
        raise UsageError(
            f"{task.folder} holds a comparison with {'; '.join(unlike)}. Put this one elsewhere: "
            "--out OTHER"
        )
    make_folder(task.folder)
    write_atomically(path, jsons.dumps(mine, indent=1).encode())
    return mine


def _pace(budget: Budget) -> dict[str, Any]:
    """What the steps that fit into a time depend on; nothing where steps are counted."""
    if budget.seconds is None:
        return {}
    return {"device": build.fastest_device().type, "threads": torch.get_num_threads()}


def done(task: Task, families: Sequence[str], seeds: int) -> int:
    """How many parts of a comparison are kept already."""
    folder = task.folder / "parts"
    return sum(kept(name, seed, folder) is not None for name in families for seed in range(seeds))


def compare(
    task: Task,
    budget: Budget,
    reference: Reference,
    *,
    families: Sequence[str] = tuple(FAMILIES),
    seeds: int = 5,
    n: int = 1000,
    say: Told | None = None,
) -> Comparison:
    """Train every family with every seed within the same budget, and measure all alike.

    The families take turns seed by seed, so that a machine that changes its pace does not favour
    one. What is done is kept in the folder of the task, and is not done again.

    Args:
        task: The data, and the folder.
        budget: Of each training.
        reference: The data, read by the judge.
        families: Keys of FAMILIES.
        seeds: How many, from 0 on.
        n: Samples of each model.
        say: Told of each part that is done.

    Raises:
        StoppedEarly: somebody asked to stop; the same call goes on.
        UsageError: the folder holds another comparison, or a library is missing.
    """
    check_needs(families)
    protocol = held(task, budget, n, reference)
    wanted = [(family, seed) for seed in range(seeds) for family in families]
    parts: list[Part] = []
    folder = task.folder / "parts"
    for family, seed in wanted:
        part = kept(family, seed, folder)
        if part is None:
            try:
                part, items = measured(family, task, budget, reference, n=n, seed=seed)
            except StoppedEarly as stop:
                raise StoppedEarly(
                    f"stopped in {family}, seed {seed}: {len(parts)} of {len(wanted)} parts are "
                    "done and kept. The same command goes on from there."
                ) from stop
            keep(part, items, task.data.kind, folder)
            if say is not None:
                say(part, len(parts) + 1, len(wanted))
        parts.append(part)
    unit = "nats" if task.data.coding.step is None else "bits"
    return Comparison(protocol, tuple(families), tuple(parts), unit)
