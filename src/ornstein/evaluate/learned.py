"""Judges that are learned from the data themselves, and the cache that keeps them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ornstein.caches import cache_place
from ornstein.errors import DataError, ModelFileError, OrnsteinWarning
from ornstein.evaluate.classifier import LARGEST, Classifier, Progress, train_classifier
from ornstein.evaluate.encoder import train_encoder
from ornstein.evaluate.features import Judged, Reading, together

FORMAT = 1
RECIPES = {"classifier": "classifier-1", "encoder": "encoder-1"}
"""What is learned, to its recipe: a change of net or training makes a new name, so that no cache
is mixed up."""


MOST_VALUES = 2048  # of an item that is compared value by value


def can_classify(data: Judged) -> bool:
    """Whether there are labels and items enough to train and check a classifier."""
    classes = len(data.classes)
    enough = len(data.train) >= 2 * classes and len(data.heldout) >= classes
    return data.labels is not None and classes >= 2 and enough


def fitting(data: Judged) -> str | None:
    """Features that take these data where others were refused, or None."""
    if data.items.ndim > 2:
        return "encoder"
    if data.items[0].size <= MOST_VALUES:
        return "values"
    return "classifier" if can_classify(data) else None


def instead(data: Judged) -> str:
    """What to judge these data by, the end of a message that refuses something else."""
    name = fitting(data)
    if name is not None:
        return f"take --features {name}."
    return (
        f"vectors of more than {MOST_VALUES:,} values can only be judged by a classifier, so give "
        "them labels, and each class items enough."
    )


@dataclass(frozen=True)
class LearnedFeatures:
    """The last hidden layer of a net that was trained on the data themselves."""

    net: Classifier
    accuracy: float | None  # of a classifier, on the held-out items
    heldout: int
    trained_on: str  # fingerprint of the data
    seed: int
    name: str = RECIPES["classifier"]
    resize: str = f"means, to {LARGEST} px at most"

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
        features = torch.cat([f for f, _ in parts])
        knows = self.name == RECIPES["classifier"]
        return Reading(features, torch.cat([c for _, c in parts]) if knows else None)

    @torch.inference_mode()
    def _blocks(self, items: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        size = together(self.shape, 500)
        for start in range(0, len(items), size):
            block = torch.from_numpy(np.array(items[start : start + size]))
            features = self.net.features(block)
            yield features.clone(), self.net.head(features).argmax(1)


def train_features(
    data: Judged, recipe: str = "classifier", *, seed: int = 0, progress: Progress | None = None
) -> LearnedFeatures:
    """Train a judge on the training items; a classifier's accuracy is that on the held-out ones.

    Args:
        data: The data set.
        recipe: Key of RECIPES.
        seed: Seed of weights and order.
        progress: Called with batches done and batches in all.

    Raises:
        DataError: a classifier without labels, an encoder of vectors, or too few items.
    """
    name, held = RECIPES[recipe], len(data.heldout)
    if recipe == "encoder":
        if data.items.ndim == 2:
            raise DataError(f"an encoder is for pictures and series, not vectors; {instead(data)}")
        net = train_encoder(data.items, index=data.train, seed=seed, progress=progress)
        return LearnedFeatures(net, None, held, data.fingerprint, seed, name)
    classes = len(data.classes)
    if data.labels is None or classes < 2:
        folders = "put the pictures into one sub-folder per class, or "
        raise DataError(
            "these data have no labels to train a classifier on: "
            f"{folders if data.items.ndim == 4 else ''}{instead(data)}"
        )
    if not can_classify(data):
        other = fitting(data)
        raise DataError(
            f"{len(data.train)} training and {held} held-out items are too few to train and "
            f"check a classifier of {classes} classes: add items or merge classes"
            f"{f', or take --features {other}' if other else ''}."
        )
    net = train_classifier(
        data.items, data.labels, classes, index=data.train, seed=seed, progress=progress
    )
    judge = LearnedFeatures(net, 0.0, held, data.fingerprint, seed, name)
    found = judge.read(data.items[data.heldout]).classes
    assert found is not None  # a classifier always recognises classes
    right = float((found.numpy() == data.labels[data.heldout]).mean())
    return replace(judge, accuracy=right)


def save_features(judge: LearnedFeatures, path: Path) -> None:
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


def load_features(path: Path) -> LearnedFeatures:
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
                "the file, and the judge is trained again."
            )
        options = header["options"]
        net = Classifier(**{**options, "shape": tuple(options["shape"])})
        net.load_state_dict(tensors)
        judge = LearnedFeatures(
            net.eval(),
            header["accuracy"],
            int(header["heldout"]),
            str(header["trained_on"]),
            int(header["seed"]),
            str(header["name"]),
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a judge that ornstein saved, or is damaged: delete it, and it is "
            "trained again."
        ) from error
    if judge.digest != header["digest"]:
        raise ModelFileError(f"{path} is damaged: its weights do not have their own hash.")
    return judge


def cached_features(
    data: Judged,
    recipe: str = "classifier",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> LearnedFeatures:
    """Return the judge of these data from the cache, or train it once and keep it there.

    Where nothing can be written it is not kept, which is warned of.
    """
    path = cached_path(data, recipe, seed, folder)
    if path is not None and path.exists():
        judge = load_features(path)
        if judge.trained_on == data.fingerprint and judge.shape == tuple(data.items.shape[1:]):
            return judge
    judge = train_features(data, recipe, seed=seed, progress=progress)
    try:
        if path is None:
            raise OSError("there is no home directory")
        save_features(judge, path)
    except OSError as error:
        warnings.warn(
            f"the judge could not be kept ({error.strerror or error}), so it is trained again "
            "next time; name a folder that can be written in ORNSTEIN_CACHE.",
            OrnsteinWarning,
            stacklevel=2,
        )
    return judge


def cached_path(
    data: Judged, recipe: str, seed: int = 0, folder: Path | None = None
) -> Path | None:
    """Where the judge of these data is kept; None where nothing is."""
    name = f"{RECIPES[recipe]}-{data.fingerprint[:24]}-{seed}.safetensors"
    base = folder or cache_place()
    return None if base is None else base / "judges" / name
