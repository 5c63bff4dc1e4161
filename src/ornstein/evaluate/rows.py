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
    from torch import Tensor

_ROWS, _OTHERS = 512, 8192  # distances are taken between so many rows at a time
MOST, WORK = 2_000, 2e10  # rows whose nearest is looked for, and cells that are compared for it
FOLDS = 5


class Parts(NamedTuple):
    """Rows of a table in the two forms in which their columns are compared.

    Words stay what they are: as arrays of 0 and 1 those of a large town's streets would fill the
    memory.

    Attributes:
        ranks: Numbers as shares of the rows of the first table below them, 0 where missing, and
            marks of what is missing, (N, K) float64.
        words: Places of the words of the categories, -1 where missing, (N, C) int64.
    """

    ranks: np.ndarray
    words: np.ndarray

    def some(self, rows: np.ndarray | slice) -> Parts:
        """Rows at these places."""
        return Parts(self.ranks[rows], self.words[rows])

    @property
    def whole(self) -> np.ndarray:
        """Both side by side, (N, K + C): equal rows are equal here."""
        return np.concatenate([self.ranks, self.words], axis=1)


def features(tables: Sequence[np.ndarray], schema: Schema) -> list[Parts]:
    """Columns as what :func:`apart` compares: ranks in the first table, words, gaps marked."""
    known = [np.sort(first[~np.isnan(first)]) for first in tables[0].T]
    return [_parts(table, known, schema.words) for table in tables]


def _parts(table: np.ndarray, known: Sequence[np.ndarray], words: Sequence[int]) -> Parts:
    ranks: list[np.ndarray] = [np.empty((len(table), 0))]
    named: list[np.ndarray] = [np.empty((len(table), 0), dtype=np.int64)]
    for k, count in enumerate(words):
        there = ~np.isnan(table[:, k])
        if count:
            named.append(np.where(there, table[:, k], -1).astype(np.int64)[:, None])
            continue
        ends = [np.searchsorted(known[k], table[:, k], side) for side in ("left", "right")]
        rank = (ends[0] + ends[1]) / max(2 * len(known[k]), 1)
        ranks.append(np.stack([np.where(there, rank, 0.0), ~there * 0.5], axis=1))
    return Parts(np.concatenate(ranks, axis=1), np.concatenate(named, axis=1))


def apart(a: Parts, b: Parts) -> Tensor:
    """Gower's distances of rows to rows, summed over the columns, (A, B) float64.

    Two words, or two ends of a range, are 1 apart; a number and a gap at least a half.
    """
    import torch

    far = torch.cdist(torch.from_numpy(a.ranks), torch.from_numpy(b.ranks), p=1)
    for one, two in zip(a.words.T, b.words.T, strict=True):
        far += torch.from_numpy(one)[:, None] != torch.from_numpy(two)
    return far


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

    Copies are looked for among all; the nearest rows are those of some 2,000 rows of each table,
    drawn, and of fewer where there are very many training rows.

    Raises:
        UsageError: there are no held-out rows.
    """
    if not len(heldout) or not len(train):
        raise UsageError("distance to the closest record needs training and held-out rows.")
    known, control, new = features([train, heldout, made], schema)
    _, unlike, counts = np.unique(known.whole, axis=0, return_index=True, return_counts=True)
    sides = (
        known.some(unlike),
        control.some(np.unique(control.whole, axis=0, return_index=True)[1]),
    )
    rng = np.random.default_rng(seed)
    few = min(len(side.ranks) for side in sides)
    most = max(200, min(MOST, int(WORK / (len(train) * len(schema.names)))))
    asked, real = (_drawn(part, most, rng) for part in (new, control))
    near = [_nearest(asked, _drawn(side, few, rng)) for side in sides]
    ties = 0.5 * float((near[0] == near[1]).mean())
    far, usual = _nearest(asked, known), _nearest(real, known)
    rows = {row.tobytes() for row in known.whole}
    return Closest(
        copies=float(np.mean([row.tobytes() in rows for row in new.whole])),
        control=float(counts[counts > 1].sum() / len(train)),
        closer=float((near[0] < near[1]).mean()) + ties,
        distance=float(np.median(far)) / len(schema.names),
        usual=float(np.median(usual)) / len(schema.names),
    )


def _drawn(part: Parts, count: int, rng: np.random.Generator) -> Parts:
    """So many of the rows, at most."""
    return part.some(rng.permutation(len(part.ranks))[:count])


def _nearest(a: Parts, b: Parts) -> np.ndarray:
    """Distance of each row of ``a`` to the nearest of ``b``, (A,)."""
    found = np.full(len(a.ranks), np.inf)
    for start in range(0, len(found), _ROWS):
        rows = slice(start, start + _ROWS)
        for other in range(0, len(b.ranks), _OTHERS):
            far = apart(a.some(rows), b.some(slice(other, other + _OTHERS)))
            found[rows] = np.minimum(found[rows], far.amin(1).numpy())
    return found


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
