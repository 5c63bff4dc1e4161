"""C5: what data say of their items: typed from a table, an archive or sub-folders."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ornstein.data import Dataset, open_data, report
from ornstein.data.conditions import Declared, as_known
from ornstein.data.listing import Listing
from ornstein.data.metadata import read_metadata
from ornstein.errors import DataError

HEAD = "file_name,age,colour,tags,low,serial,caption,same"
MANY = 20


def picture(path: Path, shade: int, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    field = np.linspace(0, shade, side * side).reshape(side, side).astype(np.uint8)
    Image.fromarray(field).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures and a table beside them, with a gap in row 3."""
    folder = tmp_path_factory.mktemp("told")
    rows = [HEAD]
    for k in range(MANY):
        picture(folder / f"{k:02}.png", 40 + 10 * k)
        if k != 3:
            picture(folder / "low" / f"{k:02}.png", 40 + 10 * k, 4)
        colour = ("red", "green")[k % 2]
        tags = ("round|old", "old", "wet|round")[k % 3]
        rows.append(f"{k:02}.png,{2 * k + 0.5},{colour},{tags},low/{k:02}.png,{k},text {k},x")
    rows[4] = "03.png,,NA,,,3,,x"
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "told"))


def named(data: Dataset) -> dict[str, str]:
    return {c.name: c.kind for c in data.conditions}


def test_c5_columns_are_typed_by_their_cells_and_the_rest_is_told_why(made: Path) -> None:
    data = open_data(made)
    assert named(data) == {"age": "numbers", "colour": "class", "tags": "tags", "low": "picture"}
    assert (len(data), data.shape) == (MANY, (1, 8, 8))  # the small pictures are no items
    notes = " ".join(data.notes)
    for name, why in (("serial", "numbers the rows"), ("same", "says the same of every item")):
        assert f"'{name}' is left out: it {why}" in notes
    assert "'caption' is left out: 19 different texts in 19 cells are not classes" in notes


def test_the_values_are_those_of_the_rows_and_numbers_are_standardised(made: Path) -> None:
    data = open_data(made)
    cond = data.condition_batch([5, 3])
    ages = np.array([2 * k + 0.5 for k in data.train if k != 3])
    assert cond["age"][0].item() == pytest.approx((10.5 - ages.mean()) / ages.std(), rel=1e-6)
    assert cond["colour"].tolist() == [0, 2]  # green, and 2 is "not said"
    assert cond["tags"][0].tolist() == [0, 1, 1]  # old, round, wet
    low = np.asarray(Image.open(made / "low" / "05.png"), dtype=float)
    standard = (low - low.mean()) / low.std()
    seen = cond["low"][0, 0].numpy()
    np.testing.assert_allclose((seen - seen.mean()) / seen.std(), standard, atol=1e-5)
    for name in ("age", "tags", "low"):
        assert bool(cond[name][1].isnan().all()), name
    declared = next(c.declared for c in data.conditions if c.name == "age")
    assert (declared.low, declared.high) == ((min(ages),), (max(ages),))


def test_a_json_lines_file_says_the_same_as_the_csv(folder: Path) -> None:
    plain = open_data(folder)
    lines = (folder / "metadata.csv").read_text().splitlines()
    rows = []
    for line in lines[1:]:
        cells = dict(zip(HEAD.split(","), line.split(","), strict=True))
        row = {k: None if v in ("", "NA") else v for k, v in cells.items()}
        if row["age"]:
            row.update(age=float(row["age"]), tags=row["tags"].split("|"))
        rows.append(json.dumps(row))
    (folder / "metadata.csv").unlink()
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    data = open_data(folder)
    assert data.fingerprint == plain.fingerprint
    for name, value in data.condition_batch(range(MANY)).items():
        other = plain.condition_batch(range(MANY))[name]
        assert torch.equal(value.nan_to_num(-9), other.nan_to_num(-9)), name


def test_lists_of_numbers_are_vectors_and_truths_are_classes(folder: Path) -> None:
    (folder / "metadata.csv").unlink()
    shutil.rmtree(folder / "low")
    rows = [
        {"file_name": f"{k:02}.png", "place": [k, k * k], "wet": k % 2 == 0} for k in range(18)
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = open_data(folder)
    assert named(data) == {"place": "numbers", "wet": "class"}
    assert data.conditions[0].declared.shape == (2,)
    assert data.conditions[1].names == ("false", "true")
    assert any(note.startswith("2 pictures are not in metadata.jsonl") for note in data.notes)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_whole_numbers_called_class_are_the_names_of_classes(tmp_path: Path, ending: str) -> None:
    """Also as pandas writes them where some are missing, 3.0; a column called label is numbers."""
    said = [(10, 2, None, 3)[k % 4] for k in range(MANY)]
    lines = ["file_name,class,label"] if ending == "csv" else []
    for k, number in enumerate(said):
        picture(tmp_path / f"{k:02}.png", 40 + 10 * k)
        if ending == "csv":
            lines.append(f"{k:02}.png,{'' if number is None else float(number)},{k % 5}")
        else:
            row = {"file_name": f"{k:02}.png", "class": number, "label": k % 5}
            lines.append(json.dumps(row))
    (tmp_path / f"metadata.{ending}").write_text("\n".join(lines))
    data = open_data(tmp_path)
    assert named(data) == {"class": "class", "label": "numbers"}
    assert data.classes == ("2", "3", "10")
    told = data.condition_batch(range(MANY))["class"].tolist()
    assert told == [{2: 0, 3: 1, 10: 2, None: 3}[number] for number in said]


@pytest.mark.parametrize(
    ("cells", "kind"), [(("0.5", "1.5", "2"), "numbers"), (("a|b", "a", "b"), "tags")]
)
def test_what_is_called_class_and_is_none_is_left_out_and_sub_folders_stay(
    tmp_path: Path, cells: tuple[str, ...], kind: str
) -> None:
    lines = ["file_name,class"]
    for k in range(12):
        name = f"{'cat' if k < 6 else 'dog'}/{k:02}.png"
        picture(tmp_path / name, 40 + 10 * k)
        lines.append(f"{name},{cells[k % 3]}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    data = open_data(tmp_path)
    assert data.classes == ("cat", "dog")
    assert f"'class' is left out: it is of kind {kind}, and only classes" in " ".join(data.notes)


def test_an_array_called_class_follows_the_rule_of_a_column(tmp_path: Path) -> None:
    x, path = np.random.default_rng(0).normal(size=(12, 2)), tmp_path / "a.npz"
    numbers = np.array([7.0, 11, np.nan] * 4)
    np.savez(path, **{"x": x, "class": numbers})
    data = open_data(path)
    assert data.classes == ("7", "11")
    assert data.condition_batch([0, 1, 2])["class"].tolist() == [0, 1, 2]
    np.savez(path, **{"x": x, "class": numbers + 0.5})
    data = open_data(path)
    assert not data.conditions
    assert "'class' is left out" in " ".join(data.notes)


def test_sub_folders_stay_classes_beside_a_table(folder: Path) -> None:
    for k in range(MANY):
        target = folder / ("cat" if k < 10 else "dog") / f"{k:02}.png"
        target.parent.mkdir(exist_ok=True)
        (folder / f"{k:02}.png").rename(target)
    shutil.rmtree(folder / "low")
    rows = [
        "file_name,age",
        *(f"{'cat' if k < 10 else 'dog'}/{k:02}.png,{k**2}" for k in range(20)),
    ]
    (folder / "metadata.csv").write_text("\n".join(rows))
    data = open_data(folder)
    assert named(data) == {"class": "class", "age": "numbers"}
    assert data.classes == ("cat", "dog")
    assert data.labels is not None


def test_an_archive_says_more_than_labels_by_the_type_of_its_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "a.npz", x=rng.normal(size=(12, 1, 8, 8)), y=np.arange(12) % 3,
        age=np.array([np.nan, *range(2, 24, 2)]), colour=np.array(["red", "green", ""] * 4),
        tags=np.array(["a|b", "b", ""] * 4), flags=rng.normal(size=(12, 4)) > 0,
        low=rng.integers(0, 255, (12, 4, 4), dtype=np.uint8), place=rng.normal(size=(12, 2)),
        other=np.zeros((5, 2)),
    )  # fmt: skip
    data = open_data(tmp_path / "a.npz")
    assert named(data) == {
        "class": "class", "age": "numbers", "colour": "class", "tags": "tags", "flags": "tags",
        "low": "picture", "place": "numbers",
    }  # fmt: skip
    cond = data.condition_batch([0, 2])
    assert bool(cond["age"][0].isnan())
    assert cond["colour"].tolist() == [1, 2]
    assert bool(cond["tags"][1].isnan().all())
    assert "'other' is left out: it has the shape (5, 2)" in " ".join(data.notes)


def test_only_the_chosen_conditions_are_kept_and_a_wrong_name_is_refused(made: Path) -> None:
    whole, some = open_data(made), open_data(made, conditions=["age"])
    assert named(some) == {"age": "numbers"}
    assert (
        len({whole.fingerprint, some.fingerprint, open_data(made, conditions=[]).fingerprint}) == 3
    )
    with pytest.raises(DataError, match=r"have no condition 'agee'\. Did you mean 'age'\?"):
        open_data(made, conditions=["agee"])


def test_one_cell_changes_the_fingerprint_and_an_item_keeps_what_is_said_of_it(
    folder: Path,
) -> None:
    first = open_data(folder)
    assert open_data(folder).fingerprint == first.fingerprint
    small = open_data(folder, limit=9)
    index = [int(name[:2]) for name in small.names]
    a, b = small.condition_batch(range(9)), first.condition_batch(index)
    assert torch.equal(a["colour"], b["colour"])
    table = folder / "metadata.csv"
    table.write_text(table.read_text().replace("10.5", "10.75"))
    assert open_data(folder).fingerprint != first.fingerprint


def test_the_report_tells_ranges_names_and_gaps(made: Path) -> None:
    data = open_data(made)
    lines = "\n".join(report(data))
    ages = [2 * k + 0.5 for k in data.train if k != 3]
    assert f"condition age: numbers from {min(ages)} to {max(ages)}; 1 items say nothing" in lines
    assert "condition colour: one of green 9, red 10; 1 items say nothing" in lines
    assert "condition tags: tags old 13, round 12, wet 6" in lines
    assert "condition low: a picture of 1x4x4" in lines


def test_a_model_reads_the_numbers_of_other_data_by_its_own_coding(made: Path) -> None:
    data = open_data(made, conditions=["age", "colour"])
    age = data.conditions[0].declared
    assert age.coding is not None
    other = Declared("age", "numbers", (), type(age.coding)((100.0,), (10.0,), "vector"), (1,),
                     (0.0,), (1.0,))  # fmt: skip
    (known,) = as_known(data.conditions, [other])
    assert known.batch(np.array([5])).item() == pytest.approx((10.5 - 100) / 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("05.png,10.5", "5.png,10.5"), r"line 7: there is no file '5\.png' beside it\. Did you"),
        (("05.png,10.5", ",10.5"), "line 7 has no 'file_name'"),
        (("05.png,10.5", "04.png,10.5"), r"lines 6 and 7 both say '04\.png'"),
        (("10.5", "ten"), r"line 7: 'age' is 'ten', which is not a number, unlike"),
        (("low/05.png", "low/55.png"), r"line 7: there is no picture 'low/55\.png', which 'low'"),
        (("file_name,age", "name,age"), "needs a column 'file_name'"),
        (("05.png,10.5,", "05.png,"), "line 7 has 7 cells"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_one_sentence(
    folder: Path, change: tuple[str, str], words: str
) -> None:
    table = folder / "metadata.csv"
    text = table.read_text()
    assert change[0] in text
    table.write_text(text.replace(*change, 1))
    with pytest.raises(DataError, match=words) as caught:
        open_data(folder)
    assert "\n" not in str(caught.value)


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Six hundred pictures, more than are handled at a time; one is damaged."""
    for k in range(600):
        picture(tmp_path / f"{k:03}.png", 40 + k % 200, 4)
    (tmp_path / "007.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_an_item_has_the_cells_of_its_own_line_wherever_that_stands(crowd: Path) -> None:
    """Columns may begin and end anywhere; a line of a picture that is not used says nothing."""
    order = np.random.default_rng(0).permutation(np.arange(3, 600))
    rows = []
    for place, k in enumerate(order.tolist()):
        row: dict[str, object] = {"file_name": f"./{k:03}.png", "sort": f"sort {k % 7}"}
        row |= {"early": k / 4} if place < 100 else {}
        row |= {"late": [k / 4, -k]} if place >= 550 else {}
        row |= {"tags": [f"tag {k % 5}"]} if place % 3 else {"tags": None}
        rows.append(json.dumps(row | ({"sort": "of none"} if k == 7 else {})))
    (crowd / "metadata.jsonl").write_text("\n".join(rows))
    data = open_data(crowd)
    assert named(data) == {"sort": "class", "early": "numbers", "tags": "tags", "late": "numbers"}
    assert any(note.startswith("3 pictures are not in") for note in data.notes)
    told = {condition.name: condition for condition in data.conditions}
    assert told["sort"].names == tuple(f"sort {k}" for k in range(7))
    for item, name in enumerate(data.names):
        k = int(name[:3])
        place = order.tolist().index(k) if k >= 3 else -1
        truth = {"sort": k % 7 if k >= 3 else None,
                 "early": [k / 4] if 0 <= place < 100 else None,
                 "tags": np.eye(5)[k % 5].tolist() if place > 0 and place % 3 else None,
                 "late": [k / 4, -k] if place >= 550 else None}  # fmt: skip
        found = {n: c.values[item].tolist() if c.said[item] else None for n, c in told.items()}
        assert found == truth, name


def test_r30_the_table_beside_a_million_pictures_is_not_held_in_memory(tmp_path: Path) -> None:
    """What grows are arrays of numbers; lists and dicts of the cells took 900 bytes a line."""

    def most(count: int) -> int:
        files = Listing(str(tmp_path))
        insert = "INSERT INTO files VALUES (?, 1, '0', ?, 0)"
        files.base.executemany(insert, ((f"{k:06}.png".encode(), k) for k in range(count)))
        rows = (f"{k:06}.png,{k % 20} dogs,{k % 99},,text {k}\n" for k in range(count))
        with (tmp_path / "metadata.csv").open("w") as file:
            file.writelines(["file_name,sort,size,gaps,caption\n", *rows])
        tracemalloc.start()
        table = read_metadata(tmp_path, files)
        assert table is not None
        files.keep(None)
        told, _ = table.conditions(lambda paths: (np.empty(0), np.empty(0)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [(c.name, len(c.values)) for c in told] == [("sort", count), ("size", count)]
        return peak

    _, few, many = map(most, (1_000, 1_000, 7_000))  # the first makes what stays anyway
    assert many - few < 6_000 * 60


def test_two_tables_or_lines_that_are_no_json_are_refused(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text('{"file_name": "00.png"}\n')
    with pytest.raises(DataError, match="leave one of them"):
        open_data(folder)
    (folder / "metadata.csv").unlink()
    for line, words in (
        ("{", "line 2 is not JSON"),
        ("\n[", "line 3 is not JSON"),
        ('{"a": {}}', "line 2 must be a JSON object"),
    ):
        (folder / "metadata.jsonl").write_text('{"file_name": "00.png"}\n' + line)
        with pytest.raises(DataError, match=words):
            open_data(folder)


def test_nan_in_a_line_of_json_says_nothing(tmp_path: Path) -> None:
    """Python's json.dumps writes it for a gap."""
    lines = []
    for k in range(MANY):
        picture(tmp_path / f"{k:02}.png", 40 + 10 * k)
        age = float("nan") if k == 3 else k + 0.5
        lines.append(json.dumps({"file_name": f"{k:02}.png", "age": age}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    (age,) = open_data(tmp_path).conditions
    assert age.kind == "numbers"
    assert np.flatnonzero(~age.said).tolist() == [3]


def test_a_report_tells_of_classes_that_some_items_do_not_say(tmp_path: Path) -> None:
    rows = ["file_name,class"]
    for k in range(MANY):
        picture(tmp_path / f"{k:02}.png", 40 + 10 * k)
        rows.append(f"{k:02}.png,{('cat', 'dog', '')[k % 3]}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows) + "\n")
    said = [line for line in report(open_data(tmp_path)) if line.startswith("condition class")]
    assert said == ["condition class: one of cat 7, dog 7; 6 items say nothing"]
