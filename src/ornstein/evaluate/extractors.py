"""By what samples can be judged: the table of features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ornstein.errors import DataError, UsageError, near
from ornstein.evaluate.classifier import Progress
from ornstein.evaluate.features import Features, Judged, ValueFeatures
from ornstein.evaluate.learned import (
    MOST_VALUES,
    cached_features,
    cached_path,
    can_classify,
    instead,
)
from ornstein.evaluate.packaged import efficientnet, inception

AUTO = "auto"


def values(data: Judged) -> Features:
    """The values themselves; of items of many numbers they would say little.

    Raises:
        DataError: the items are such.
    """
    shape = tuple(data.items.shape[1:])
    if data.items[0].size > MOST_VALUES:
        raise DataError(
            f"items of {data.items[0].size:,} values are too large to be compared value by value; "
            f"{instead(data)}"
        )
    return ValueFeatures(data.coding, shape)


FEATURES: dict[str, tuple[str, Callable[[Judged], Features] | None]] = {
    "classifier": ("a small classifier, trained on these data and their labels", None),
    "encoder": ("a small encoder, trained on these data without labels", None),
    "values": ("the values themselves, in deviations of their channel", values),
    "efficientnet": ("EfficientNet-Lite0 of ImageNet, of the package of its name", efficientnet),
    "inception": ("the network of the usual FID, where torch-fidelity is installed", inception),
}
"""Name of features to what they are and who makes them; None for those that are learned."""


def usual(data: Judged) -> str:
    """The features for these data: a classifier where there are labels enough to train one.

    Vectors are judged by their values, unless these are too many.
    """
    if data.items.ndim == 2:
        many = data.items[0].size > MOST_VALUES
        return "classifier" if many and can_classify(data) else "values"
    classes = len(data.classes)
    enough = len(data.train) >= 20 * classes and len(data.heldout) >= classes
    return "classifier" if data.labels is not None and classes >= 2 and enough else "encoder"


def untrained(data: Judged, name: str = AUTO, folder: Path | None = None) -> bool:
    """Whether these features would have to be trained first."""
    name = usual(data) if name == AUTO else name
    kept = None if FEATURES[name][1] else cached_path(data, name, folder=folder)
    return FEATURES[name][1] is None and not (kept is not None and kept.exists())


def extractor(
    data: Judged,
    name: str = AUTO,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Features:
    """Return the features of that name for these data; learned ones from the cache or trained now.

    Raises:
        UsageError: no such features, or their package is not installed.
        DataError: the data do not fit them.
    """
    name = usual(data) if name == AUTO else name
    if name not in FEATURES:
        raise UsageError(
            f"unknown features '{name}'.{near(name, FEATURES)} They are one of: {AUTO}, "
            f"{', '.join(FEATURES)}."
        )
    make = FEATURES[name][1]
    if make is not None:
        return make(data)
    return cached_features(data, name, seed=seed, folder=folder, progress=progress)
