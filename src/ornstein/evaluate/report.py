"""Quality: the numbers of one set of samples, with the protocol that gives them meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ornstein.errors import DataError, UsageError, near
from ornstein.evaluate.frechet import Number
from ornstein.evaluate.metrics import METRICS
from ornstein.evaluate.reference import Reference, shuffled

FORMAT = 1


@dataclass(frozen=True)
class Stamp:
    """The protocol of a number: two numbers compare only if all of this is the same."""

    extractor: str
    digest: str  # of the extractor's weights
    reference: str  # fingerprint of the real data
    n: int  # samples

    def differences(self, other: Stamp) -> list[str]:
        """Say in words what is not the same."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{key} {mine[key]} and {theirs[key]}" for key in mine if mine[key] != theirs[key]]


@dataclass(frozen=True)
class Row:
    """One metric: of the samples, and its floor, the same of real data (see ``floor_n``)."""

    value: float
    error: float | None
    floor: float


@dataclass(frozen=True)
class Quality:
    """Numbers of one set of samples.

    Attributes:
        rows: Metric name to Row, in the order of METRICS.
        stamp: The protocol.
        made: How the samples were made (solver, steps, seed, model ...); free for comparing.
        floor_n: Real items that stood in for samples, by metric; fewer than n if there are
            no more.
        classes: Names of the classes, empty without.
        found: How many samples the classifier takes for each class.
        asked: How many were asked for of each class, or None.
        accuracy: Share of samples that are taken for the class asked for, or None.
        judge_accuracy: The same share of real held-out items: the ceiling.
    """

    rows: Mapping[str, Row]
    stamp: Stamp
    made: Mapping[str, Any] = field(default_factory=dict)
    floor_n: Mapping[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    found: tuple[int, ...] = ()
    asked: tuple[int, ...] | None = None
    accuracy: float | None = None
    judge_accuracy: float | None = None

    def ratio(self, other: Quality, metric: str = "frechet_train") -> float:
        """How many times the other's number this one is: 0.1 is ten times less.

        Raises:
            UsageError: The two were not measured by the same protocol.
        """
        unlike = self.stamp.differences(other.stamp)
        if unlike:
            raise UsageError(
                f"these numbers do not compare: {'; '.join(unlike)}. Measure both with the same "
                "extractor, data and number of samples."
            )
        if metric not in self.rows or metric not in other.rows:
            raise UsageError(
                f"no metric '{metric}' in both; there are {', '.join(self.rows)}."
                + near(metric, self.rows)
            )
        return self.rows[metric].value / other.rows[metric].value

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Quality:
        """Read what to_json wrote.

        Raises:
            DataError: The text is something else.
        """
        try:
            read = json.loads(text)
            if read.pop("format") != FORMAT:
                raise DataError("this report was written by another version of ornstein.")
            rows = {key: Row(**row) for key, row in read.pop("rows").items()}
            stamp = Stamp(**read.pop("stamp"))
            asked = read.pop("asked")
            return cls(
                rows,
                stamp,
                classes=tuple(read.pop("classes")),
                found=tuple(read.pop("found")),
                asked=None if asked is None else tuple(asked),
                **read,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError("this is not a quality report of ornstein.") from error

    def __str__(self) -> str:
        made = ", ".join(f"{key} {value}" for key, value in self.made.items())
        lines = [f"quality of {self.stamp.n:,} samples" + (f" ({made})" if made else "")]
        lines.append(f"{'':36}{'samples':>18}{'real data':>18}")
        for name, row in self.rows.items():
            title = METRICS[name].title if name in METRICS else name
            # Fewer real items than samples make a higher floor, so their number is told.
            there = self.floor_n.get(name, self.stamp.n)
            floor = f"{row.floor:.4g}" + ("" if there == self.stamp.n else f" (n {there:,})")
            lines.append(f"{title:36}{Number(row.value, row.error)!s:>18}{floor:>18}")
        if self.accuracy is not None and self.judge_accuracy is not None:
            error = (self.accuracy * (1 - self.accuracy) / self.stamp.n) ** 0.5
            mine = f"{self.accuracy:.1%} ± {error:.1%}"
            lines.append(
                f"{'taken for the class asked for':36}{mine:>18}{self.judge_accuracy:>18.1%}"
            )
        if self.found:
            pairs = zip(self.classes, self.found, strict=True)
            lines.append("classes found: " + "  ".join(f"{c} {n}" for c, n in pairs))
        lines.append(
            f"features {self.stamp.extractor} {self.stamp.digest}, "
            f"data {self.stamp.reference[:12]}"
        )
        return "\n".join(lines)


def score(
    samples: np.ndarray,
    reference: Reference,
    *,
    asked: np.ndarray | None = None,
    made: Mapping[str, Any] | None = None,
    metrics: tuple[str, ...] = tuple(METRICS),
) -> Quality:
    """Measure samples against real data.

    Args:
        samples: Items as the data store them, (n, *shape): uint8 pictures stay uint8.
        reference: The real data, read once (Reference.of).
        asked: The class that each sample was asked to be, (n,), or None.
        made: How the samples were made; written into the report.
        metrics: Names in METRICS.

    Raises:
        UsageError: Samples of another kind than the data, or an unknown metric.
    """
    for name in metrics:
        if name not in METRICS:
            raise UsageError(
                f"unknown metric '{name}'; there are {', '.join(METRICS)}." + near(name, METRICS)
            )
    reference.check(samples, asked)
    plain = reference.features.read(samples)
    mixed = shuffled(plain)
    rows, floor_n = {}, {}
    for name in metrics:
        metric = METRICS[name]
        truth, real = reference.train, reference.heldout
        if metric.against == "heldout":
            truth, real = real, truth
        stand_in = real.reading[slice(0, len(samples))]
        number = metric.measure(mixed, truth)
        floor = metric.measure(stand_in, truth)
        rows[name] = Row(number.value, number.error, floor.value)
        floor_n[name] = len(stand_in)
    stamp = Stamp(
        reference.features.name, reference.features.digest, reference.fingerprint, len(samples)
    )
    return Quality(
        rows,
        stamp,
        dict(made or {}),
        floor_n,
        reference.classes,
        **_recognised(plain.classes, asked, reference),
    )


def _recognised(
    found: Tensor | None, asked: np.ndarray | None, reference: Reference
) -> dict[str, Any]:
    """Histogram of recognised classes, and the accuracy where classes were asked for."""
    if found is None or not reference.classes:
        return {}
    seen = found.numpy()
    many = len(reference.classes)
    told: dict[str, Any] = {"found": tuple(np.bincount(seen, minlength=many).tolist())}
    if asked is not None:
        told["asked"] = tuple(np.bincount(asked, minlength=many).tolist())
        told["accuracy"] = float((seen == asked).mean())
        told["judge_accuracy"] = reference.features.accuracy
    return told
