"""A data set in memory or memory-mapped: items, labels, a fixed split and its coding."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ornstein.data.coding import Coding, measure
from ornstein.data.conditions import CLASS, Condition, labelled
from ornstein.data.splitting import split
from ornstein.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Source:
    """Where data comes from, for the model file and the report."""

    text: str
    licence: str = "unknown"
    citation: str = ""


@dataclass(frozen=True)
class Refused:
    """A file that was left out, and why, in a few words."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Items with a deterministic split; immutable.

    Attributes:
        name: Short name, used for the run directory.
        kind: "image", "series", "vector" or "table".
        items: (N, C, H, W), (N, C, L) or (N, D); uint8 for 8-bit pictures, else float32. Rows of
            a table, (N, columns), are float64 as its columns say. May be a read-only memory map.
        train: Indices of the training items, ascending.
        heldout: Indices of the items never trained on, ascending; may be empty.
        coding: Standardisation measured on the training items.
        source: Origin, licence, citation.
        refused: Files that were left out.
        captions: A short text for each item, or empty.
        names: A name (file path, emoji name) for each item, or empty.
        notes: What was done to the data that its owner should know, one sentence each.
        conditions: What is said of the items, such as their class.
    """

    name: str
    kind: str
    items: np.ndarray
    train: np.ndarray
    heldout: np.ndarray
    coding: Coding
    source: Source
    refused: Sequence[Refused] = ()
    captions: tuple[str, ...] = ()
    names: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def __len__(self) -> int:
        """Return the number of items, training and held-out ones together."""
        return len(self.items)

    def __repr__(self) -> str:
        """Say what is in it on one line."""
        shape = "x".join(str(n) for n in self.shape)
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return (
            f"Dataset({self.name}: {len(self):,} of {shape} ({self.kind}){classes}, "
            f"{len(self.train):,} for training, {len(self.heldout):,} held out)"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item as a network sees it, channels first."""
        return self.coding.coded(tuple(int(n) for n in self.items.shape[1:]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty without."""
        known = (c.names for c in self.conditions if (c.name, c.kind) == (CLASS, "class"))
        return next(known, ())

    @property
    def labels(self) -> np.ndarray | None:
        """Class index of each item, (N,) int64; None where some item has no class."""
        known = (c for c in self.conditions if (c.name, c.kind) == (CLASS, "class"))
        found = next(known, None)
        return None if found is None or not found.said.all() else found.values

    @property
    def dims(self) -> int:
        """Number of values in one item."""
        return prod(self.shape)

    @property
    def quantised(self) -> bool:
        """Whether the raw values are levels (8-bit pictures) and not real numbers."""
        return self.coding.levels is not None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of items, conditions and split: equal exactly for equal data."""
        return self._fingerprint(getattr(self.items, "identity", ""))

    def known_as(self, fingerprint: object) -> bool:
        """Whether a fingerprint is of these data: theirs, or that which shards had before.

        That was of where they lie and when they were written, or of the values of some of them,
        and is in trainings and models of older versions.
        """
        former = getattr(self.items, "former", None)
        return fingerprint == self.fingerprint or (
            former is not None and fingerprint == self._fingerprint(former)
        )

    def _fingerprint(self, identity: str) -> str:
        """The same, of items that are known by ``identity``, or else by their content."""
        head: tuple[object, ...] = (
            self.kind,
            self.items.dtype.str,
            self.items.shape,
            self.classes,
        )
        head += self.coding.meaning
        digest = hashlib.sha256(repr(head).encode())
        digest.update(identity.encode() or _content_digest(self.items))
        for part in (self.labels, self.train, self.heldout):
            digest.update(b"-" if part is None else np.ascontiguousarray(part, "<i8").tobytes())
        for condition in self.conditions:
            if condition.name != CLASS or self.labels is None:
                digest.update(condition.fold())
        return digest.hexdigest()

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """Standardised items at ``indices``, float32 (B, *shape)."""
        return self.coding.encode(self.raw(indices))

    def raw(self, indices: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
        """Items at ``indices`` in raw units, copied, (B, *shape)."""
        return np.take(self.items, np.asarray(indices, dtype=np.int64), axis=0)

    def unread(self, known: int = 0) -> list[str]:
        """Say which items could not be read any more since the data were opened.

        Those in memory always can.

        Args:
            known: Leave out so many, which were told before.
        """
        said = getattr(self.items, "unread", None)
        return [] if said is None else said(known)

    def condition_batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> dict[str, Tensor]:
        """What the items at ``indices`` say, by name, as a network takes it, (B, ...) each."""
        index = np.asarray(indices, dtype=np.int64)
        return {condition.name: condition.batch(index) for condition in self.conditions}


def make_dataset(
    name: str,
    kind: str,
    items: np.ndarray,
    *,
    source: Source,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    heldout: np.ndarray | None = None,
    coding: Coding | None = None,
    refused: Sequence[Refused] = (),
    captions: tuple[str, ...] = (),
    names: Sequence[str] = (),
    notes: tuple[str, ...] = (),
    conditions: Sequence[Condition] = (),
) -> Dataset:
    """Build a data set: split it where no official split is given, and measure its coding.

    Args:
        name: Short name.
        kind: "image", "series", "vector" or "table".
        items: uint8 or float32, channels first.
        source: Origin.
        labels: Class index of each item.
        classes: Class names.
        heldout: Indices of an official held-out part; None for our own split.
        coding: What the items mean, whose numbers are measured anew; None for the kind's own.
        refused: Files left out.
        captions: Text of each item.
        names: Name of each item.
        notes: What its owner should know.
        conditions: What is said of the items besides their class; measured here.

    Raises:
        DataError: there are no data, or two conditions of one name.
    """
    if len(items) == 0 or prod(items.shape[1:]) == 0:
        raise DataError(f"'{name}' holds no data: its shape is {items.shape}.")
    told = [*([] if labels is None else [labelled(labels, classes)]), *conditions]
    twice = [name for name, count in Counter(c.name for c in told).items() if count > 1]
    if twice:
        raise DataError(f"'{name}' says '{twice[0]}' twice; give one of them another name.")
    held = split(items) if heldout is None else np.sort(heldout.astype(np.int64))
    kept = np.ones(len(items), dtype=bool)
    kept[held] = False
    train = np.flatnonzero(kept)
    if len(train) == 0:
        raise DataError(f"'{name}' holds no training items: all {len(items):,} are held out.")
    return Dataset(
        name=name,
        kind=kind,
        items=items,
        train=train,
        heldout=held,
        coding=measure(items, train, kind) if coding is None else coding.measured(items, train),
        source=source,
        refused=refused,
        captions=captions,
        names=names,
        notes=notes,
        conditions=tuple(condition.measured(train) for condition in told),
    )


def subset(dataset: Dataset, limit: int) -> Dataset:
    """At most ``limit`` items, spread over the whole set; each stays on its side of the split."""
    if limit < 1:
        raise UsageError(f"limit={limit} is too small; it must be at least 1.")
    if limit >= len(dataset):
        return dataset
    # The random choice is the same for every seed, so that runs can be compared.
    kept = np.sort(np.random.default_rng(0).permutation(len(dataset))[:limit])
    held = np.flatnonzero(np.isin(kept, dataset.heldout))
    if len(held) == limit:
        held = held[:0]
    chosen = getattr(dataset.items, "at", None)  # shards stay where they are
    small = make_dataset(
        dataset.name,
        dataset.kind,
        chosen(kept) if chosen else np.take(dataset.items, kept, axis=0),
        source=dataset.source,
        conditions=[condition.at(kept) for condition in dataset.conditions],
        heldout=held,
        coding=dataset.coding,
        refused=dataset.refused,
        captions=tuple(dataset.captions[i] for i in kept) if dataset.captions else (),
        names=tuple(dataset.names[i] for i in kept) if dataset.names else (),
    )
    note = f"Limited to {limit:,} of {len(dataset):,} items."
    return replace(small, notes=(*dataset.notes, note))


def _content_digest(items: np.ndarray) -> bytes:
    """SHA-256 over the SHA-256 of each piece of 64 MB, the pieces hashed in parallel."""
    rows, few = (max(1, most // max(1, items[:1].nbytes)) for most in (1 << 26, 1 << 20))

    def piece(start: int) -> bytes:
        digest, end = hashlib.sha256(), min(start + rows, len(items))
        for at in range(start, end, few):  # what is turned as it is read is copied
            digest.update(np.ascontiguousarray(items[at : min(at + few, end)]).data)
        return digest.digest()

    with ThreadPoolExecutor() as pool:
        return hashlib.sha256(b"".join(pool.map(piece, range(0, len(items), rows)))).digest()
