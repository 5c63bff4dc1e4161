"""Checks of made tables, each against an independent implementation."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, spearmanr
from scipy.stats.contingency import association, crosstab

from ornstein.data.splitting import split
from ornstein.errors import UsageError
from ornstein.evaluate.rows import Parts, apart, closest, detection, features, utility
from ornstein.evaluate.tables import Schema, associations, marginals

SCHEMA = Schema(("x", "y", "town", "ill"), (0, 0, 3, 2))


def rows(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Two numbers and two categories that hang together, some cells missing."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(shift, 1, n), 1)
    town = rng.integers(3, size=n)
    y = np.round(np.exp(x) + town + rng.normal(0, 0.5, n), 1)
    ill = rng.random(n) < 1 / (1 + np.exp(-3 * (x + town - 1)))
    made = np.stack([x, y, town, ill], 1).astype(float)
    made[rng.random(made.shape) < 0.05] = np.nan
    return made


REAL, MADE = rows(400, 0), rows(300, 1, shift=0.3)


def known(table: np.ndarray, *columns: int) -> np.ndarray:
    part = table[:, columns]
    return part[~np.isnan(part).any(1)].T


def test_marginals_are_scipys_ks_and_half_the_sum_of_share_differences() -> None:
    found = {row.name: row for row in marginals(REAL, MADE, SCHEMA)}
    for k, name in enumerate("xy"):
        theirs = ks_2samp(known(REAL, k)[0], known(MADE, k)[0]).statistic
        assert (found[name].measure, found[name].distance) == ("KS", pytest.approx(theirs))
    shares = [[(known(t, 2)[0] == w).mean() for w in range(3)] for t in (REAL, MADE)]
    assert found["town"].measure == "TV"
    assert found["town"].distance == pytest.approx(np.abs(np.diff(shares, axis=0)).sum() / 2)
    gaps = np.isnan(MADE[:, 0]).mean() - np.isnan(REAL[:, 0]).mean()
    assert found["x"].missing == pytest.approx(gaps)


def test_a_column_that_is_empty_on_one_side_is_as_far_as_can_be() -> None:
    empty = REAL.copy()
    empty[:, :] = np.nan
    assert [row.distance for row in marginals(REAL, empty, SCHEMA)] == [1, 1, 0.5, 0.5]


def test_associations_are_spearman_eta_and_cramers_v() -> None:
    found = {pair.names: pair for pair in associations(REAL, MADE, SCHEMA)}
    assert len(found) == 6
    pair = found["x", "y"]
    assert pair.measure == "Spearman"
    assert pair.real == pytest.approx(spearmanr(*known(REAL, 0, 1)).statistic)
    assert pair.made == pytest.approx(spearmanr(*known(MADE, 0, 1)).statistic)
    pair = found["town", "ill"]
    counts = crosstab(*known(REAL, 2, 3)).count
    assert (pair.measure, pair.real) == ("Cramer", pytest.approx(association(counts)))


def test_eta_is_the_share_of_the_variance_of_ranks_between_words() -> None:
    """By the law of total variance: 1 - within/total."""
    from scipy.stats import rankdata

    pair = next(p for p in associations(REAL, MADE, SCHEMA) if p.names == ("y", "town"))
    y, town = known(REAL, 1, 2)
    ranks = rankdata(y)
    within = sum(ranks[town == w].var() * (town == w).mean() for w in range(3))
    assert (pair.measure, pair.real) == ("eta", pytest.approx(np.sqrt(1 - within / ranks.var())))


def test_rows_are_as_far_apart_as_gower_says() -> None:
    """Numbers: difference of ranks; words: 0 or 1; missing beside known: at least a half.

    1 is there twice, so that the middle of its ranks lies at a quarter.
    """
    schema = Schema(("x", "town"), (0, 3))
    table = np.array([[1.0, 0], [2, 1], [3, 2], [np.nan, 0], [1, np.nan]])
    (found,) = features([table], schema)
    far = apart(found, found).numpy()
    assert far[0, 1] == pytest.approx((5 / 2 - 1) / 4 + 1)
    assert far[0, 2] == pytest.approx((7 / 2 - 1) / 4 + 1)
    assert far[0, 3] == pytest.approx(1 / 4 + 0.5)
    assert far[0, 4] == 1
    assert np.diag(far).tolist() == [0] * 5
    np.testing.assert_array_equal(far, far.T)


def test_copies_are_found_and_fresh_rows_are_as_close_as_held_out_ones() -> None:
    train, held = rows(400, 5), rows(400, 6)
    fresh = closest(train, held, rows(300, 7), SCHEMA)
    assert fresh.closer == pytest.approx(0.5, abs=0.08)
    assert fresh.copies <= fresh.control + 0.03
    assert fresh.distance == pytest.approx(fresh.usual, rel=0.25)
    copied = closest(train, held, train[:300], SCHEMA)
    assert copied.copies == 1
    assert copied.closer > 0.9
    assert copied.distance == 0
    with pytest.raises(UsageError, match="held-out rows"):
        closest(train, held[:0], train, SCHEMA)


def test_rows_that_their_law_repeats_are_not_called_remembered() -> None:
    """Equal rows stay on one side of the split, so that no held-out row equals a training row."""
    schema = Schema(("a", "b", "c"), (4, 4, 4))
    closer = []
    for seed in range(20):
        table = np.random.default_rng(seed).choice(4, (1300, 3), p=[0.4, 0.3, 0.2, 0.1])
        held = split(table[:1000])
        train = np.setdiff1d(np.arange(1000), held)
        real = table.astype(float)
        found = closest(real[train], real[held], real[1000:], schema, seed)
        assert found.copies > 0.8
        assert found.copies <= found.control + 0.03
        closer.append(found.closer)
    assert np.mean(closer) == pytest.approx(0.5, abs=0.1)


def test_words_that_are_thousands_fill_no_memory() -> None:
    """One row for each word, or a table of words by words, would be 3 GB."""
    schema = Schema(("x", "street", "surname"), (0, 20_000, 20_000))
    rng = np.random.default_rng(0)
    street = rng.integers(20_000, size=300)
    table = np.stack([rng.normal(size=300), street, street[::-1]], 1).astype(float)
    tracemalloc.start()
    found = closest(table[:200], table[200:250], table[250:], schema)
    pairs = {p.names: p.real for p in associations(table[:200], table[200:], schema)}
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6
    assert found.copies == 0
    assert pairs["street", "surname"] > 0.9  # nearly all words are there once


def test_of_very_many_rows_some_thousands_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million training rows beside ten thousand made ones would take hours."""
    train, held, new = rows(1000, 5), rows(900, 6), rows(900, 7)
    whole, pairs = closest(train, held, new, SCHEMA), associations(train, new, SCHEMA)
    compared, tables = [], sys.modules[associations.__module__]
    module = sys.modules[closest.__module__]

    def counted(a: Parts, b: Parts) -> torch.Tensor:
        compared.append(len(a.ranks) * len(b.ranks))
        return apart(a, b)

    monkeypatch.setattr(module, "apart", counted)
    monkeypatch.setattr(module, "MOST", 250)
    some = closest(train, held, new, SCHEMA)
    assert sum(compared) <= 250 * (2 * 900 + 2 * 1000)
    assert (some.copies, some.control) == (whole.copies, whole.control)  # those are of all rows
    assert some[2:] == pytest.approx(whole[2:], rel=0.25)
    monkeypatch.setattr(tables, "LEAST_ROWS", 400)
    monkeypatch.setattr(tables, "WORK", 6 * 400)
    for one, other in zip(pairs, associations(train, new, SCHEMA), strict=True):
        assert other.real == pytest.approx(one.real, abs=0.15)
        assert other.real != one.real


def test_a_classifier_tells_rows_of_another_law_and_not_those_of_the_same() -> None:
    assert detection(rows(400, 2), rows(400, 3), SCHEMA) == pytest.approx(0.5, abs=0.08)
    apart = rows(400, 3)
    apart[:, 1] = np.random.default_rng(0).permutation(apart[:, 1])  # same marginals
    assert detection(rows(400, 2), apart, SCHEMA) > 0.7


def test_rows_of_use_foretell_as_well_as_real_ones() -> None:
    test, same = rows(400, 8), rows(400, 9)
    useless = same.copy()
    useless[:, 1] = np.random.default_rng(0).permutation(useless[:, 1])
    assert utility(same, test, SCHEMA, "y") > 0.6
    assert utility(useless, test, SCHEMA, "y") < 0.1
    assert utility(same, test, SCHEMA, "ill") > 0.7
    with pytest.raises(UsageError, match="no column 'z'"):
        utility(same, test, SCHEMA, "z")
