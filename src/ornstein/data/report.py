"""A look at a data set before training: lines for people, a table for programs."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ornstein.data.conditions import CLASS, Condition
from ornstein.data.dataset import Dataset
from ornstein.data.facts import many, tally
from ornstein.data.splitting import content_keys

_NEAR = 4.0  # grey levels of 255: mean difference of the thumbnails of near-duplicates
_MOST_COMPARED = 100_000


def report(dataset: Dataset) -> list[str]:
    """What ``ornstein data`` prints, one line each."""
    shape = "x".join(str(n) for n in dataset.shape)
    values = "256 levels" if dataset.quantised else "real numbers"
    if dataset.kind == "table":
        shape, values = f"{dataset.items.shape[1]} columns", f"{dataset.dims} codes each"
    lines = [
        f"{dataset.name}: {_items(dataset)} of {shape}, {values}",
        f"{len(dataset.train):,} for training, {len(dataset.heldout):,} held out",
        f"source: {dataset.source.text}; licence {dataset.source.licence}",
        *dataset.notes,
    ]
    if dataset.refused:
        reasons = tally(r.reason for r in dataset.refused)
        lines.append(f"{many(len(dataset.refused), 'files')} left out: {reasons}")
    copies = duplicates(dataset)
    if copies.same or copies.near:
        exact = f"{copies.same:,} exact cop{'y' if copies.same == 1 else 'ies'}"
        lines.append(f"{exact}, {many(copies.near, 'near-duplicates')} besides")
    if copies.shared:
        lines.append(
            f"equal to a training item: {copies.shared:,} of "
            f"{many(len(dataset.heldout), 'held-out items')}, on which measurements say less"
        )
    if dataset.labels is not None:
        counts = class_counts(dataset)
        least, most = min(counts.values()), max(counts.values())
        some = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:12])
        more = f", and {len(counts) - 12:,} more" if len(counts) > 12 else ""
        known = "one class" if len(counts) == 1 else f"{len(counts):,} classes"
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        lines.append(f"{known} of {each}: {some}{more}")
    told = (
        dataset.conditions
        if dataset.labels is None
        else [condition for condition in dataset.conditions if condition.name != CLASS]
    )
    lines += [_told(condition) for condition in told]
    return [*lines, *dataset.coding.about(dataset.items)]


def details(dataset: Dataset) -> dict[str, Any]:
    """The same as a dict for a JSON file, with every refused file."""
    copies = duplicates(dataset)
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "shape": list(dataset.shape),
        "count": len(dataset),
        "train": len(dataset.train),
        "heldout": len(dataset.heldout),
        "classes": class_counts(dataset),
        "conditions": [
            {
                **condition.declared.to_json(),
                "missing": int((~condition.said).sum()),
                "counts": _counts(condition) if condition.names else {},
            }
            for condition in dataset.conditions
        ],
        "coding": dataset.coding.to_json(),
        "fingerprint": dataset.fingerprint,
        "exact_copies": copies.same,
        "near_duplicates": copies.near,
        "heldout_copies": copies.shared,
        "source": vars(dataset.source).copy(),
        "notes": list(dataset.notes),
        "refused": [{"path": r.path, "reason": r.reason} for r in dataset.refused],
    }


def _items(dataset: Dataset) -> str:
    """Such as "3 pictures", "1 picture", "1 series"."""
    noun = dataset.coding.noun
    return f"{len(dataset):,} series" if noun == "series" else many(len(dataset), noun)


def _told(condition: Condition) -> str:
    """One condition in a line."""
    missing = int((~condition.said).sum())
    rest = f"; {missing:,} items say nothing" if missing else ""
    about = condition.declared
    if about.names:
        some = ", ".join(
            f"{name} {count:,}" for name, count in list(_counts(condition).items())[:12]
        )
        more = f", and {len(about.names) - 12:,} more" if len(about.names) > 12 else ""
        what = f"{'tags' if about.kind == 'tags' else 'one of'} {some}{more}"
    elif about.kind == "numbers":
        ranges = [
            f"{low:.4g} to {high:.4g}" for low, high in zip(about.low, about.high, strict=True)
        ]
        what = "numbers from " + ", ".join(ranges[:4]) + (", ..." if len(ranges) > 4 else "")
    else:
        what = "a picture of " + "x".join(map(str, about.shape))
    return f"condition {condition.name}: {what}{rest}"


def _counts(condition: Condition) -> dict[str, int]:
    """How many items say each name."""
    values = condition.values[condition.said]
    many = (
        values.sum(axis=0)
        if values.ndim == 2
        else np.bincount(values, minlength=len(condition.names))
    )
    return {name: int(n) for name, n in zip(condition.names, many, strict=True)}


def class_counts(dataset: Dataset) -> dict[str, int]:
    """Number of items of each class, in the order of the classes; empty without labels."""
    if dataset.labels is None:
        return {}
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return {name: int(n) for name, n in zip(dataset.classes, counts, strict=True)}


class Copies(NamedTuple):
    """How many items are copies.

    Attributes:
        same: Exactly of another one.
        near: Pictures that are nearly so besides.
        shared: Held-out items that are exactly a training item.
    """

    same: int
    near: int
    shared: int


_KNOWN: WeakKeyDictionary[Dataset, Copies] = WeakKeyDictionary()


def duplicates(dataset: Dataset) -> Copies:
    """Count the copies, once for a data set: all of it is read."""
    if dataset not in _KNOWN:
        keys = content_keys(dataset.items)
        _, first = np.unique(keys, return_index=True)
        shared = np.isin(keys[dataset.heldout], keys[dataset.train]).sum()
        near = _near(dataset, np.sort(first))
        _KNOWN[dataset] = Copies(len(keys) - len(first), near, int(shared))
    return _KNOWN[dataset]


def _near(dataset: Dataset, unique: np.ndarray) -> int:
    """How many pictures are nearly copies of others.

    Near means: the same 64-bit difference hash (brighter than the neighbour to the right, on a
    9x8 thumbnail) and thumbnails that differ by less than 4 of 255 levels on average.
    """
    if dataset.kind != "image" or min(dataset.shape[1:]) < 9 or len(unique) > _MOST_COMPARED:
        return 0
    thumbs = _thumbnails(dataset, unique)
    bits = np.packbits(thumbs[:, :, 1:] > thumbs[:, :, :-1], axis=1).reshape(len(thumbs), 8)
    _, leader, group = np.unique(bits.view("<u8").ravel(), return_index=True, return_inverse=True)
    apart = np.abs(thumbs - thumbs[leader[group]]).mean(axis=(1, 2))
    follows = leader[group] != np.arange(len(thumbs))
    return int((follows & (apart < _NEAR)).sum())


def _thumbnails(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Grey 8x9 thumbnails in 0..255 by averaging whole pixels, (N, 8, 9) float32."""
    height, width = dataset.shape[1:]
    rows = np.linspace(0, height, 9).astype(int)[:-1]
    columns = np.linspace(0, width, 10).astype(int)[:-1]
    share = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None]
    out = np.empty((len(indices), 8, 9), dtype=np.float32)
    for start in range(0, len(indices), 4096):
        part = dataset.coding.show(dataset.raw(indices[start : start + 4096]))
        grey = part.mean(axis=1, dtype=np.float32)
        sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2)
        out[start : start + 4096] = sums / share
    return out
