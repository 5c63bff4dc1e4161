"""The real data that samples are held against, read once by one extractor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ornstein.errors import DataError, UsageError
from ornstein.evaluate.classifier import Progress
from ornstein.evaluate.features import Features, Reading, cached_features
from ornstein.evaluate.frechet import Moments


@dataclass(frozen=True)
class Side:
    """One half of the real data: what was read of it, and its moments."""

    reading: Reading
    moments: Moments


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
        if min(len(train), len(heldout)) < 2:
            raise DataError(
                f"{len(train)} training and {len(heldout)} held-out items: quality needs two or "
                "more of each."
            )
        if len(np.intersect1d(train, heldout)):
            raise DataError("training and held-out items overlap: the floor would be a lie.")
        # Shuffled, so that the first n of them are a fair draw of n.
        rng = np.random.default_rng(0)
        one = _read(features, items, rng.permutation(train))
        two = _read(features, items, rng.permutation(heldout))
        return cls(
            features,
            fingerprint,
            tuple(classes),
            np.dtype(items.dtype),
            Side(one, Moments.of(one.features)),
            Side(two, Moments.of(two.features)),
        )

    def check(self, samples: np.ndarray, asked: np.ndarray | None) -> None:
        """Refuse samples that are not of the same kind as the data.

        Raises:
            UsageError: Shape, type, values or labels do not fit; the text says which.
        """
        if tuple(samples.shape[1:]) != self.features.shape or len(samples) < 2:
            raise UsageError(
                f"samples of shape {tuple(samples.shape)} came; the data need "
                f"(n, {', '.join(map(str, self.features.shape))}) with n >= 2."
            )
        if samples.dtype != self.dtype:
            raise UsageError(
                f"samples are {samples.dtype} and the data {self.dtype}: decode the samples to "
                "the data's own units first (Dataset.coding.decode)."
            )
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            broken = int((~np.isfinite(samples)).reshape(len(samples), -1).any(1).sum())
            raise UsageError(
                f"{broken} of {len(samples)} samples hold values that are not finite."
            )
        if asked is None:
            return
        if self.train.reading.classes is None or not self.classes:
            raise UsageError("labels came with the samples, but the data have no classes.")
        if asked.shape != (len(samples),) or asked.min() < 0 or asked.max() >= len(self.classes):
            raise UsageError(
                f"asked classes must be {len(samples)} numbers from 0 to {len(self.classes) - 1}."
            )


def _read(features: Features, items: np.ndarray, order: np.ndarray, block: int = 5_000) -> Reading:
    """Read the items in that order, a block in memory at a time."""
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


class LabelledData(Protocol):
    """What a data set must have for its own judge: the attributes of ornstein.data.Dataset."""

    @property
    def items(self) -> np.ndarray:
        """Raw items (N, *shape)."""

    @property
    def labels(self) -> np.ndarray | None:
        """Class of each item (N,)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def train(self) -> np.ndarray:
        """Indices of the training items."""

    @property
    def heldout(self) -> np.ndarray:
        """Indices of the held-out items."""

    @property
    def fingerprint(self) -> str:
        """Hash of items, labels and split."""


def reference_of(
    data: LabelledData,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Reference:
    """Return the reference of a labelled data set, with a judge from the cache or trained now.

    Args:
        data: The data set.
        seed: Seed of the judge.
        folder: Cache folder; default cache_folder().
        progress: Called with batches done and in all while the judge is trained.

    Raises:
        DataError: No labels, or too few items.
    """
    judge = cached_features(
        data.items,
        data.labels,
        len(data.classes),
        data.train,
        data.heldout,
        fingerprint=data.fingerprint,
        seed=seed,
        folder=folder,
        progress=progress,
    )
    return Reference.of(
        judge,
        data.items,
        data.train,
        data.heldout,
        fingerprint=data.fingerprint,
        classes=data.classes,
    )
