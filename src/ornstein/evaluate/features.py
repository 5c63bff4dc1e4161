"""Features to judge samples by: what they must offer, and the classifier that offers them.

A distance means nothing without the name of its features, so that every extractor has a
name and a digest of its weights, and every number carries both.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ornstein.errors import DataError, ModelFileError
from ornstein.evaluate.classifier import Classifier, Progress, train_classifier

FORMAT = 1
RECIPE = "classifier-1"  # a change of net or training makes a new name, so no cache is mixed up


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
    def shape(self) -> tuple[int, ...]:
        """Shape of one item."""

    @property
    def accuracy(self) -> float | None:
        """Share of held-out items whose class it recognises; None if it knows no classes."""

    def read(self, items: np.ndarray) -> Reading:
        """Features of items as they are stored: uint8 pictures, or arrays in data units."""


@dataclass(frozen=True)
class ClassifierFeatures:
    """The last hidden layer of a Classifier that was trained on the data themselves."""

    net: Classifier
    accuracy: float  # on the held-out items
    heldout: int
    trained_on: str  # fingerprint of the data
    seed: int
    name: str = RECIPE

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return self.net.shape

    @property
    def digest(self) -> str:
        """SHA-256 over the options and every tensor, 16 hex digits."""
        total = hashlib.sha256(json.dumps(self.net.options(), sort_keys=True).encode())
        for key, tensor in sorted(self.net.state_dict().items()):
            total.update(key.encode() + tensor.contiguous().numpy().tobytes())
        return total.hexdigest()[:16]

    def read(self, items: np.ndarray) -> Reading:
        """Features and recognised classes of raw items (N, *shape)."""
        parts = list(self._blocks(items))
        return Reading(torch.cat([f for f, _ in parts]), torch.cat([c for _, c in parts]))

    @torch.inference_mode()
    def _blocks(self, items: np.ndarray, size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(items), size):
            block = torch.from_numpy(np.array(items[start : start + size]))
            features = self.net.features(block)
            yield features.clone(), self.net.head(features).argmax(1)


def train_features(
    items: np.ndarray,
    labels: np.ndarray | None,
    classes: int,
    train: np.ndarray,
    heldout: np.ndarray,
    *,
    fingerprint: str,
    seed: int = 0,
    progress: Progress | None = None,
) -> ClassifierFeatures:
    """Train the judge on the training items and record its accuracy on the held-out ones.

    Args:
        items: All items (N, *shape), raw.
        labels: Class of each item (N,), or None.
        classes: Number of classes.
        train: Indices to learn from.
        heldout: Indices to be tried on, disjoint from them.
        fingerprint: Hash of the data, kept in the file.
        seed: Seed of weights and order.
        progress: Called with batches done and batches in all.

    Raises:
        DataError: There are no labels, or fewer than two classes.
    """
    if labels is None or classes < 2:
        raise DataError(
            "quality is measured in the features of a classifier, and these data have no "
            "labels to train one on: put the pictures into one sub-folder per class, or hand "
            "your own extractor to ornstein.evaluate.Reference."
        )
    if len(train) < 2 * classes or len(heldout) < classes:
        raise DataError(
            f"{len(train)} training and {len(heldout)} held-out items are too few to train and "
            f"check a classifier of {classes} classes: add pictures or merge classes."
        )
    net = train_classifier(items, labels, classes, index=train, seed=seed, progress=progress)
    judge = ClassifierFeatures(net, 0.0, len(heldout), fingerprint, seed)
    found = judge.read(items[heldout]).classes
    assert found is not None  # a ClassifierFeatures always recognises classes
    right = float((found.numpy() == labels[heldout]).mean())
    return ClassifierFeatures(net, right, len(heldout), fingerprint, seed)


def save_features(judge: ClassifierFeatures, path: Path) -> None:
    """Write the judge as one safetensors file, aside and then renamed."""
    header = {
        "format": FORMAT,
        "name": judge.name,
        "options": judge.net.options(),
        "accuracy": judge.accuracy,
        "heldout": judge.heldout,
        "trained_on": judge.trained_on,
        "seed": judge.seed,
        "digest": judge.digest,
    }
    tensors = {key: value.contiguous() for key, value in judge.net.state_dict().items()}
    raw = safetensors.torch.save(tensors, {"ornstein": json.dumps(header)})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        Path(aside).replace(path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def load_features(path: Path) -> ClassifierFeatures:
    """Read a judge that save_features wrote.

    Raises:
        ModelFileError: The file is damaged, foreign or of another format.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["ornstein"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if header["format"] != FORMAT:
            raise ModelFileError(
                f"{path} has format {header['format']}; this version reads {FORMAT}: delete "
                "the file, and the classifier is trained again."
            )
        options = header["options"]
        net = Classifier(**{**options, "shape": tuple(options["shape"])})
        net.load_state_dict(tensors)
        judge = ClassifierFeatures(
            net.eval(),
            float(header["accuracy"]),
            int(header["heldout"]),
            str(header["trained_on"]),
            int(header["seed"]),
            str(header["name"]),
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a classifier that ornstein saved, or is damaged: delete it, and the "
            "classifier is trained again."
        ) from error
    if judge.digest != header["digest"]:
        raise ModelFileError(f"{path} is damaged: its weights do not have their own hash.")
    return judge


def cache_folder() -> Path:
    """Where trained judges are kept: $ORNSTEIN_CACHE, else ornstein in the user's cache folder."""
    own = os.environ.get("ORNSTEIN_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ornstein"


def cached_features(
    items: np.ndarray,
    labels: np.ndarray | None,
    classes: int,
    train: np.ndarray,
    heldout: np.ndarray,
    *,
    fingerprint: str,
    seed: int = 0,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> ClassifierFeatures:
    """Return the judge of these data from the cache, or train it once and keep it there."""
    place = (folder or cache_folder()) / "judges"
    path = place / f"{RECIPE}-{fingerprint[:24]}-{seed}.safetensors"
    if path.exists():
        judge = load_features(path)
        if judge.trained_on == fingerprint and judge.shape == tuple(items.shape[1:]):
            return judge
    judge = train_features(
        items, labels, classes, train, heldout, fingerprint=fingerprint, seed=seed,
        progress=progress,
    )  # fmt: skip
    save_features(judge, path)
    return judge
