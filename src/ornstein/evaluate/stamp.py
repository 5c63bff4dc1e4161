"""The protocol of a number: without it a number means nothing, and unlike ones do not compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ornstein.errors import UsageError

RULES = "quality-2"  # definitions of the metrics and of their intervals; a change makes a new name
FREE = ("by", "run", "model", "levels", "step", "evaluations", "seconds", "weights")
"""What is said of samples that does not say how they were asked for."""
CLASSES = "classes"
"""Part of the way: which classes samples were asked to be of; missing where nobody said."""
NONE, AS_DATA, ALIKE, UNKNOWN = "none", "as in the data", "each alike", "not written down"


@dataclass(frozen=True)
class Stamp:
    """What two numbers must share in order to be compared.

    Attributes:
        extractor: Name of the features.
        digest: Of its weights.
        reference: Fingerprint of the real data.
        n: Samples.
        resize: What is done to the size of the items before they are read.
        way: How the samples were asked for: solver, grid, schedule, steps, guidance, seed,
            which classes ...
        rules: Version of the metrics and their intervals.
    """

    extractor: str
    digest: str
    reference: str
    n: int
    resize: str = "none"
    way: Mapping[str, Any] = field(default_factory=dict)
    rules: str = RULES

    def flat(self) -> dict[str, Any]:
        """All of it by name, what belongs to the way as well."""
        fields = asdict(self)
        way = fields.pop("way")
        return {**fields, **way}

    def told_way(self, free: Iterable[str] = ()) -> str:
        """How the samples were asked for, in words; without what is ``free``."""
        return ", ".join(f"{k} {told(k, value)}" for k, value in self.way.items() if k not in free)

    def differences(self, other: Stamp, free: Iterable[str] = ()) -> list[str]:
        """Say in words what is not the same; what is ``free`` may differ."""
        mine, theirs = self.flat(), other.flat()
        return [
            f"{key} {told(key, mine.get(key))} and {told(key, theirs.get(key))}"
            for key in [*mine, *(key for key in theirs if key not in mine)]
            if key not in free and mine.get(key) != theirs.get(key)
        ]

    def check_same(self, other: Stamp, free: Iterable[str] = ()) -> None:
        """Refuse to compare numbers of another protocol.

        Raises:
            UsageError: something differs; it is named with both values.
        """
        unlike = self.differences(other, free)
        if unlike:
            raise UsageError(
                f"these numbers do not compare: {'; '.join(unlike)}. Measure both by the same "
                "protocol."
            )


def way_of(
    made: Mapping[str, Any], names: Sequence[str] = (), counts: Sequence[int] | None = None
) -> dict[str, Any]:
    """The part of what is said of samples that belongs to the protocol.

    Args:
        made: What is said of them.
        names: Of the classes.
        counts: How many samples were asked for of each class; None where that is not known.
    """
    way = {key: value for key, value in made.items() if key not in FREE and value is not None}
    asked = f"only {way['class']}" if "class" in way else _asked(names, counts)
    return way if asked is None or CLASSES in way else {**way, CLASSES: asked}


def _asked(names: Sequence[str], counts: Sequence[int] | None) -> str | None:
    """Which classes were asked for, in words; in other shares than alike by their counts."""
    if counts is None:
        return None
    some = [name for name, count in zip(names, counts, strict=True) if count]
    if len(some) == 1 < len(counts):
        return f"only {some[0]}"
    alike = max(counts) - min(counts) <= 1
    return ALIKE if alike else " ".join(map(str, counts))


def told(key: str, value: object) -> str:
    """A value in few letters; of a fingerprint its head is enough."""
    return str(value)[:12] if key in ("reference", "digest") else spelt(value)


def spelt(value: object) -> str:
    """A value in words; of several by name, those that say something."""
    if not isinstance(value, Mapping):
        return str(value)
    parts = [f"{name} {part}" for name, part in value.items() if part is not None]
    return f"({', '.join(parts)})"
