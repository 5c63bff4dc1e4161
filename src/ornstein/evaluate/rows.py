"""Made rows against real ones as whole rows: remembered, told apart, and of use.

The classifiers are scikit-learn's gradient-boosted trees, an optional library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ornstein.errors import UsageError
from ornstein.evaluate.tables import Schema

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

_ROWS = 512  # distances are taken for so many rows at a time
FOLDS = 5


def features(tables: Sequence[np.ndarray], schema: Schema) -> list[np.ndarray]:
    """Columns as numbers of like size: ranks in the first table, one-hot words, gaps marked.

    Two words, or two ends of a range, are 1 apart, so that the city-block distance of rows is
    Gower's.
    """
    parts: list[list[np.ndarray]] = [[] for _ in tables]
    for k, words in enumerate(schema.words):
        first = tables[0][:, k]
        known = np.sort(first[~np.isnan(first)])
        for part, table in zip(parts, tables, strict=True):
            column, there = table[:, k], ~np.isnan(table[:, k])
            if words:
                part.append(np.eye(words)[np.where(there, column, 0).astype(int)] * 0.5)
            else:
                ends = [np.searchsorted(known, column, side) for side in ("left", "right")]
                part.append((ends[0] + ends[1])[:, None] / max(2 * len(known), 1))
            part[-1] = np.where(there[:, None], part[-1], 0.0)
            part.append(~there[:, None] * 0.5)
    return [np.concatenate(part, axis=1) for part in parts]


class Closest(NamedTuple):
    """How close made rows come to those trained on.

    Attributes:
        copies: Share of made rows that equal a training row in every cell.
        control: Share of training rows that equal another one: as often a new row may by chance.
            Held-out rows never do, since equal rows stay on one side of the split.
        closer: Share of made rows with a training row nearer than every held-out row, of as many
            different rows of both; 1/2 where nothing is remembered.
        distance: Median Gower distance of a made row to the nearest training row.
        usual: The same of held-out rows.
    """

    copies: float
    control: float
    closer: float
    distance: float
    usual: float


def closest(
    train: np.ndarray, heldout: np.ndarray, made: np.ndarray, schema: Schema, seed: int = 0
) -> Closest:
    """Look for rows that were remembered, with other real rows as the control.

    Raises:
        UsageError: there are no held-out rows.
    """
    if not len(heldout) or not len(train):
        raise UsageError("distance to the closest record needs training and held-out rows.")
    known, control, new = features([train, heldout, made], schema)
    unlike, counts = np.unique(known, axis=0, return_counts=True)
    sides, rng = (unlike, np.unique(control, axis=0)), np.random.default_rng(seed)
    few = min(map(len, sides))
    near = [_nearest(new, side[rng.permutation(len(side))[:few]]) for side in sides]
    ties = 0.5 * float((near[0] == near[1]).mean())
    far, usual = _nearest(new, known), _nearest(control, known)
    return Closest(
        copies=float((far == 0).mean()),
        control=float(counts[counts > 1].sum() / len(known)),
        closer=float((near[0] < near[1]).mean()) + ties,
        distance=float(np.median(far)) / len(schema.names),
        usual=float(np.median(usual)) / len(schema.names),
    )


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """City-block distance of each row of ``a`` to the nearest of ``b``."""
    import torch

    others = torch.from_numpy(b)
    pieces = torch.from_numpy(a).split(_ROWS)
    return torch.cat([torch.cdist(p, others, p=1).min(1).values for p in pieces]).numpy()


def detection(real: np.ndarray, made: np.ndarray, schema: Schema, seed: int = 0) -> float:
    """Area under the curve of a classifier that tells made rows from real ones: 1/2 is ideal.

    Gradient-boosted trees, in folds, on as many rows of both; needs scikit-learn.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng, few = np.random.default_rng(seed), min(len(real), len(made))
    picked = [table[rng.permutation(len(table))[:few]] for table in (real, made)]
    X, y = np.concatenate(picked), np.repeat([0, 1], few)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    judge = _trees(schema.words, classes=True, seed=seed)
    said = cross_val_predict(judge, X, y, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(y, said))


def utility(
    train: np.ndarray, test: np.ndarray, schema: Schema, target: str, seed: int = 0
) -> float:
    """How well a model trained on some rows foretells a column of others.

    Gradient-boosted trees; accuracy for a category, R² for numbers. Called with made and with real
    rows as ``train`` and real held-out ones as ``test``, it tells what the made rows are worth.
    Needs scikit-learn.
    """
    at = schema.place(target)
    rest = [k for k in range(len(schema.names)) if k != at]
    parts = [table[~np.isnan(table[:, at])] for table in (train, test)]
    judge = _trees([schema.words[k] for k in rest], classes=bool(schema.words[at]), seed=seed)
    judge.fit(parts[0][:, rest], parts[0][:, at])
    return float(judge.score(parts[1][:, rest], parts[1][:, at]))


def _trees(words: Sequence[int], *, classes: bool, seed: int) -> BaseEstimator:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    except ImportError as error:
        raise UsageError(
            "this check needs scikit-learn; get it with: pip install scikit-learn"
        ) from error
    make = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    # Categories of more words than the trees have bins are taken as numbers.
    named = [0 < count <= 255 for count in words]
    return make(categorical_features=named, random_state=seed)
