"""A trained classifier of noisy items and what describes it; on disk it is one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch

from ornstein.bundle.parts import fingerprint
from ornstein.data.coding import Coding
from ornstein.model import Classifier

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A classifier of noisy items, which guides a model of the same data.

    Attributes:
        model: Put into evaluation mode.
        coding: Between data units and the network's.
        shape: Shape of one item.
        classes: Their names.
        weights: What the weights are.
        provenance: Data, licence, steps, versions: JSON values that travel with it.
    """

    model: Classifier
    coding: Coding
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    weights: str = "raw"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.eval()

    @cached_property
    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of the weights."""
        return fingerprint(self.model.net)

    def to(self, device: torch.device | str) -> Self:
        """Move the classifier to ``device``."""
        self.model.to(device)
        return self

    def save(self, path: str | Path) -> Path:
        """Write the one-file classifier; see :func:`ornstein.bundle.file.save`."""
        from ornstein.bundle.file import save

        return save(self, path)
