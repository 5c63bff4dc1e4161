"""Noise by counters: the same for an item in any batch, and normal (PEERS law 4)."""

from __future__ import annotations

import math

import pytest
import torch

from ornstein.core import ItemNoise, item_normal, key


def test_an_item_has_the_same_noise_in_any_batch_and_order() -> None:
    shape = (3, 5, 7)
    whole = item_normal(7, range(70), shape, step=3)
    for items in ([0], [69], [13, 2, 40], list(range(69, -1, -1)), list(range(5, 12))):
        assert torch.equal(item_normal(7, items, shape, step=3), whole[items])


def test_big_batches_are_cut_without_a_trace() -> None:
    shape = (1 << 15,)
    whole = item_normal(0, range(20), shape)
    assert torch.equal(whole[17:18], item_normal(0, [17], shape))


def test_each_of_seed_item_step_and_stream_changes_the_noise() -> None:
    base = item_normal(0, [0], (64,))
    others = [
        item_normal(1, [0], (64,)),
        item_normal(0, [1], (64,)),
        item_normal(0, [0], (64,), step=1),
        item_normal(0, [0], (64,), stream="start"),
        item_normal(2**32, [0], (64,)),  # torch's CPU generator sees no difference to 0
        item_normal(-1, [0], (64,)),
    ]
    rows = torch.cat([base, *others])
    away = torch.corrcoef(rows) - torch.eye(len(rows))
    assert float(away.abs().max()) < 0.6


def test_draws_of_a_step_differ_and_come_back_in_order() -> None:
    x = torch.zeros(2, 4, dtype=torch.float64)
    draw = ItemNoise(5, [3, 8]).at(2)
    first, second = draw(x), draw(x)
    assert not torch.equal(first, second)
    assert first.dtype == torch.float64
    again = ItemNoise(5, [8]).at(2)
    assert torch.equal(again(x[:1]), first[1:])
    assert torch.equal(again(x[:1]), second[1:])
    assert not torch.equal(ItemNoise(5, [3, 8]).start((4,)).double(), first)


def test_keys_of_simple_sequences_do_not_collide() -> None:
    seen = {key(seed, "noise", step, item)
            for seed in range(10) for step in range(100) for item in range(100)}  # fmt: skip
    assert len(seen) == 100_000
    alike = [key(1), key("1"), key(-1), key(2**64 - 1), key(2**64), key(0, 1), key(1, 0),
             key(10), key(1, 0, 0), key("a"), key(97), key("a", "b"), key("ab"), key("a,b"),
             key("a','b")]  # fmt: skip
    assert len(set(alike)) == len(alike)
    assert all(0 <= word < 2**63 for word in alike)


def test_the_low_32_bits_of_keys_are_as_good_as_random() -> None:
    low = torch.tensor([key(0, item) & 0xFFFF for item in range(65536)])
    # Throwing 65536 balls into as many boxes leaves 1/e of them empty, ± 4 deviations.
    empty = 65536 - len(low.unique())
    assert empty / 65536 == pytest.approx(math.exp(-1), abs=4 * 0.31 / 256)


@pytest.mark.parametrize("shape", [(1,), (101,), (4096,)])
def test_noise_is_standard_normal(shape: tuple[int, ...]) -> None:
    count = 400_000
    z = item_normal(11, range(count // shape[0]), shape).double().flatten()
    n = len(z)
    # Moments 1 to 4 of a standard normal, each within 4 standard errors.
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert float((z**power).mean()) == pytest.approx(moment, abs=4 * math.sqrt(spread / n))
    # Kolmogorov's distance to the normal law, at the one-in-a-thousand level.
    ranks = torch.arange(1, n + 1, dtype=torch.float64) / n
    distance = (torch.special.ndtr(z.sort().values) - ranks).abs().max()
    assert float(distance) < 1.95 / math.sqrt(n) + 1 / n
    assert 4 < float(z.abs().max()) < 6.8


def test_noise_has_the_digits_of_float32() -> None:
    """A peer draws it in the precision of the weights; of half the digits few numbers are left."""
    z = item_normal(3, range(20), (1000,))
    assert z.dtype == torch.float32
    for half in (torch.float16, torch.bfloat16):
        assert float((z.to(half).float() == z).float().mean()) < 0.01


def test_neighbouring_numbers_rows_and_halves_do_not_correlate() -> None:
    z = item_normal(0, range(400), (1000,)).double()
    n = z.numel()
    pairs = [(z[:, 1:], z[:, :-1]), (z[1:], z[:-1]), (z[:, 500:], z[:, :500])]
    for one, two in pairs:
        assert abs(float((one * two).mean())) < 4 / math.sqrt(n / 2)
        assert float((one**2 * two**2).mean()) == pytest.approx(1, abs=4 * 3 / math.sqrt(n / 2))


def test_an_empty_batch_is_an_empty_tensor() -> None:
    assert item_normal(0, [], (3, 2)).shape == (0, 3, 2)
