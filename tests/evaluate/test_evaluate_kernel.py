"""Kernel distance, density and coverage against closed forms, loops, and another library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ornstein.errors import DataError
from ornstein.evaluate import (
    Moments,
    frechet,
    kernel_distance,
    mean_distance,
    nearest,
    neighbours,
    support,
)
from ornstein.evaluate.number import bootstrap


def draws(seed: int, n: int, d: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def law(seed: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, covariance and a factor of it."""
    factor = draws(seed, d, d) / d**0.5 + 0.4 * torch.eye(d, dtype=torch.float64)
    return 0.7 * draws(seed + 1, 1, d)[0], factor @ factor.T, factor


def moments_of(mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E[x], E[x x], E[x x x] of a normal law; the third by Isserlis' theorem."""
    third = torch.einsum("i,j,k->ijk", mean, mean, mean)
    for pattern in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        third = third + torch.einsum(pattern, mean, cov)
    return mean, cov + torch.outer(mean, mean), third


def expected_kernel(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """E[(x·y/d + 1)^3] for independent x and y, by the binomial theorem and their moments."""
    d = len(a[0])
    pairs = zip(moments_of(*a), moments_of(*b), strict=True)
    one, two, three = (float((x * y).sum()) for x, y in pairs)
    return 1 + 3 * one / d + 3 * two / d**2 + three / d**3


def test_the_kernel_distance_of_gaussians_has_its_closed_expectation() -> None:
    """Unbiased: the mean of many small draws, each of 40 and 30 items, is the distance itself."""
    (m, a, f), (n, b, g) = law(0, 5), law(10, 5)
    truth = expected_kernel((m, a), (m, a)) + expected_kernel((n, b), (n, b))
    truth -= 2 * expected_kernel((m, a), (n, b))
    found = [
        kernel_distance(draws(s, 40, 5) @ f.T + m, draws(s + 5000, 30, 5) @ g.T + n).value
        for s in range(1500)
    ]
    error = float(np.std(found)) / len(found) ** 0.5
    assert truth > 20 * error
    assert np.mean(found) == pytest.approx(truth, abs=3.5 * error)


def test_the_kernel_distance_of_equal_laws_is_zero_on_average() -> None:
    found = [kernel_distance(draws(s, 30, 4), draws(s + 3000, 50, 4)).value for s in range(800)]
    assert np.mean(found) == pytest.approx(0, abs=3.5 * float(np.std(found)) / 800**0.5)
    assert min(found) < 0


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_the_stated_error_of_the_kernel_distance_is_its_scatter(shift: float) -> None:
    """Also at the null, where the first order of a U-statistic vanishes."""
    reference = draws(1, 900, 6)
    repeats = [kernel_distance(draws(s, 100, 6) + shift, reference) for s in range(2, 122)]
    scatter = float(np.std([r.value for r in repeats], ddof=1))
    assert np.mean([r.error for r in repeats]) == pytest.approx(scatter, rel=0.3)


def test_kernel_and_frechet_equal_those_of_torchmetrics_on_the_same_features() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance
    kid = pytest.importorskip("torchmetrics.image.kid").KernelInceptionDistance
    own = torch.nn.Flatten()
    one, two = (draws(s, 300, 12).reshape(300, 3, 2, 2).float() for s in (0, 1))
    two = 1.3 * two + 0.4
    own.num_features = 12
    metrics = [fid(own, input_img_size=(3, 2, 2)), kid(own, subsets=1, subset_size=300)]
    for metric in metrics:
        metric.update(one, real=False)
        metric.update(two, real=True)
    a, b = one.flatten(1), two.flatten(1)
    assert frechet(Moments.of(a), Moments.of(b)) == pytest.approx(
        float(metrics[0].compute()), rel=1e-3
    )
    assert kernel_distance(a, b).value == pytest.approx(float(metrics[1].compute()[0]), rel=1e-4)


def test_density_and_coverage_are_those_of_the_definition_counted_one_by_one() -> None:
    """arXiv:2002.09797, eq. 4 and 6, without a matrix."""
    samples, data, k = draws(0, 60, 3) * 1.2 + 0.3, draws(1, 45, 3), 5
    inside, covered, plausible = np.zeros(60), np.zeros(45), np.zeros(60)
    for i, x in enumerate(data):
        far = sorted(float((x - y).norm()) for j, y in enumerate(data) if j != i)
        for j, y in enumerate(samples):
            gap = float((x - y).norm())
            inside[j] += gap <= far[k - 1]
            covered[i] = max(covered[i], gap <= far[k - 1])
            plausible[j] = max(plausible[j], gap <= far[2])
    found = support(samples, data)
    np.testing.assert_allclose(found.density.numpy(), inside / k)
    assert found.covered.tolist() == covered.astype(bool).tolist()
    assert found.plausible.tolist() == plausible.astype(bool).tolist()


def test_a_stray_item_of_the_data_fools_precision_and_not_density() -> None:
    """The point of arXiv:2002.09797: one far item has a ball that reaches everywhere."""
    data = torch.cat([draws(0, 200, 2), torch.tensor([[60.0, 0.0]], dtype=torch.float64)])
    samples = draws(1, 200, 2) + torch.tensor([12.0, 0.0])
    found = support(samples, data)
    assert float(found.plausible.double().mean()) == 1.0
    assert float(found.density.mean()) == pytest.approx(0.2)
    assert float(found.covered.double().mean()) < 0.01


def test_the_mean_distance_of_normal_points_is_known() -> None:
    """Of N(0, 1) in one dimension it is 2 / sqrt(pi)."""
    found = mean_distance(draws(3, 3000, 1))
    assert found.value == pytest.approx(2 / np.pi**0.5, abs=4 * (found.error or 0))
    repeats = [mean_distance(draws(s, 100, 1)) for s in range(200)]
    scatter = float(np.std([r.value for r in repeats]))
    assert np.mean([r.error for r in repeats]) == pytest.approx(scatter, rel=0.25)


def test_the_bootstrap_interval_of_a_mean_holds_it_in_95_of_100_draws() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for k in range(300):
        low, high = bootstrap(torch.from_numpy(random.exponential(size=200)), k).interval or (0, 0)
        hits += low < 1 < high
    assert hits / 300 == pytest.approx(0.94, abs=0.035)


def test_small_distances_to_neighbours_keep_their_digits() -> None:
    """Far from zero the usual |x|² + |y|² - 2xy would lose a distance of 1e-3 altogether."""
    data = draws(0, 500, 8).float() + 1000
    near, place = nearest(data[:50] + 1e-3, data, 3)
    assert place[:, 0].tolist() == list(range(50))
    np.testing.assert_allclose(near[:, 0].numpy(), 1e-3 * 8**0.5, rtol=0.15)


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that is made."""

    most = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, Tensor):
                self.most = max(self.most, each.numel() * each.element_size())
        return made


def test_neighbours_of_large_items_take_little_memory() -> None:
    """55 neighbours of 600 items of 2,000 numbers are 264 MB twice, and 5 GB of a picture."""
    data = draws(0, 700, 2000).float()
    with Largest() as seen:
        near, place = nearest(data[:600], data, 51)
    assert seen.most < 40e6
    assert place[:, 0].tolist() == list(range(600))
    assert float(near[:, 0].max()) == 0


class Pieces:
    """Data that are read when they are asked for, and remember how many were at once."""

    def __init__(self, data: Tensor) -> None:
        self.data, self.most = data, 0

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        found = self.data[rows]
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_neighbours_found_in_pieces_are_those_of_all_distances(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "NUMBERS", 6 * rows)
    data, points = draws(1, 150, 6), draws(2, 40, 6)
    data[90:100] = points[:10]  # copies, far apart from the others that are near
    pieces = Pieces(data)
    near, place = nearest(points, pieces, 12)
    truth = (points[:, None] - data).square().sum(2).sqrt().sort(dim=1)
    np.testing.assert_allclose(near.numpy(), truth.values[:, :12].numpy(), atol=1e-12)
    assert torch.equal(place, truth.indices[:, :12])
    assert pieces.most == rows


def test_features_of_different_extractors_do_not_compare() -> None:
    with pytest.raises(DataError, match="one extractor"):
        kernel_distance(draws(0, 5, 3), draws(1, 5, 4))


@pytest.mark.parametrize("dims", [3, 12, 20, 200])
def test_equal_items_are_no_distance_apart_however_they_are_batched(
    dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a few categories: a ball that holds only copies of its centre has no radius."""
    kinds = 3 * draws(0, 39, dims).float()
    source = torch.Generator().manual_seed(1)
    data, samples = (torch.randint(39, (561,), generator=source) for _ in range(2))
    assert int(data.bincount().min()) > 5
    alike = (samples[:, None] == data).sum(1)  # balls of five neighbours hold copies alone
    for block in (1000, 37, 5):
        monkeypatch.setattr(neighbours, "BLOCK", block)
        found = support(kinds[samples], kinds[data])
        assert bool(found.plausible.all())
        assert bool(found.found.all())
        assert bool(found.covered.all())
        assert torch.equal(found.density, alike / 5)
    assert mean_distance(kinds[:1].expand(60, -1)).value == 0
