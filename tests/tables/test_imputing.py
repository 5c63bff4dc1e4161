"""Gaps filled: from the right law, every known cell as it was (E3)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.bundle import Bundle
from ornstein.core import TARGETS, Denoiser, Estimate, Gaussian, Level, from_x0
from ornstein.data import Coding, Dataset, open_data
from ornstein.editing import Ask, impute, impute_long
from ornstein.errors import UsageError
from ornstein.model import Model
from ornstein.nets import NETS

RHO = 0.9


def exact(coding: Coding, shape: tuple[int, ...], covariance: Tensor) -> Bundle:
    """A bundle whose denoiser is exact for Gaussian codes of this covariance."""
    law = Gaussian(torch.zeros(len(covariance)), covariance)

    def answer(x: Tensor, level: Level) -> Estimate:
        found = law(x.flatten(1), level)
        return Estimate(found.x0.reshape(x.shape), found.eps.reshape(x.shape), None)

    def denoiser(*_: object, **__: object) -> Denoiser:
        return answer

    net = NETS["mlp"]((len(covariance),), width=8, layers=1)
    bundle = Bundle(Model(net, TARGETS["edm"]()), "mlp", "edm", "edm", coding, shape)
    object.__setattr__(bundle, "denoiser", denoiser)
    return bundle


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two columns whose normal scores have correlation RHO; neither column is normal itself."""
    x, y = np.random.default_rng(0).multivariate_normal([0, 0], [[1, RHO], [RHO, 1]], 4000).T
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    rows = [f"{a!r},{b!r}" for a, b in zip(np.exp(x).tolist(), (y**3).tolist(), strict=True)]
    path.write_text("x,y\n" + "\n".join(rows) + "\n")
    return open_data(path)


def test_a_cell_is_filled_from_its_law_given_the_others(pairs: Dataset) -> None:
    """Given x the score of y is normal with mean RHO·z(x) and variance 1 - RHO²."""
    bundle = exact(pairs.coding, (2,), torch.tensor([[1, RHO], [RHO, 1]]))
    rows = np.repeat([[np.exp(1.2), np.nan]], 400, 0)
    done = impute(bundle, rows, Ask(n=2, sampler=bundle.how(steps=40)))
    scores = pairs.coding.encode(done.draws.reshape(-1, 2))[:, 1]
    assert float(scores.mean()) == pytest.approx(RHO * 1.2, abs=0.06)
    assert float(scores.std()) == pytest.approx((1 - RHO**2) ** 0.5, rel=0.1)
    assert (done.draws[:, :, 0] == np.exp(1.2)).all()
    assert done.gaps.sum() == 400


def test_draws_differ_and_none_depends_on_their_number_or_on_other_rows(pairs: Dataset) -> None:
    bundle = exact(pairs.coding, (2,), torch.tensor([[1, RHO], [RHO, 1]]))
    rows = np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, 1.0], [np.nan, np.nan]])
    many, few = (impute(bundle, rows, Ask(n=n, seed=5)).draws for n in (3, 1))
    assert (many[0] == few[0]).all()
    assert not (many[0, [0, 2, 3]] == many[1, [0, 2, 3]]).all(1).any()
    assert (many[:, 1] == rows[1]).all()
    more = np.where(np.isnan(rows), rows, [[1.0, 2.0], [2.0, np.nan], [1.0, 1.0], [1.0, 1.0]])
    assert (impute(bundle, more, Ask(n=1, seed=5)).draws[0, 2] == few[0, 2]).all()
    less = impute(bundle, rows[:1], Ask(n=1, seed=5)).draws
    assert (less[0] == few[0, :1]).all()


def test_large_items_are_filled_a_few_at_a_time_and_each_as_if_alone() -> None:
    """A gradient keeps all activations of a piece: tens of GB for 512 pictures of 3x64x64."""
    asked: list[int] = []

    def answer(x: Tensor, level: Level) -> Estimate:
        asked.append(len(x))
        return from_x0(x * 0.5, x, level)

    def made(shape: tuple[int, ...], count: int) -> np.ndarray:
        asked.clear()
        net = NETS["mlp"]((2,), width=8, layers=1)
        coding = Coding((0.0,) * shape[0], (1.0,) * shape[0], "image")
        bundle = Bundle(Model(net, TARGETS["edm"]()), "mlp", "edm", "edm", coding, shape)
        object.__setattr__(bundle, "denoiser", lambda *_: answer)
        items = np.linspace(-1, 1, 40 * prod(shape), dtype=np.float32).reshape(40, *shape)
        items[:, :, :2] = np.nan
        way = bundle.how(steps=2, solver="ddim")
        return impute(bundle, items[:count], Ask(n=1, sampler=way, method="mmps")).draws[0]

    whole = made((3, 64, 64), 40)
    assert set(asked) == {16}
    assert np.array_equal(whole[:1], made((3, 64, 64), 1))
    made((1, 8, 8), 40)
    assert set(asked) == {48}


def test_a_filled_cell_is_never_missing_even_where_the_table_has_gaps(tmp_path: Path) -> None:
    rows = "".join(f"{k % 7},{'' if k % 3 else k}\n" for k in range(90))
    (tmp_path / "t.csv").write_text("a,b\n" + rows)
    data = open_data(tmp_path / "t.csv")
    bundle = exact(data.coding, data.shape, torch.eye(data.dims))
    assert np.isnan(data.items).sum() == 60
    assert not np.isnan(impute(bundle, data.items, Ask(n=2)).draws).any()


def test_each_row_is_filled_as_one_of_its_own_class(tmp_path: Path) -> None:
    rows = "".join(f"{k % 7},{k % 5},{'uvw'[k % 3]}\n" for k in range(90))
    (tmp_path / "t.csv").write_text("a,b,sort\n" + rows)
    data = open_data(tmp_path / "t.csv", label="sort")
    bundle = exact(data.coding, data.shape, torch.eye(data.dims))
    heard, answer = [], bundle.denoiser

    def denoiser(cond: Mapping[str, Tensor], *rest: object) -> Denoiser:
        heard.append(cond)
        return answer(cond, *rest)  # type: ignore[arg-type]

    object.__setattr__(bundle, "denoiser", denoiser)
    holes = data.items[[2, 0, 1, 1]].copy()
    holes[:, 0] = np.nan
    impute(bundle, holes, Ask(n=1))
    assert heard[-1]["class"][:4].tolist() == [2, 0, 1, 1]


def series(length: int) -> Bundle:
    """Windows of 16 numbers of an exact AR(1) process of correlation RHO."""
    apart = (torch.arange(16)[:, None] - torch.arange(16)).abs()
    coding = Coding((0.0,), (1.0,), "series")
    return exact(coding, (1, 16), torch.tensor(RHO) ** apart)


def test_a_gap_of_a_long_series_is_filled_from_both_sides() -> None:
    """Between two known neighbours an AR(1) has mean RHO·(a + b)/(1 + RHO²)."""
    time = np.zeros((1, 60), np.float32)
    time[0, 30:] = 2.0
    time[0, 30] = np.nan
    draws = impute_long(series(16), time, Ask(n=500)).draws
    assert float(draws[:, 0, 30].mean()) == pytest.approx(RHO * 2 / (1 + RHO**2), abs=0.06)
    variance = (1 - RHO**2) / (1 + RHO**2)
    assert float(draws[:, 0, 30].var()) == pytest.approx(variance, rel=0.2)
    known = ~np.isnan(time[0])
    assert (draws[:, 0, known] == time[0, known]).all()


@pytest.mark.parametrize(("first", "last"), [(0, 3), (55, 60), (10, 50), (0, 60)])
def test_gaps_at_the_ends_and_longer_than_a_window_are_filled(first: int, last: int) -> None:
    """Neighbours in what was filled hang together: 2·(1 - RHO) if known ones are far, not 2."""
    time = np.zeros((1, 60), np.float32)
    time[0, first:last] = np.nan
    draws = impute_long(series(16), time, Ask(n=300)).draws[:, 0]
    assert np.isfinite(draws).all()
    steps = np.diff(draws[:, first:last], axis=1)
    middle = steps[:, len(steps[0]) // 2]
    assert float(middle.var()) < 1.75 * 2 * (1 - RHO)


def test_nothing_to_fill_is_said(pairs: Dataset) -> None:
    bundle = exact(pairs.coding, (2,), torch.eye(2))
    with pytest.raises(UsageError, match="nothing is missing"):
        impute(bundle, pairs.items[:5], Ask())
    with pytest.raises(UsageError, match="nothing is missing"):
        impute_long(series(16), np.zeros((1, 60)), Ask())


def test_infinite_values_are_refused(pairs: Dataset) -> None:
    bundle = exact(pairs.coding, (2,), torch.eye(2))
    with pytest.raises(UsageError, match="infinite values; give numbers"):
        impute(bundle, np.array([[np.inf, np.nan], [1.0, 2.0]]), Ask(1))
    with pytest.raises(UsageError, match="infinite values; give numbers"):
        impute_long(series(16), np.array([[np.inf, -np.inf, np.nan] * 20])[:, :20], Ask(1))
