"""Features to judge samples by: what they must offer, and the values themselves.

A distance means nothing without the name of its features, so that every extractor has a
name and a digest of its weights, and every number carries both.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from torch import Tensor

TOGETHER = 1 << 24  # values of items that are read at once


def together(shape: Sequence[int], most: int) -> int:
    """How many items of a shape are read at once, so that large ones do not fill the memory."""
    return max(1, min(most, TOGETHER // math.prod(shape)))


@dataclass(frozen=True)
class Reading:
    """What an extractor says of N items: features (N, D) float32 and classes (N,) or None."""

    features: Tensor
    classes: Tensor | None = None

    def __len__(self) -> int:
        return int(self.features.shape[0])

    def __getitem__(self, index: slice | Tensor) -> Reading:
        classes = None if self.classes is None else self.classes[index]
        return Reading(self.features[index], classes)


class Features(Protocol):
    """Anything that turns raw items (N, *shape) into a Reading, and says who it is."""

    @property
    def name(self) -> str:
        """Short name for tables."""

    @property
    def digest(self) -> str:
        """Hex digest of weights and of everything done to the items before them."""

    @property
    def resize(self) -> str:
        """What is done to the size of the items before they are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item."""

    @property
    def accuracy(self) -> float | None:
        """Share of held-out items whose class it recognises; None if it knows no classes."""

    def read(self, items: np.ndarray) -> Reading:
        """Features of items as they are stored: uint8 pictures, or arrays in data units."""


class Coding(Protocol):
    """What a data set says of its values: ornstein.data.Coding, or that of a table."""

    def encode(self, raw: np.ndarray) -> Tensor:
        """Standardised values of raw items."""

    def to_json(self) -> dict[str, Any]:
        """All that this follows from."""


@dataclass(frozen=True)
class ValueFeatures:
    """The standardised values themselves: what vectors and tables are judged by.

    Attributes:
        coding: Of the data.
        shape: Shape of one raw item.
    """

    coding: Coding
    shape: tuple[int, ...]
    name: str = "values"
    resize: str = "none"
    accuracy: float | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over the coding, 16 hex digits."""
        text = json.dumps(self.coding.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self, items: np.ndarray) -> Reading:
        """Every value of raw items (N, *shape), in deviations of its channel."""
        return Reading(self.coding.encode(items).flatten(1))


class Rows(Protocol):
    """Numbers of many items, (N, D): a tensor, or what reads them when they are asked for."""

    def __len__(self) -> int:
        """N."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N and D."""

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        """Some of them, (n, D)."""


@dataclass(frozen=True)
class FeatureRows:
    """What an extractor says of items that may be larger than memory, read a piece at a time.

    Attributes:
        features: The extractor.
        items: Raw items (N, *shape).
        index: Which of them these are, in that order.
    """

    features: Features
    items: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.index)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Items and features of each."""
        return len(self), int(self[:1].shape[1])

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Features of some of them."""
        picked = self.index[rows if isinstance(rows, slice) else rows.numpy()]
        return self.features.read(self.items[picked]).features


class Judged(Protocol):
    """What a data set must have for a judge: the attributes of ornstein.data.Dataset."""

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
    def coding(self) -> Coding:
        """How its values are standardised."""

    @property
    def fingerprint(self) -> str:
        """Hash of items, labels and split."""
