"""C5, C6: every kind of condition trains and steers; what is hidden is hidden as a whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ornstein import open_run, train
from ornstein.config import load_config, resolve
from ornstein.data import open_data
from ornstein.errors import ConfigError, DataError, UsageError
from ornstein.launch.stored import store_array
from ornstein.run import Run
from ornstein.training.conditions import groups, hidden

SETTINGS = {"batch": 256, "net.size": "tiny", "log_every": 100, "sample.count": 4,
            "decay": 0.7}  # fmt: skip
WIDE = 0.2  # deviation of the points about their centre


def centre(age: float, wet: bool, red: bool) -> np.ndarray:
    """Where points lie, by what is said of them."""
    return np.array([age / 10 - 4, 2.0 * wet - red])


@pytest.fixture(scope="module", params=["add", pytest.param("concat", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Points in the plane whose centre is a function of a number, a tag and a class."""
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 60, 4000)
    wet, red = rng.random(4000) < 0.5, rng.random(4000) < 0.5
    points = np.stack([centre(*told) for told in zip(ages, wet, red, strict=True)])
    points += WIDE * rng.normal(size=points.shape)
    ages[:200] = np.nan
    told = {
        "age": ages,
        "tags": np.where(wet, "old|wet", "old"),
        "colour": np.where(red, "red", "green"),
    }
    # "old" is said of all: it can have no effect, and must do no harm.
    return train(
        points, conditions=told, name=request.param, runs=tmp_path_factory.mktemp("runs"),
        steps=500, settings={**SETTINGS, "net.entry": request.param},
    )  # fmt: skip


def mean_of(run: Run, **said: object) -> np.ndarray:
    return run.sample(400, cond=said, guidance=1.0).items.mean(0)


@pytest.mark.parametrize(
    ("age", "wet", "red"), [(25, False, True), (40, True, False), (55.5, True, True)]
)
def test_c5_numbers_tags_and_classes_move_the_mean_where_it_belongs(
    run: Run, age: float, wet: bool, red: bool
) -> None:
    said = {"age": age, "tags": "old|wet" if wet else "old", "colour": "red" if red else "green"}
    assert mean_of(run, **said) == pytest.approx(centre(age, wet, red), abs=0.15)


def test_what_is_not_said_leaves_the_mean_over_it(run: Run) -> None:
    assert mean_of(run) == pytest.approx([0.0, 0.5], abs=0.2)


def test_a_run_keeps_its_conditions_and_an_array_with_others_is_another_run(run: Run) -> None:
    assert (run.folder / "data.npz").is_file()
    assert [c.name for c in run.bundle().conditions] == ["age", "colour", "tags"]
    with pytest.raises(DataError, match="holds a run on other data"):
        train(np.zeros((4, 2)), conditions={"age": np.zeros(4)}, name=run.name,
              runs=run.folder.parent)  # fmt: skip
    with pytest.raises(DataError, match="no condition can be called 'x'"):
        train(np.zeros((4, 2)), conditions={"x": np.zeros(4)}, runs=run.folder.parent)
    with pytest.raises(UsageError, match="are for an array"):
        train("two-moons", conditions={"age": np.zeros(4)}, runs=run.folder.parent)


def test_a_series_beside_the_item_leads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    level = rng.uniform(-2, 2, (600, 1, 1)).astype(np.float32)
    rough = np.broadcast_to(level, (600, 1, 4)).copy()
    fine = np.broadcast_to(level, (600, 1, 8)) + 0.1 * rng.normal(size=(600, 1, 8))
    options = ["net.name=unet", "net.options={widths=[16], blocks=[1], attention=[]}", "batch=64"]
    run = train(fine.astype(np.float32), conditions={"rough": rough}, runs=tmp_path, steps=150,
                settings=[*options, "sample.steps=8", "log_every=50"])  # fmt: skip
    assert run.config.sample.guidance == 1  # by 2 it led past what is asked for
    for asked in (-1.5, 0.5):
        said = {"rough": np.full((1, 4), asked, dtype=np.float32)}
        assert run.sample(32, cond=said).items.mean() == pytest.approx(asked, abs=0.15)


def test_only_the_conditions_that_were_chosen_are_learnt(tmp_path: Path) -> None:
    told = {"age": np.random.default_rng(0).random(50), "class": ["a", "b"] * 25}
    run = train(
        np.random.default_rng(1).normal(size=(50, 2)),
        conditions=told,
        runs=tmp_path,
        steps=2,
        settings={"data.conditions": "['class']", "batch": 8, "net.size": "tiny"},
    )
    bundle = open_run("array", tmp_path).bundle()
    assert [c.name for c in bundle.conditions] == ["class"]
    assert bundle.classes == ("a", "b")
    assert run.config.data.conditions == ["class"]


def test_all_conditions_of_an_item_are_hidden_together_and_those_of_others_stay() -> None:
    cond = {"a": torch.arange(6), "b": torch.arange(12.0).reshape(6, 2), "c": torch.ones(6, 1, 2)}
    null = {"a": torch.tensor([9]), "b": torch.full((1, 2), torch.nan),
            "c": torch.full((1, 1, 2), torch.nan)}  # fmt: skip
    rows = torch.tensor([True, False, True, False, False, True])
    told = hidden(cond, null, rows)
    assert told["a"].tolist() == [9, 1, 9, 3, 4, 9]
    for name in ("b", "c"):
        silent = told[name].flatten(1).isnan()
        assert torch.equal(silent.all(1), rows)
        assert torch.equal(silent.any(1), rows)
    assert torch.equal(told["b"][~rows], cond["b"][~rows])


def test_items_told_the_same_are_one_group() -> None:
    nan = torch.nan
    cond = {"a": torch.tensor([0, 0, 1, 0]), "b": torch.tensor([[nan], [2.0], [nan], [nan]])}
    found = groups(cond, 4)
    same = [[bool(a == b) for b in found] for a in found]
    assert same == [[i == j or {i, j} == {0, 3} for j in range(4)] for i in range(4)]
    assert groups({}, 3).tolist() == [0, 0, 0]


def test_settings_of_older_runs_name_the_dropout_of_classes(tmp_path: Path) -> None:
    old = tmp_path / "config.toml"
    old.write_text("[train]\nclass_dropout = 0.25\n")
    assert load_config(old).train.condition_dropout == 0.25
    assert resolve(sets=["class_dropout=0.3"]).config.train.condition_dropout == 0.3


GAPS: list[object] = [
    ["red", None, "blue", "red", "", "blue"],
    ["red", math.nan, "blue", "red", None, "blue"],
    np.array(["red", math.nan, "blue", "red", None, "blue"], dtype=object),  # as pandas has them
    ("red", "", "blue", "red", "", "blue"),
]


@pytest.mark.parametrize("said", GAPS)
@pytest.mark.parametrize("name", ["colour", "class", "file"])
def test_texts_with_gaps_are_classes_that_some_items_do_not_say(
    name: str, said: object, tmp_path: Path
) -> None:
    """They were pickled, and what was pickled was left out without a word."""
    points = np.random.default_rng(0).normal(size=(6, 2))
    data = open_data(store_array(points, tmp_path, {name: said}))
    (told,) = data.conditions
    assert (told.name, told.kind, told.names) == (name, "class", ("blue", "red"))
    assert told.said.tolist() == [True, False, True, True, False, True]
    assert told.batch(np.arange(6)).tolist() == [1, 2, 0, 1, 2, 0]
    np.testing.assert_array_equal(data.items, points.astype(np.float32))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([1.0, None, 3.0, 4.0], r"'age' holds Python objects, such as '1.0' of type float"),
        ([{"a": 1}] * 4, r"'age' holds Python objects, such as .* of type dict; say texts"),
        ([["a", "b"], ["c"], [], ["a"]], r"'age' holds lists of different lengths; .*red\|round"),
    ],
)
def test_python_objects_are_no_condition(said: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        train(np.zeros((4, 2)), conditions={"age": said}, runs=tmp_path, steps=1)
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_of_no_item_is_left_out_with_a_note_or_refused(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(6, 2))
    data = open_data(store_array(points, tmp_path, {"colour": [None] * 6}))
    assert data.conditions == ()
    assert any("'colour' is left out: it says nothing" in note for note in data.notes)
    with pytest.raises(DataError, match="labels that are all empty"):
        open_data(store_array(points, tmp_path, {"class": [None] * 6}))


def test_more_columns_than_a_network_takes_are_refused_with_what_to_type(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "cells"
    folder.mkdir()
    lines = [",".join(["file_name", *(f"c{k}" for k in range(65))])]
    for k in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{k}.png")
        lines.append(",".join([f"{k}.png", *(f"{number:.3f}" for number in rng.random(65))]))
    (folder / "metadata.csv").write_text("\n".join(lines))
    words = r"'cells' has 65 conditions.* --set 'data\.conditions=\[\"c0\", \"c1\"\]'"
    with pytest.raises(ConfigError, match=words):
        train(folder, runs=tmp_path / "runs", steps=1, settings=SETTINGS)
    chosen = {**SETTINGS, "batch": 4, "data.conditions": ["c0", "c1"]}
    run = train(folder, runs=tmp_path / "runs", steps=1, settings=chosen)
    assert [c.name for c in run.bundle().conditions] == ["c0", "c1"]
