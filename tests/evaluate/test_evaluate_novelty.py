"""E7: copies are found, new items are not accused, and a contaminated control is noticed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from sklearn.datasets import load_digits
from torch import Tensor

from ornstein.core import EDM, GRIDS, FiniteData, ItemNoise
from ornstein.data import Coding
from ornstein.data.splitting import split
from ornstein.errors import DataError
from ornstein.evaluate import ValueFeatures
from ornstein.evaluate.features import FeatureRows
from ornstein.evaluate.novelty import Novelty, chance_of, near, novelty
from ornstein.solvers import SOLVERS, sample


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Training, held-out and fresh items, in deviations."""
    flat = load_digits().data.astype(np.float32)
    mixed = torch.from_numpy(flat[np.random.default_rng(0).permutation(len(flat))])
    mixed = (mixed - mixed.mean()) / mixed.std()
    return mixed[:1000], mixed[1000:1400], mixed[1400:]


def judged(samples: Tensor, digits: tuple[Tensor, Tensor, Tensor]) -> Novelty:
    return novelty("values", samples, digits[0], digits[1])


def test_a_model_that_can_only_copy_is_found(digits: tuple[Tensor, Tensor, Tensor]) -> None:
    """E7: the exact denoiser of a finite data set, walked by a real solver."""
    train = digits[0]
    process = EDM()
    levels = GRIDS["karras"](process, 12)
    noise = ItemNoise(3, range(200))
    start = noise.start(train.shape[1:]) * float(levels.sigma[0])
    made = sample(FiniteData(train), start, levels, SOLVERS["heun"](), noise)
    found = judged(made.float(), digits)
    assert found.copied > 0.9
    assert found.copies
    assert found.chance < 1e-50
    assert found.by == "held-out items"


def test_new_items_of_the_same_law_are_not_accused(
    digits: tuple[Tensor, Tensor, Tensor],
) -> None:
    found = judged(digits[2], digits)
    assert not found.copies
    assert not found.contaminated
    assert found.copied < 0.03


def test_a_few_copies_among_new_items_are_found(digits: tuple[Tensor, Tensor, Tensor]) -> None:
    some = torch.cat([digits[2][:360], digits[0][:40] + 0.01])
    found = judged(some, digits)
    assert found.copies
    assert found.copied == pytest.approx(0.1, abs=0.03)
    assert found.samples.places[-40:, 0].tolist() == list(range(40))


def test_plain_items_that_lie_near_to_everything_are_not_copies() -> None:
    """Half as wide a law as the data's: all are nearer to the data, and none to one of them."""
    train, held, plain = torch.randn(3, 600, 12, generator=torch.Generator().manual_seed(0))
    found = novelty("values", 0.5 * plain, train, held)
    assert float(found.samples.distance.median()) < 0.8 * float(found.control.distance.median())
    assert not found.copies


def test_held_out_items_that_are_near_copies_are_noticed_and_not_asked(
    digits: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Against such a control every copy would look usual."""
    train, _, fresh = digits
    noise = torch.randn(700, 64, generator=torch.Generator().manual_seed(0))
    planted, copied = train[:400] + 0.02 * noise[:400], train[400:700] + 0.06 * noise[400:]
    found = novelty("values", copied, train, planted)
    assert found.contaminated
    assert found.control_copied > 0.95
    assert found.by == "training items"
    assert found.copied > 0.9
    assert not novelty("values", fresh, train, planted).copies


def one_hot(codes: np.ndarray) -> Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(codes), 4).flatten(1).float()


@pytest.mark.parametrize(("n", "enough"), [(800, False), (2500, True)])
def test_rows_that_their_law_repeats_are_not_called_copies(n: int, enough: bool) -> None:
    """Three categories of four words, all rows of one law; copies stay on one side of the split.

    With 50 held-out rows or more these were the control, and with fewer a threshold of 0.
    """
    codes = np.random.default_rng(n).choice(4, (n + 500, 3), p=[0.4, 0.3, 0.2, 0.1])
    real, made = one_hot(codes[:n]), one_hot(codes[n:])
    held = split(codes[:n])
    train = np.setdiff1d(np.arange(n), held)
    assert (len(held) >= 50) is enough
    found = novelty("values", made, real[train], real[held])
    assert float((found.samples.distance == 0).double().mean()) > 0.8
    assert found.twins > 0.9
    assert found.expected > 0.9
    assert found.by == "training items"
    assert not found.copies
    assert not found.contaminated


@pytest.mark.parametrize("few", [40, 400])
def test_near_copies_are_found_where_some_training_items_repeat(
    few: int, digits: tuple[Tensor, Tensor, Tensor]
) -> None:
    train = torch.cat([digits[0][:500], digits[0][:15]])
    noise = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    found = novelty("values", train[200:400] + 0.01 * noise, train, digits[1][:few])
    assert found.twins == pytest.approx(30 / 515)
    assert found.by == "training items"
    assert found.copied > 0.95
    assert found.copies
    fresh = novelty("values", digits[2], train, digits[1][:few])
    assert not fresh.copies
    assert fresh.expected == pytest.approx(0.07, abs=0.01)  # twins, and 1 % of the others


def test_the_chance_is_that_of_a_beta_binomial_law() -> None:
    for found, n, control in ((1, 50, 90), (7, 300, 400), (30, 1000, 5000)):
        k = max(1, round(control / 100))
        truth = float(betabinom(n, k, control - k + 1).sf(found - 1))
        assert chance_of(found, n, control) == pytest.approx(truth, rel=1e-6)
    assert chance_of(0, 100, 100) == 1.0


def test_the_chance_is_right_for_a_small_control() -> None:
    """Of many pairs of sets of one law, the share with a chance below 5 % is 5 % or less."""
    random = np.random.default_rng(0)
    below = []
    for _ in range(2000):
        control, items = random.standard_exponential(60), random.standard_exponential(200)
        below.append(chance_of(int((items <= control.min()).sum()), 200, 60) < 0.05)
    assert 0.03 < np.mean(below) < 0.055


def test_an_item_is_not_its_own_neighbour_but_its_twin_is() -> None:
    points = torch.tensor([[0.0], [0.0], [1.0], [3.0], [7.0], [7.5]])
    found = near(points, points, itself=True)
    assert found.distance.tolist() == [0, 0, 1, 2, 0.5, 0.5]
    assert found.places[:2, 0].tolist() == [1, 0]


def test_too_few_training_items_are_refused() -> None:
    with pytest.raises(DataError, match="too few"):
        novelty("values", torch.zeros(5, 2), torch.zeros(3, 2), torch.zeros(5, 2))


def test_items_that_are_read_when_they_are_asked_for_give_the_same_answer(
    digits: tuple[Tensor, Tensor, Tensor],
) -> None:
    train, held, fresh = digits
    some = torch.cat([fresh[:300], train[:30] + 0.01])
    truth = novelty("values", some, train, held)
    raw = torch.cat([held, some, train]).numpy()
    values = ValueFeatures(Coding((0.0,) * 64, (1.0,) * 64, "vector"), (64,))
    ends = np.cumsum([0, len(held), len(some), len(train)])
    rows = [FeatureRows(values, raw, np.arange(a, b)) for a, b in pairwise(ends)]
    found = novelty("values", rows[1], rows[2], rows[0])
    assert rows[2].shape == (1000, 64)
    assert found.to_json() == truth.to_json()
    for one, two in ((found.samples, truth.samples), (found.control, truth.control)):
        assert torch.equal(one.relative, two.relative)
        assert torch.equal(one.places[:, 0], two.places[:, 0])
