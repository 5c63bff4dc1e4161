"""The coding of a table: an exact way there and back, and codes of the right law."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from ornstein.data import Dataset, open_data
from ornstein.data.codings import coding_from_json
from ornstein.data.tables import Table
from ornstein.data.tables.quantiles import measure_quantiles

RNG = np.random.default_rng(7)
N = 400


def people() -> list[list[str]]:
    """Rows of every type of column, with gaps in three of them."""
    rain = np.where(RNG.random(N) < 0.6, 0.0, np.round(RNG.gamma(1.0, 8.0, N), 1))
    first = np.datetime64("2019-03-01T00:00")
    rows = [["age", "height", "rain", "wage", "zip", "town", "ill", "born", "seen", "land"]]
    for k in range(N):
        rows.append([
            str(int(RNG.normal(45, 12))) if k % 17 else "",
            f"{RNG.normal(1.7, 0.1):.2f}",
            f"{rain[k]:.1f}",
            repr(float(np.exp(RNG.normal(3, 1)))),
            f"{RNG.choice([1067, 4109, 10115, 80331]):05d}",
            str(RNG.choice(["Köln", "Ulm", "東京"])) if k % 11 else "",
            str(RNG.choice(["yes", "no"])),
            str(np.datetime64("1950-01-01") + int(RNG.integers(0, 20_000))),
            str(first + np.timedelta64(15 * int(RNG.integers(0, 9000)), "m")) if k % 5 else "",
            "DE",
        ])  # fmt: skip
    return rows


def written(path: Path, rows: list[list[str]], separator: str = ",") -> Path:
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    return people()


@pytest.fixture(scope="module")
def data(rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_data(written(tmp_path_factory.mktemp("table") / "people.csv", rows))


def test_every_cell_comes_back_as_it_was_written(data: Dataset, rows: list[list[str]]) -> None:
    """The whole way: text, value, code, value, text."""
    assert isinstance(data.coding, Table)
    back = data.coding.decode(data.batch(np.arange(N)))
    cells = [list(row) for row in data.coding.cells(back)]
    wage = rows[0].index("wage")  # 17 digits, of which float32 codes hold 6
    for got, row in zip(cells, rows[1:], strict=True):
        assert float(got.pop(wage)) == pytest.approx(float(row[wage]), rel=1e-5)
        assert got == row[:wage] + row[wage + 1 :]


def test_types_are_told_from_the_cells(data: Dataset) -> None:
    assert isinstance(data.coding, Table)
    assert [column.type for column in data.coding.columns] == [
        "integer", "number", "number", "number", "category", "category", "boolean", "date",
        "date", "constant",
    ]  # fmt: skip


def test_codes_have_mean_0_and_deviation_1_where_they_say_something(data: Dataset) -> None:
    assert isinstance(data.coding, Table)
    x = data.batch(data.train)
    assert x.mean(0).abs().max() < 1e-5
    # Where a value is missing its code is 0, which takes its share of the variance.
    gaps = np.isnan(data.items[data.train]).mean(0)
    for share, (column, span) in zip(gaps, data.coding.spans(), strict=True):
        own = x[:, span][:, : column.width].numpy()
        assert own.var(0) == pytest.approx(1 - share, abs=0.01)


def test_held_out_rows_say_nothing_of_what_is_learned_of_a_column(data: Dataset) -> None:
    """Only the range is that of all rows, so that every cell of them can be written."""
    assert isinstance(data.coding, Table)
    items = data.items.copy()
    items[data.heldout] = items[data.train[0]]
    again = data.coding.measured(items, data.train)
    assert isinstance(again, Table)
    assert (again.mean, again.std) == (data.coding.mean, data.coding.std)
    for mine, theirs in zip(again.columns, data.coding.columns, strict=True):
        assert getattr(mine, "map", None) == getattr(theirs, "map", None)


def test_a_column_without_ties_becomes_normal() -> None:
    numbers = np.exp(RNG.normal(0, 2, 5000))
    codes = measure_quantiles(numbers, 0.0).code(numbers)
    assert kstest(codes, "norm").statistic < 0.01


def test_a_number_that_comes_often_takes_the_codes_of_its_probability() -> None:
    """0 with probability 0.6: codes below the 0.6 quantile of a normal are 0, all others not."""
    numbers = np.where(np.arange(1000) < 600, 0.0, np.round(1 + RNG.gamma(1.0, 8.0, 1000), 1))
    made = measure_quantiles(numbers, 0.1)
    edge = norm.ppf(0.6)
    low, high = made.number(np.array([edge - 0.02, edge + 0.02]))
    assert abs(low) < 0.05
    assert high > 0.9
    assert made.code(np.array([0.0]))[0] == pytest.approx(norm.ppf(0.3), abs=0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=60),
    st.sampled_from([1.0, 0.01, 1000.0]),
)
def test_rounded_numbers_survive_float32_codes(numbers: list[int], scale: float) -> None:
    values = np.array(numbers) * scale
    made = measure_quantiles(values, scale)
    back = made.number(made.code(values).astype(np.float32).astype(np.float64))
    assert np.rint(back / scale).astype(int).tolist() == numbers


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=50))
def test_the_map_of_any_numbers_rises_and_is_finite(numbers: list[float]) -> None:
    made = measure_quantiles(np.array(numbers), 0.0)
    codes = made.code(np.sort(numbers))
    assert np.isfinite(codes).all()
    assert (np.diff(codes) >= 0).all()
    assert np.isfinite(made.number(np.linspace(-20, 20, 101))).all()


def test_any_codes_give_cells_that_the_table_could_hold(data: Dataset) -> None:
    """Samples never leave the range, the precision or the words that were seen."""
    assert isinstance(data.coding, Table)
    x = 3 * torch.randn(500, *data.shape, generator=torch.Generator().manual_seed(1))
    made = data.coding.decode(x)
    for k in range(len(data.coding.columns)):
        seen, got = data.items[:, k], made[:, k]
        assert np.nanmin(got) >= np.nanmin(seen)
        assert np.nanmax(got) <= np.nanmax(seen)
        assert np.isnan(got).any() == np.isnan(seen).any()
    again = data.coding.parse(data.coding.cells(made), range(500), "samples")
    wage = [column.name for column in data.coding.columns].index("wage")
    assert np.delete(again, wage, 1) == pytest.approx(np.delete(made, wage, 1), nan_ok=True)


def test_the_coordinate_of_gaps_alone_says_where_they_are(data: Dataset) -> None:
    assert isinstance(data.coding, Table)
    at = next(span.stop - 1 for column, span in data.coding.spans() if column.name == "age")
    x, mean, std = data.batch(np.arange(N)), data.coding.mean[at], data.coding.std[at]
    x[:, at] = (-(x[:, at] * std + mean) - mean) / std
    back = data.coding.decode(x)[:, 0]
    assert (np.isnan(back) == ~np.isnan(data.items[:, 0])).all()


def test_many_categories_are_binary_digits_and_come_back(tmp_path: Path) -> None:
    """Analog bits (arXiv:2208.04202): 100 words take 7 codes; the nearest word is meant."""
    words = [f"w{k:03d}" for k in range(100)]
    path = written(tmp_path / "many.csv", [["word"], *([word] for word in words * 5)])
    data = open_data(path)
    x = data.batch(np.arange(500))
    assert data.shape == (7,)
    noisy = x + 0.4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert (data.coding.decode(noisy) == data.items).all()


def test_a_coding_survives_json_and_codes_the_same(data: Dataset) -> None:
    again = coding_from_json(json.loads(json.dumps(data.coding.to_json(), allow_nan=False)))
    assert again == data.coding
    assert torch.equal(again.encode(data.items), data.coding.encode(data.items))


def test_a_posed_row_knows_that_its_gaps_have_values(data: Dataset) -> None:
    assert isinstance(data.coding, Table)
    rows = data.items[~np.isnan(data.items).any(1)][:3].copy()
    rows[:, [0, 5]] = np.nan
    codes, seen = data.coding.posed(rows)
    for name, count in (("age", 1), ("town", 3)):
        span = next(span for column, span in data.coding.spans() if column.name == name)
        assert seen[:, span].sum(1).tolist() == [1, 1, 1]
        assert span.stop - span.start == count + 1
        assert (codes[:, span.stop - 1] > 0).all()
    assert seen.sum() == seen.numel() - 3 * 4


def test_numbers_as_computed_keep_their_decimal_comma(tmp_path: Path) -> None:
    """As pandas writes doubles with decimal=","; seventeen digits were read with a point."""
    values = (np.random.default_rng(0).normal(size=50) / 7).tolist()
    rows = [["a", "b"], *[[repr(v).replace(".", ","), str(k % 5)] for k, v in enumerate(values)]]
    data = open_data(written(tmp_path / "x.csv", rows, ";"))
    np.testing.assert_array_equal(data.items[:, 0], values)
    (made,) = data.coding.files(data.items, "x").values()
    assert made.decode().splitlines() == [";".join(row) for row in rows]
    assert coding_from_json(json.loads(json.dumps(data.coding.to_json()))) == data.coding


def test_parts_of_a_second_are_learned(tmp_path: Path) -> None:
    """Every moment was rounded to a whole second."""
    moments = [f"2024-05-01 10:{k % 60:02}:{7 * k % 60:02}.{25 * (k % 40):03}" for k in range(200)]
    data = open_data(written(tmp_path / "x.csv", [["at", "n"], *[[m, "1.5"] for m in moments]]))
    back = data.coding.decode(data.batch(range(200)))
    assert np.abs(back[:, 0] - data.items[:, 0]).max() < 1e-3
    assert data.coding.cells(data.items)[3][0] == "2024-05-01 10:03:21.075000"
