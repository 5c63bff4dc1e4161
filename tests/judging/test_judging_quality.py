"""From a model to kept numbers: samples in pieces, stops, reports, boards that mix nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ornstein
from ornstein.bundle import Bundle
from ornstein.core import Denoiser, FiniteData
from ornstein.data import Dataset, open_data
from ornstein.errors import StoppedEarly, UsageError
from ornstein.evaluate import (
    Novelty,
    Reference,
    ValueFeatures,
    neighbours,
    reference_of,
    score,
)
from ornstein.evaluate.extractors import extractor, usual
from ornstein.evaluate.features import Reading
from ornstein.guide import Guide
from ornstein.judging import (
    affording,
    board,
    compare_ways,
    measure,
    measurements,
    pictures,
    plan,
    record,
    samples_of,
)
from ornstein.judging.board import cells, protocol_of
from ornstein.judging.making import Made, classes_of
from ornstein.judging.measuring import Measured, novelties
from ornstein.judging.page import page, told_control, told_novelty
from ornstein.training.disk import make_folder

QUICK = {"batch": 16, "sample.count": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judging") / "runs"
    small = {"net.options": "{widths = [8], blocks = [1], attention = [0]}", "net.name": "unet"}
    ornstein.train("digits", steps=4, settings={**QUICK, **small}, runs=folder)
    ornstein.train("two-moons", steps=4, settings=QUICK, runs=folder)
    return folder


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_data("digits")


@pytest.fixture(scope="module")
def values(digits: Dataset) -> Reference:
    return reference_of(digits, "values")


@pytest.fixture
def bundle(runs: Path) -> Bundle:
    return ornstein.load("digits", runs)


class Copier(Bundle):
    """A model that knows its training items by heart and nothing else."""

    items: torch.Tensor

    def denoiser(self, *_: object, **__: object) -> Denoiser:  # type: ignore[override]
        return FiniteData(self.items)


def copier(bundle: Bundle, data: Dataset) -> Copier:
    made = Copier(**{name: getattr(bundle, name) for name in bundle.__dataclass_fields__})
    object.__setattr__(made, "items", data.batch(data.train))
    return made


def test_samples_are_asked_for_in_the_shares_of_the_classes(
    bundle: Bundle, digits: Dataset, values: Reference
) -> None:
    assert digits.labels is not None
    kept = digits.train[(digits.labels[digits.train] != 3)]
    odd = replace(digits, train=kept)
    asked = classes_of(plan(bundle, odd, values, n=500, batch=40, likelihood=False))
    assert asked is not None
    count = np.bincount(asked, minlength=10)
    truth = np.bincount(digits.labels[kept], minlength=10) / len(kept) * 500
    assert count.sum() == 500
    assert count[3] == 0
    assert np.abs(count - truth).max() < 1


def test_samples_of_all_classes_in_one_batch_are_those_of_each_class_alone(
    bundle: Bundle, digits: Dataset, values: Reference
) -> None:
    way = bundle.how(steps=3, guidance=2.0)
    made = samples_of(plan(bundle, digits, values, sampler=way, n=90, batch=40))
    assert made.asked is not None
    for label in (0, 4, 9):
        (places,) = np.nonzero(made.asked == label)
        alone = bundle.sample(
            len(places), first=int(places[0]), class_name=digits.classes[label], steps=3,
            guidance=2.0,
        )  # fmt: skip
        np.testing.assert_array_equal(made.items[places], alone.items)


def test_samples_stopped_by_ctrl_c_go_on_where_they_stopped(
    bundle: Bundle, digits: Dataset, values: Reference, tmp_path: Path
) -> None:
    made = plan(bundle, digits, values, sampler=bundle.how(steps=3), n=96, batch=16)
    whole = samples_of(made)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StoppedEarly, match=r"of 96 samples\. The same command goes on"):
        samples_of(made, tmp_path, stop)
    stopped = seen[-1]
    rest = samples_of(made, tmp_path, lambda done, total: seen.append(done))
    assert stopped < 96
    assert seen[len(seen) - 1] == 96
    assert min(seen[seen.index(stopped) + 1 :]) > stopped
    np.testing.assert_array_equal(rest.items, whole.items)
    np.testing.assert_array_equal(rest.asked, whole.asked)
    other = samples_of(replace(made, seed=1), tmp_path)  # what was kept is of another seed
    assert not np.array_equal(other.items, whole.items)


def test_more_minutes_buy_a_higher_rung_of_samples_and_none_fewer_than_fifty(
    bundle: Bundle, digits: Dataset, values: Reference
) -> None:
    few, many = (plan(bundle, digits, values, minutes=m).n for m in (1e-4, 1000))
    assert few == 50
    assert many == 10_000


def test_a_model_of_another_shape_is_refused(bundle: Bundle, values: Reference) -> None:
    with pytest.raises(UsageError, match=r"image items of 1x8x8 and 'two-moons' holds vector"):
        plan(bundle, open_data("two-moons"), values)


def test_a_model_that_copies_is_found_and_a_poor_one_is_not_accused(
    bundle: Bundle, digits: Dataset, values: Reference
) -> None:
    """E7, through the whole command: real sampler, real control."""
    for model, copies in ((copier(bundle, digits), True), (bundle, False)):
        made = plan(model, digits, values, n=60, likelihood=False)
        (found,) = measure(made, metrics=("recall",)).novelty
        assert found.copies is copies
        assert (found.copied > 0.9) is copies


def made_up(monkeypatch: pytest.MonkeyPatch, items: np.ndarray) -> None:
    """Let these be the samples that are measured."""
    made = Made(items, None, {}, 0.0)
    monkeypatch.setattr("ornstein.judging.measuring.samples_of", lambda *_: made)


def test_copies_among_many_samples_of_the_last_class_are_found_and_shown(
    bundle: Bundle, digits: Dataset, values: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are made class after class, and 2,000 of them are looked at."""
    random = np.random.default_rng(0)
    new = random.integers(0, int(digits.items.max()) + 1, (2200, *digits.items.shape[1:]))
    copied = np.resize(digits.items[digits.train], (300, *digits.items.shape[1:]))
    made_up(monkeypatch, np.concatenate([new.astype(copied.dtype), copied]))
    found = measure(plan(bundle, digits, values, n=50, likelihood=False), metrics=("recall",))
    (seen,) = found.novelty
    assert seen.copies
    assert seen.copied == pytest.approx(300 / 2500, abs=0.03)
    assert "% of 2,000 samples lie" in told_novelty(seen)
    drawn: list[np.ndarray] = []

    def tiles(found: Measured, items: np.ndarray, limits: np.ndarray) -> np.ndarray:
        drawn.append(items)
        return whole(found, items, limits)

    whole = pictures._tiles
    monkeypatch.setattr(pictures, "_tiles", tiles)
    assert pictures.nearest_sheet(found, seen) is not None
    assert len(drawn) == pictures.ROWS
    for sample, nearest, *_ in drawn:
        np.testing.assert_array_equal(sample, nearest)


def test_the_nearest_training_items_are_found_without_holding_all_of_them(
    bundle: Bundle, digits: Dataset, values: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(bundle, digits, values, n=50, likelihood=False)
    made_up(monkeypatch, digits.items[digits.heldout[:60]])
    truth = measure(made, metrics=("recall",)).novelty[0]
    read, whole = list[int](), ValueFeatures.read

    def watched(self: ValueFeatures, items: np.ndarray) -> Reading:
        read.append(len(items))
        return whole(self, items)

    monkeypatch.setattr(ValueFeatures, "read", watched)
    monkeypatch.setattr(neighbours, "NUMBERS", 100 * 64)
    sides = novelties(made, Made(digits.items[digits.heldout[:60]], None, {}, 0.0), np.arange(60))
    assert sides[0].to_json() == pytest.approx(truth.to_json())
    monkeypatch.setattr(sys.modules[Novelty.__module__], "MOST", 200)
    read.clear()
    novelties(made, Made(digits.items[digits.heldout[:60]], None, {}, 0.0), np.arange(60))
    assert max(read) == 200  # training items that are held against the others


@pytest.mark.parametrize(
    ("solver", "scale", "low", "asked"),
    [("heun", 1.0, 0.0, 19), ("dpm-3", 1.0, 0.0, 28), ("dpmpp-2m", 2.0, 0.01, 19)],
)
def test_the_cost_announced_is_that_of_all_that_the_solver_asks(
    bundle: Bundle, digits: Dataset, values: Reference, monkeypatch: pytest.MonkeyPatch,
    solver: str, scale: float, low: float, asked: int,
) -> None:  # fmt: skip
    """Of a network that takes 2 ms for every row; a last step asks less, and is unguided."""
    clock = [0.0]

    def work(net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        clock[0] += 0.002 * len(inputs[0])

    monkeypatch.setattr(affording, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    bundle.model.net.register_forward_pre_hook(work)
    way = bundle.how(solver=solver, steps=10, guidance=scale, guide=Guide(low=low))
    made = plan(bundle, digits, values, sampler=way, n=64, batch=16)
    assert made.seconds == pytest.approx(64 * asked * 0.002)
    assert made.likelihood_seconds == pytest.approx(made.likelihood * 2 * 100 * 0.002)


def test_samples_of_ten_classes_cost_what_was_announced(
    bundle: Bundle, digits: Dataset, values: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU a batch is filled up to 16 rows, which 20 samples of each class would pay for."""
    clock = [0.0]

    def work(net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        clock[0] += 0.002 * len(inputs[0])

    monkeypatch.setattr(affording, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    bundle.model.net.register_forward_pre_hook(work)
    way = bundle.how(solver="ddim", steps=4, guidance=1.0)
    made = plan(bundle, digits, values, sampler=way, n=200, likelihood=False)
    before = clock[0]
    samples_of(made)
    assert clock[0] - before == pytest.approx(made.seconds)
    assert made.seconds == pytest.approx(0.002 * 4 * (128 + 80))


def test_two_solvers_stand_side_by_side_in_variety(
    bundle: Bundle, digits: Dataset, values: Reference
) -> None:
    """E8: one that repeats one item has no variety, whatever the other has."""
    model = copier(bundle, digits)
    found = measure(plan(model, digits, values, n=60, likelihood=False), metrics=("diversity",))
    dull = copier(bundle, replace(digits, train=digits.train[:1]))
    other = plan(dull, digits, values, sampler=bundle.how(solver="ddpm"), n=60, likelihood=False)
    name, rows = compare_ways(found, other).other or ("", {})
    assert name == "ddpm"
    assert rows["diversity"].value < 0.1 * found.quality.rows["diversity"].value
    assert rows["recall"].value == 0


@pytest.fixture(scope="module")
def board_of_four(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of moons by three protocols, one never measured, one torn."""
    here = tmp_path_factory.mktemp("board")
    for name in ("two-moons", "two-moons-copy", "two-moons-slow", "never", "torn"):
        make_folder(here / name)
        for file in ("config.toml", "model.safetensors", "run.json"):
            (here / name / file).write_bytes((runs / "two-moons" / file).read_bytes())
    data = open_data("two-moons")
    reference = reference_of(data)
    ways: list[tuple[str, int, int | None]] = [
        ("two-moons", 50, None), ("two-moons-copy", 50, None), ("two-moons", 60, None),
        ("two-moons-slow", 50, 5),
    ]  # fmt: skip
    for name, n, steps in ways:
        bundle = ornstein.load(name, here)
        way = bundle.how(steps=steps)
        made = samples_of(plan(bundle, data, reference, sampler=way, n=n, likelihood=False))
        metrics = ("frechet_train", "recall")
        quality = score(made.items, reference, made=made.settings, metrics=metrics)
        record(replace(quality, beside={"data": data.name}), 4, here / name / "eval")
    make_folder(here / "torn" / "eval")
    (here / "torn" / "eval" / "step-000000004.json").write_text('[{"rows":')
    return here


def test_the_board_never_mixes_protocols_and_says_who_is_left_out(board_of_four: Path) -> None:
    """D13."""
    found = board(board_of_four)
    runs = [{s.run for s in table.rows} for table in found.tables]
    assert runs == [{"two-moons", "two-moons-copy"}, {"two-moons"}, {"two-moons-slow"}]
    assert [table.stamp.n for table in found.tables] == [50, 60, 50]
    assert "never measured" in found.left_out["never"]
    assert "this version can read" in found.left_out["torn"]
    values = [s.quality.rows["frechet_train"].value for s in found.tables[0].rows]
    assert values == sorted(values)
    assert "two-moons" in protocol_of(found.tables[0], ())


def test_the_board_never_mixes_samples_of_other_classes(
    runs: Path, bundle: Bundle, digits: Dataset, values: Reference, tmp_path: Path
) -> None:
    """Nor what older versions kept, which did not stamp them, where it cannot be known."""
    way = bundle.how(steps=2)
    made = samples_of(plan(bundle, digits, values, sampler=way, n=50, likelihood=False))
    assert made.settings["classes"] == "as in the data"
    metrics = ("frechet_train",)
    asked = score(made.items, values, asked=made.asked, made=made.settings, metrics=metrics)
    blind = score(made.items, values, made={**made.settings, "classes": "none"}, metrics=metrics)
    plain = {key: value for key, value in asked.stamp.way.items() if key != "classes"}
    unsaid = replace(asked, stamp=replace(asked.stamp, way=plain))
    counts = tuple(np.bincount(made.asked).tolist()) if made.asked is not None else ()
    kept = {
        "asked": asked,
        "blind": blind,
        "older": unsaid,  # whose judge knew no classes
        "older-asked": replace(unsaid, found=counts, asked=counts),
        "older-blind": replace(unsaid, found=counts),
        "older-plain": replace(unsaid, classes=()),
    }
    for name, quality in kept.items():
        make_folder(tmp_path / name)
        for file in ("config.toml", "run.json"):
            (tmp_path / name / file).write_bytes((runs / "digits" / file).read_bytes())
        path = record(quality, 4, tmp_path / name / "eval")
        assert ("classes" in json.loads(path.read_text())[0]["stamp"]["way"]) is (
            "older" not in name
        )
    tables = [{each.run for each in table.rows} for table in board(tmp_path).tables]
    assert tables == [{"blind", "older-blind", "older-plain"}, {"asked", "older-asked"}, {"older"}]
    told = [protocol_of(table, ()) for table in board(tmp_path).tables]
    for words, line in zip(("none", "as in the data", "not written down"), told, strict=True):
        assert f"classes {words}" in line
    (one,) = board(tmp_path, free=("classes",)).tables
    assert {each.run for each in one.rows} == set(kept)
    record(asked, 4, tmp_path / "older-asked" / "eval")  # measured again, it gives way
    assert len(measurements(tmp_path / "older-asked" / "eval")) == 1


def test_what_is_left_free_joins_tables_and_stands_in_them(board_of_four: Path) -> None:
    found = board(board_of_four, "recall", ("steps",))
    first = found.tables[0]
    assert {s.run for s in first.rows} == {"two-moons", "two-moons-copy", "two-moons-slow"}
    lines = cells(first, found.free, ["recall"])
    assert lines[0][3] == "steps"
    assert {line[3] for line in lines[1:-1]} == {"20", "5"}
    values = [s.quality.rows["recall"].value for s in first.rows]
    assert values == sorted(values, reverse=True)
    assert ", steps" not in protocol_of(first, found.free)


def test_what_a_number_rests_on_cannot_be_left_free(board_of_four: Path) -> None:
    with pytest.raises(UsageError, match="'n' cannot be left free"):
        board(board_of_four, free=("n",))
    with pytest.raises(UsageError, match="Did you mean 'steps'"):
        board(board_of_four, free=("step",))
    with pytest.raises(UsageError, match="Did you mean 'recall'"):
        board(board_of_four, "recal")


def test_a_measurement_by_the_same_protocol_replaces_the_last_and_others_stay(
    digits: Dataset, values: Reference, tmp_path: Path
) -> None:
    items = digits.items[digits.train]
    one, two = (score(items[:k], values, metrics=("recall",)) for k in (60, 80))
    for quality in (one, two, replace(one, made={"by": "again"})):
        record(quality, 7, tmp_path)
    found = [kept.quality for kept in measurements(tmp_path)]
    assert [quality.stamp.n for quality in found] == [80, 60]
    assert found[1].made == {"by": "again"}


def test_a_measurement_of_another_model_of_the_same_step_stays(
    digits: Dataset, values: Reference, tmp_path: Path
) -> None:
    found = score(digits.items[digits.train[:60]], values, metrics=("recall",))
    for model in ("wide", "narrow", "wide"):
        record(replace(found, made={"model": model}), 7, tmp_path)
    kept = [each.quality.made["model"] for each in measurements(tmp_path)]
    assert kept == ["narrow", "wide"]


def test_what_another_version_measured_stays_where_it_is(
    digits: Dataset, values: Reference, tmp_path: Path
) -> None:
    """It cannot be read here, and was thrown away by the next measurement."""
    found = score(digits.items[digits.train[:60]], values, metrics=("recall",))
    path = record(found, 7, tmp_path)
    later = {"format": 99, "rows": "of a later kind"}
    path.write_text(json.dumps([later, *json.loads(path.read_text())]))
    record(replace(found, made={"by": "again"}), 7, tmp_path)
    assert [kept.quality.made for kept in measurements(tmp_path)] == [{"by": "again"}]
    assert later in json.loads(path.read_text())


class Reader(HTMLParser):
    """Collects what a browser would fetch, and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["digits", "two-moons"])
def test_the_page_asks_nothing_of_a_server_and_takes_no_name_for_html(
    runs: Path, name: str
) -> None:
    bundle, data = ornstein.load(name, runs), open_data(name)
    data = replace(data, name="<script>x")
    made = plan(bundle, data, reference_of(data, "values"), n=50, likelihood=False)
    found = measure(made, log=[{"step": 2, "heldout": 0.5}, {"step": 4, "heldout": 0.25}])
    log = [{"step": k, "heldout": 1 / k} for k in range(1, 9)]
    text = page(found, "<script>run", "ornstein evaluate '<script>'", log)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert "script" not in reader.tags
    assert all(address.startswith("data:image/png;base64,") for address in reader.fetched)
    assert "@import" not in text
    assert not re.search(r"url\(|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert "&lt;script&gt;run" in text
    assert (len(reader.fetched) == 3) is (name == "digits")
    assert not re.search(r"[{}]", text.partition("<body>")[2] + str(found.quality))
    assert ("guide (kind cfg, low 0.3, high 3.0" in text) is (name == "digits")


def test_vectors_are_judged_by_their_values_and_pictures_by_what_their_labels_allow(
    digits: Dataset,
) -> None:
    moons = open_data("two-moons")
    assert usual(moons) == "values"
    assert usual(digits) == "classifier"
    assert usual(replace(digits, conditions=())) == "encoder"
    read = extractor(moons, "values").read(moons.items[moons.train]).features
    np.testing.assert_allclose(read.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(read.std(0), 1, atol=1e-3)
    with pytest.raises(UsageError, match="Did you mean 'classifier'"):
        extractor(digits, "clasifier")


def test_kept_numbers_say_all_of_their_protocol(runs: Path, tmp_path: Path) -> None:
    bundle, data = ornstein.load("two-moons", runs), open_data("two-moons")
    made = plan(bundle, data, reference_of(data), n=50, seed=3)
    path = record(measure(made).quality, 4, tmp_path)
    (kept,) = json.loads(path.read_text())
    stamp = kept["stamp"]
    assert {key: stamp["way"][key] for key in ("solver", "grid", "steps", "guidance", "seed")} == {
        "solver": "dpmpp-2m", "grid": "karras", "steps": 20, "guidance": 1.0, "seed": 3,
    }  # fmt: skip
    assert stamp["n"] == 50
    assert stamp["reference"] == data.fingerprint
    assert (stamp["extractor"], stamp["resize"], stamp["rules"]) == ("values", "none", "quality-2")
    for row in kept["rows"].values():
        assert {"value", "error", "interval", "floor", "n", "floor_n"} <= set(row)
    assert kept["beside"]["likelihood"]["heldout"]["unit"] == "nats"


def test_a_table_with_gaps_is_judged_by_its_coded_values_and_has_no_likelihood(
    tmp_path: Path,
) -> None:
    run = ornstein.train("penguins", steps=3, settings=QUICK, runs=tmp_path)
    data = open_data(**run.config.data.opening())
    made = plan(run.bundle(), data, reference_of(data), n=50)
    found = measure(made, metrics=("frechet_train", "recall"))
    assert np.isnan(np.asarray(data.items, dtype=float)).any()
    assert made.likelihood == 0
    assert found.quality.stamp.extractor == "values"
    assert found.quality.rows["frechet_train"].value > 0
    assert "likelihood" not in found.quality.beside
    assert "<svg" in page(found, run.name, "ornstein evaluate penguins")


def test_fresh_rows_of_a_table_of_few_categories_are_not_accused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its law repeats rows, and held-out rows equal no training row."""
    random = np.random.default_rng(0)
    words = random.choice(list("abcd"), (1000, 3), p=[0.4, 0.3, 0.2, 0.1])
    lines = ["one,two,three", *(",".join(row) for row in words)]
    (tmp_path / "survey.csv").write_text("\n".join(lines) + "\n")
    run = ornstein.train(tmp_path / "survey.csv", steps=3, settings=QUICK, runs=tmp_path / "runs")
    data = open_data(**run.config.data.opening())
    made_up(monkeypatch, data.raw(random.integers(len(data), size=500)))
    monkeypatch.setattr("ornstein.judging.tables._can_detect", lambda *_: False)
    made = plan(run.bundle(), data, reference_of(data), n=50, likelihood=False)
    found = measure(made, metrics=("recall",))
    assert found.novelty[0].copied > 0.8
    assert not found.novelty[0].copies
    near = found.quality.beside["table"]["closest"]
    assert 0.8 < near["copies"] < near["control"] + 0.03
    assert "the training items themselves are the control" in str(told_control(found.novelty[0]))


def test_a_table_with_classes_is_checked_by_rows_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many rows as are held out, which would all be of the first class."""
    run = ornstein.train("penguins", steps=3, settings=QUICK, runs=tmp_path)
    data = open_data(**run.config.data.opening())
    rows = data.raw(data.train)
    species = next(k for k, words in enumerate(data.coding.words) if words == 3)
    made_up(monkeypatch, rows[np.argsort(rows[:, species])])
    monkeypatch.setattr("ornstein.judging.tables._can_detect", lambda *_: False)
    made = plan(run.bundle(), data, reference_of(data), n=50, likelihood=False)
    table = measure(made, metrics=("recall",)).quality.beside["table"]
    assert table["made"]["columns"] == 0  # the training rows themselves
    assert table["even"]["columns"] < 1.5 * table["floor"]["columns"]
