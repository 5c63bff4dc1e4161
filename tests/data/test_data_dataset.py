"""The data set: a split that depends on content only, batches that repeat, one fingerprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.data import Source, details, make_dataset, open_data, report
from ornstein.data.dataset import subset
from ornstein.data.splitting import content_keys, split, split_runs
from ornstein.errors import DataError

HERE = Source("made in a test")


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 5, 3)).astype(np.uint8)


@pytest.mark.parametrize(("n", "held"), [(1, 0), (19, 0), (20, 1), (100, 5), (1797, 90)])
def test_five_percent_are_held_out_and_none_of_a_tiny_set(n: int, held: int) -> None:
    data = make_dataset("p", "image", pictures(n), source=HERE)
    assert len(data.heldout) == held
    assert sorted([*data.train, *data.heldout]) == list(range(n))


def test_at_most_ten_thousand_are_held_out() -> None:
    points = np.random.default_rng(0).standard_normal((300_000, 1)).astype(np.float32)
    assert len(split(points)) == 10_000


def test_the_split_follows_the_items_when_their_order_changes() -> None:
    items = pictures(400)
    order = np.random.default_rng(5).permutation(400)
    held = {bytes(item) for item in items[split(items)]}
    assert {bytes(item) for item in items[order][split(items[order])]} == held


def test_exact_copies_are_never_on_both_sides() -> None:
    for seed in range(20):
        items = np.concatenate([pictures(50, seed)] * 4)  # 10 of 200: no multiple of 4
        held = split(items)
        inside = {bytes(item) for item in items[held]}
        outside = {bytes(item) for item in np.delete(items, held, axis=0)}
        assert len(held) > 0
        assert not inside & outside


def test_what_is_there_too_often_is_not_all_that_is_held_out() -> None:
    """A tenth of the pictures are blank: no 5 % hold them all, and a few more are none of them."""
    for seed in range(40):
        items = pictures(300, seed)
        items[:30] = seed
        held = split(items)
        assert len(held) == 15
        assert held.min() >= 30


def test_rows_of_few_words_are_held_out_as_often_as_they_come() -> None:
    """Four different rows: held out were all copies of one, or some of them."""
    chance = np.random.default_rng(0)
    rows = chance.choice(4, 4000, p=(0.4, 0.3, 0.2, 0.1)).astype(np.float64)[:, None]
    held = split(rows)
    assert len(held) == 200
    shares = np.bincount(rows[held, 0].astype(int), minlength=4) / 200
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.1)
    order = chance.permutation(4000)
    again = rows[order][split(rows[order])]
    assert np.bincount(again[:, 0].astype(int)).tolist() == (shares * 200).astype(int).tolist()


def test_items_of_one_run_stay_on_one_side() -> None:
    chance = np.random.default_rng(0)
    lengths = chance.integers(1, 8, 60)
    run = np.repeat(np.arange(60), lengths)
    items = chance.normal(size=(len(run), 3)).astype(np.float32)
    held = split_runs(items, lengths)
    inside = set(run[held].tolist())
    assert not inside & set(np.delete(run, held).tolist())
    assert 0.05 <= len(held) / len(run) < 0.1


def test_of_long_runs_the_ends_are_held_out() -> None:
    items = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    assert split_runs(items, np.array([100, 100, 100])).tolist() == [
        *range(95, 100), *range(195, 200), *range(295, 300),
    ]  # fmt: skip
    assert split_runs(items, np.array([200, 100])).tolist() == [*range(190, 200), *range(295, 300)]
    assert split_runs(items[:19], np.array([10, 9])).tolist() == []


def test_the_split_looks_random() -> None:
    """Held-out points have the mean of all: 500 of N(0, 1) stay within 4 deviations of it."""
    points = np.random.default_rng(3).standard_normal((10_000, 2)).astype(np.float32)
    assert np.abs(points[split(points)].mean(0)).max() < 4 / np.sqrt(500)
    lattice = np.arange(10_000, dtype=np.float32)[:, None]
    assert abs(lattice[split(lattice)].mean() - 5000) < 4 * 2887 / np.sqrt(500)


def test_held_out_numbers_of_a_sequence_are_not_evenly_spaced() -> None:
    """A plain multiplier would leave at most three different gaps (the three-gap theorem)."""
    words = np.arange(10_000, dtype="<u8").view(np.uint8).reshape(-1, 8)
    assert len(np.unique(np.diff(split(words)))) > 20


def test_content_keys_tell_any_two_items_apart_that_differ_in_one_bit() -> None:
    base = np.zeros((1 + 8 * 11, 11), np.uint8)
    for bit in range(8 * 11):
        base[1 + bit, bit // 8] = 1 << (bit % 8)
    assert len(np.unique(content_keys(base))) == len(base)


def test_a_batch_is_the_same_bits_each_time_from_memory_and_from_a_file(tmp_path: Path) -> None:
    items = pictures(50)
    np.save(tmp_path / "p.npy", items[:, 0])
    resident = make_dataset("p", "image", items, source=HERE)
    mapped = open_data(tmp_path / "p.npy")
    index = torch.tensor([3, 3, 49, 0])
    assert torch.equal(resident.batch(index), resident.batch([3, 3, 49, 0]))
    assert torch.equal(resident.batch(index), mapped.batch(index.numpy()))
    assert isinstance(mapped.items, np.memmap)
    assert resident.fingerprint == mapped.fingerprint


def test_the_fingerprint_changes_with_one_bit_one_label_or_the_split() -> None:
    items, labels = pictures(50), np.arange(50) % 2

    def print_of(items: np.ndarray, labels: np.ndarray | None, held: list[int]) -> str:
        return make_dataset(
            "p",
            "image",
            items,
            labels=labels,
            classes=("a", "b"),
            heldout=np.array(held),
            source=HERE,
        ).fingerprint

    first = print_of(items, labels, [1, 2])
    assert print_of(items.copy(), labels.copy(), [2, 1]) == first
    flipped, other = items.copy(), labels.copy()
    flipped[7, 0, 0, 0] ^= 1
    other[3] = 1 - other[3]
    prints = {
        first,
        print_of(flipped, labels, [1, 2]),
        print_of(items, other, [1, 2]),
        print_of(items, None, [1, 2]),
        print_of(items, labels, [1, 3]),
    }
    assert len(prints) == 5


def test_a_subset_keeps_each_item_on_its_side_and_spreads_over_the_classes() -> None:
    items, labels = pictures(1000), np.repeat(np.arange(10), 100)
    whole = make_dataset(
        "p", "image", items, labels=labels, classes=tuple("abcdefghij"), source=HERE
    )
    small = subset(whole, 300)
    assert len(small) == 300
    assert len(np.unique(small.labels)) == 10
    held = {bytes(item) for item in whole.raw(whole.heldout)}
    assert {bytes(item) for item in small.raw(small.heldout)} <= held
    assert not {bytes(item) for item in small.raw(small.train)} & held


def test_no_data_is_refused() -> None:
    with pytest.raises(DataError, match="no data"):
        make_dataset("p", "image", pictures(0), source=HERE)


def test_data_of_which_all_are_held_out_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.zeros((0, 2)), x_test=np.ones((5, 2)))
    with pytest.raises(DataError, match="holds no training items"):
        open_data(tmp_path / "d.npz")


def test_a_report_tells_of_held_out_items_that_are_learned_too(tmp_path: Path) -> None:
    """An official test set may hold what is in the training set."""
    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    np.savez(
        tmp_path / "d.npz", x_train=points, x_test=np.concatenate([points[:6], points[:1] + 1])
    )
    data = open_data(tmp_path / "d.npz")
    assert any("equal to a training item: 6 of 7 held-out items" in line for line in report(data))
    assert details(data)["heldout_copies"] == 6
