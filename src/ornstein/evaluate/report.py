"""Quality: the numbers of one set of samples, with the protocol that gives them meaning."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ornstein import jsons
from ornstein.errors import DataError, UsageError, look_up, near
from ornstein.evaluate.features import Reading
from ornstein.evaluate.metrics import METRICS, Metric, Pair
from ornstein.evaluate.number import Number
from ornstein.evaluate.reference import Reference, shuffled
from ornstein.evaluate.stamp import Stamp, way_of

FORMAT = 2


@dataclass(frozen=True)
class Row:
    """One metric: of the samples, and its floor, the same of real data.

    Attributes:
        value: Of the samples.
        error: Its standard error.
        interval: Its 95 % interval.
        floor: The same of real items in the place of the samples.
        n: Samples that were used.
        floor_n: Real items that stood in for them; fewer if there are no more.
        matched: The value of only floor_n samples, which alone compares with the floor.
    """

    value: float
    error: float | None
    interval: tuple[float, float] | None
    floor: float
    n: int
    floor_n: int
    matched: float


@dataclass(frozen=True)
class Quality:
    """Numbers of one set of samples.

    Attributes:
        rows: Metric name to Row, in the order of METRICS.
        stamp: The protocol.
        made: How the samples were made: solver, steps, seed, model ...
        classes: Names of the classes, empty without.
        found: How many samples the classifier takes for each class.
        asked: How many were asked for of each class, or None.
        accuracy: Share of samples that are taken for the class asked for, or None.
        judge_accuracy: The same share of real held-out items: the ceiling.
        beside: What else was measured: likelihood, novelty, held-out loss, with their own words.
    """

    rows: Mapping[str, Row]
    stamp: Stamp
    made: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    found: tuple[int, ...] = ()
    asked: tuple[int, ...] | None = None
    accuracy: float | None = None
    judge_accuracy: float | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)

    def ratio(
        self, other: Quality, metric: str = "frechet_train", free: Iterable[str] = ()
    ) -> float:
        """How many times the other's number this one is: 0.1 is ten times less.

        Args:
            other: Of other samples.
            metric: Key of METRICS.
            free: What may differ between the two protocols, such as "solver".

        Raises:
            UsageError: The two were not measured by the same protocol, or the other number is 0.
        """
        self.stamp.check_same(other.stamp, free)
        if metric not in self.rows or metric not in other.rows:
            raise UsageError(
                f"no metric '{metric}' in both; there are {', '.join(self.rows)}."
                + near(metric, self.rows)
            )
        if other.rows[metric].value == 0:
            raise UsageError(
                f"nothing is a multiple of a {metric} of 0; compare the numbers themselves."
            )
        return self.rows[metric].value / other.rows[metric].value

    def to_json(self) -> str:
        """Return everything as JSON text; a number that is not finite is null there."""
        return jsons.dumps({"format": FORMAT, **asdict(self)}, indent=1, ascii_only=False)

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
            rows = {key: _row(row) for key, row in read.pop("rows").items()}
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
        made = self.stamp.told_way()
        lines = [f"quality of {self.stamp.n:,} samples" + (f" ({made})" if made else "")]
        lines.append(f"{'':36}{'samples':>18}{'real data':>18}   better")
        for name, row in self.rows.items():
            title = METRICS[name].title if name in METRICS else name
            better = METRICS[name].better if name in METRICS else ""
            # Fewer real items than samples make a higher floor, so their number is told.
            few = f"  n {row.floor_n:,}; as many samples: {row.matched:.4g}"
            few = few if row.floor_n < row.n else ""
            number = Number(row.value, row.error)
            lines.append(f"{title:36}{number!s:>18}{row.floor:>18.4g}   {better:4}{few}")
        if self.accuracy is not None and self.judge_accuracy is not None:
            mine = f"{self.accuracy:.1%} ± {self.accuracy_error:.1%}"
            title, floor = "taken for the class asked for", f"{self.judge_accuracy:.1%}"
            lines.append(f"{title:36}{mine:>18}{floor:>18}   more")
        if self.found:
            pairs = zip(self.classes, self.found, strict=True)
            lines.append("classes found: " + "  ".join(f"{c} {n}" for c, n in pairs))
        lines.append(
            f"features {self.stamp.extractor} {self.stamp.digest}, "
            f"data {self.stamp.reference[:12]}"
        )
        return "\n".join(lines)

    @property
    def accuracy_error(self) -> float:
        """Standard error of the accuracy: of a share of n."""
        share = self.accuracy or 0.0
        return float((share * (1 - share) / self.stamp.n) ** 0.5)


def _row(fields: dict[str, Any]) -> Row:
    """A row as it was written; null stands for what was not finite, or not known."""
    read = {**fields, **{k: _number(fields[k]) for k in ("value", "floor", "matched")}}
    interval = fields["interval"]
    ends = None if interval is None else tuple(map(_number, interval))
    return Row(**{**read, "interval": ends})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


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
        made: How the samples were made; written into the report, and what says how they were
            asked for into its stamp. Under "classes" it may say of which in words, in the place of
            what ``asked`` comes to.
        metrics: Names in METRICS.

    Raises:
        UsageError: Samples of another kind than the data, or an unknown metric.
    """
    for name in metrics:
        look_up("metric", name, METRICS)
    reference.check(samples, asked)
    features, told = reference.features, dict(made or {})
    plain = features.read(samples)
    finite = plain.features.isfinite().all(1)  # of tables, gaps are read as numbers too
    if not bool(finite.all()):
        broken = int((~finite).sum())
        raise UsageError(f"{broken} of {len(samples)} samples hold values that are not finite.")
    counts = None if asked is None else np.bincount(asked, minlength=len(reference.classes))
    way = way_of(told, reference.classes, None if counts is None else counts.tolist())
    stamp = Stamp(
        features.name, features.digest, reference.fingerprint, len(samples), features.resize, way
    )
    return Quality(
        rows_of(plain, reference, metrics),
        stamp,
        told,
        reference.classes,
        **_recognised(plain.classes, asked, reference),
    )


def rows_of(samples: Reading, reference: Reference, metrics: Iterable[str]) -> dict[str, Row]:
    """Measure what was read of samples, and real items in their place."""
    mixed = shuffled(samples)
    sides = {"train": reference.train, "heldout": reference.heldout}
    real = {"train": reference.heldout, "heldout": reference.train}
    ours = {side: Pair(mixed, truth) for side, truth in sides.items()}
    floors = {
        side: Pair(real[side].reading[slice(0, len(samples))], truth)
        for side, truth in sides.items()
    }
    return {name: _row_of(METRICS[name], ours, floors) for name in metrics}


def _row_of(metric: Metric, ours: Mapping[str, Pair], floors: Mapping[str, Pair]) -> Row:
    mine, floor = ours[metric.against], floors[metric.against]
    number = metric.measure(mine)
    n, floor_n = (getattr(pair, metric.items) for pair in (mine, floor))
    matched = number.value
    if floor_n < n:
        matched = metric.measure(Pair(mine.samples[slice(0, floor.all)], mine.truth)).value
    return Row(
        number.value, number.error, number.interval, metric.measure(floor).value, n, floor_n,
        matched,
    )  # fmt: skip


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
