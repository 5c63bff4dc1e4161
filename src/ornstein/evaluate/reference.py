"""The real data that samples are held against, read once by one extractor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ornstein.errors import DataError, UsageError
from ornstein.evaluate.classifier import Progress
from ornstein.evaluate.extractors import AUTO, extractor
from ornstein.evaluate.features import Features, Judged, Reading, together
from ornstein.evaluate.frechet import Moments, moments

BLOCK = 5_000  # items that are in memory at a time, or fewer where they are large
ROWS = 1 << 16  # whose moments are taken together, in float64
LEAST = 6  # of an item's neighbours the fifth is asked for


@dataclass(frozen=True)
class Side:
    """One half of the real data.

    Attributes:
        reading: What was read of it.
        moments: Of its features.
        index: Which items these are, in that order.
    """

    reading: Reading
    moments: Moments
    index: np.ndarray


@dataclass(frozen=True)
class Reference:
    """Readings of the training and the held-out items, and who read them.

    Attributes:
        features: What read the items.
        fingerprint: Hash of the data set.
        classes: Names of the classes, empty without.
        dtype: Type that samples must have.
        train: Reading of the training items, in a fixed shuffled order.
        heldout: Reading of the held-out items, likewise.
    """

    features: Features
    fingerprint: str
    classes: tuple[str, ...]
    dtype: np.dtype
    train: Side
    heldout: Side

    @classmethod
    def of(
        cls,
        features: Features,
        items: np.ndarray,
        train: np.ndarray,
        heldout: np.ndarray,
        *,
        fingerprint: str,
        classes: tuple[str, ...] = (),
    ) -> Reference:
        """Read the real items (N, *shape); train and heldout are disjoint index arrays.

        Raises:
            DataError: A side has fewer than two items, or both share one.
        """
        if min(len(train), len(heldout)) < LEAST:
            raise DataError(
                f"{len(train)} training and {len(heldout)} held-out items: quality needs {LEAST} "
                "or more of each. Add items: a twentieth of them is held out."
            )
        if len(np.intersect1d(train, heldout)):
            raise DataError("training and held-out items overlap: the floor would be a lie.")
        # Shuffled, so that the first n of them are a fair draw of n.
        rng = np.random.default_rng(0)
        orders = rng.permutation(train), rng.permutation(heldout)
        one, two = (_read(features, items, order) for order in orders)
        return cls(
            features,
            fingerprint,
            tuple(classes),
            np.dtype(items.dtype),
            Side(one, moments(one.features.split(ROWS)), orders[0]),
            Side(two, moments(two.features.split(ROWS)), orders[1]),
        )

    def check(self, samples: np.ndarray, asked: np.ndarray | None) -> None:
        """Refuse samples that are not of the same kind as the data.

        Raises:
            UsageError: Shape, type, values or labels do not fit; the text says which.
        """
        if tuple(samples.shape[1:]) != self.features.shape or len(samples) < LEAST:
            raise UsageError(
                f"samples of shape {tuple(samples.shape)} came; the data need "
                f"(n, {', '.join(map(str, self.features.shape))}) with n >= {LEAST}."
            )
        if samples.dtype != self.dtype:
            raise UsageError(
                f"samples are {samples.dtype} and the data {self.dtype}: decode the samples to "
                "the data's own units first (Dataset.coding.decode)."
            )
        if asked is None:
            return
        if not self.classes:
            raise UsageError("labels came with the samples, but the data have no classes.")
        if asked.shape != (len(samples),) or asked.min() < 0 or asked.max() >= len(self.classes):
            raise UsageError(
                f"asked classes must be {len(samples)} numbers from 0 to {len(self.classes) - 1}."
            )


def _read(features: Features, items: np.ndarray, order: np.ndarray) -> Reading:
    """Read the items in that order, a block in memory at a time."""
    block = together(items.shape[1:], BLOCK)
    pieces = np.array_split(order, -(-len(order) // block))
    return joined([features.read(items[piece]) for piece in pieces])


def joined(parts: list[Reading]) -> Reading:
    """Several readings as one."""
    classes = [part.classes for part in parts if part.classes is not None]
    return Reading(
        torch.cat([part.features for part in parts]), torch.cat(classes) if classes else None
    )


def shuffled(reading: Reading, seed: int = 0) -> Reading:
    """Return the reading in another, fixed order."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(reading)))
    return reading[order]


def reference_of(
    data: Judged,
    features: str | Features = AUTO,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Reference:
    """Read a data set with a judge from the cache, or one trained now.

    Args:
        data: The data set.
        features: Key of FEATURES, or an extractor of your own.
        seed: Seed of a judge that is trained.
        folder: Cache folder; default cache_place().
        progress: Called with batches done and in all while a judge is trained.

    Raises:
        DataError: too few items, or no labels for a classifier.
        UsageError: no such features, or a package is missing for them.
    """
    if isinstance(features, str):
        features = extractor(data, features, seed=seed, folder=folder, progress=progress)
    return Reference.of(
        features,
        data.items,
        data.train,
        data.heldout,
        fingerprint=data.fingerprint,
        classes=data.classes,
    )
