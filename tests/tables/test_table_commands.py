"""A table from CSV to samples, imputed cells and refusals, by the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ornstein.bundle import load
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.data import open_data


def run(words: list[str]) -> int:
    return guarded(cli, words)


HEAD = "age;town;paid;joined;note"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.csv and a run trained on it for a moment."""
    folder = tmp_path_factory.mktemp("home")
    rng, rows = np.random.default_rng(0), [HEAD]
    for k in range(300):
        age = int(rng.integers(18, 80))
        town = "Ulm" if age > 50 else str(rng.choice(["Bonn", "Köln"]))
        paid = f"{rng.gamma(2, 300):.2f}".replace(".", ",")
        rows.append(f"{age};{town};{paid};{k % 28 + 1:02d}.{k % 12 + 1:02d}.2020;n{k}")
    (folder / "people.csv").write_text("\n".join(rows) + "\n", "utf-8")
    small = ["--set", "net.name=mlp", "--set", "net.options={width=32, layers=2}"]
    assert run(["train", str(folder / "people.csv"), "--steps", "60", "--runs", str(folder),
                 "--name", "run", "--quiet", *small]) == 0  # fmt: skip
    return folder


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=";"))


def test_samples_are_a_table_like_the_one_learned(home: Path) -> None:
    out = home / "made"
    assert run(["sample", str(home / "run"), "-n", "40", "--quiet", "--out", str(out)]) == 0
    (path,) = out.glob("*.csv")
    rows = table(path)
    assert rows[0] == HEAD.split(";")[:-1]  # the note is another one in every row, and left out
    assert len(rows) == 41
    made, real = open_data(path), open_data(home / "people.csv")
    for mine, theirs in zip(made.coding.columns, real.coding.columns, strict=False):  # type: ignore[attr-defined]
        assert (mine.type, mine.name) == (theirs.type, theirs.name)
    assert (out / "grid.png").is_file()


def test_empty_cells_are_filled_and_the_others_stay_as_they_are(home: Path) -> None:
    """E3."""
    (home / "gaps.csv").write_text(
        f"{HEAD}\n030;Bonn;;01.02.2020;x y\n;Ulm;10,5;;\n44;Köln;1,00;3.4.2020;z\n", "utf-8"
    )
    out = home / "filled"
    assert run(["edit", str(home / "run"), str(home / "gaps.csv"), "-n", "2", "--quiet",
                 "--out", str(out)]) == 0  # fmt: skip
    given, *versions = (table(p) for p in (home / "gaps.csv", *sorted(out.glob("*.csv"))))
    assert len(versions) == 2
    for made in versions:
        for old, new in zip(given, made, strict=True):
            assert all(b == a or not a for a, b in zip(old, new, strict=True))
        assert [len([c for c in row if c]) for row in made] == [5, 5, 4, 5]  # a note is not made
        assert 18 <= int(made[2][0]) <= 80


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEAD}\n30;Rom;1,00;01.01.2020;x\n", "'Rom' is nothing that column 'town'"),
        (f"{HEAD}\nold;Ulm;1,00;01.01.2020;x\n", "line 2: 'old' is nothing that column 'age'"),
        ("age;town;paid;joined;notes\n1;Ulm;1,0;;x\n", "column 'notes' that the model does not"),
        ("age;town;paid\n30;;1,00\n", "has no column 'joined', which the model has"),
        (f"{HEAD}\n30;Ulm;1,00;01.01.2020;\n", "nothing is missing"),
    ],
)
def test_what_the_model_does_not_know_is_refused(
    text: str, words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "odd.csv").write_text(text, "utf-8")
    assert run(["edit", str(home / "run"), str(home / "odd.csv")]) in (2, 65)
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_rows_with_categories_have_no_likelihood_and_numbers_have(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["likelihood", str(home / "run"), str(home / "people.csv")]) == 2
    assert "no density: column 'town' is a category" in capsys.readouterr().err
    assert run(["train", str(home / "people.csv"), "--steps", "30", "--runs", str(home),
                 "--name", "numbers", "--quiet", "--set", "data.columns.town=omit",
                 "--set", "net.name=mlp", "--set", "net.options={width=16}"]) == 0  # fmt: skip
    assert run(["likelihood", str(home / "numbers"), str(home / "people.csv"), "-n", "16"]) == 0
    said = capsys.readouterr().out
    assert "(heldout)" in said
    assert "the density is that of the codes" in said


def test_a_table_is_looked_at_before_training(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", str(home / "people.csv"), "--out", str(home),
                 "--set", "data.label=town"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "people: 300 rows of 5 columns, 3 codes each" in said
    assert "town    label" in said
    assert "300 different texts in 300 cells" in said
    assert (home / "people.sheet.png").is_file()


def test_made_rows_are_checked_beside_held_out_ones(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(home / "run"), "-n", "50", "--out", str(home / "eval")]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "told from real rows (AUC, 0.5 best)" in said
    assert "made (50)       made (15)   held out (15)" in said
    (path,) = (home / "eval").glob("step-*.json")
    table = json.loads(path.read_text())[-1]["beside"]["table"]
    assert [column["name"] for column in table["columns"]] == HEAD.split(";")[:-1]
    # As few rows as are held out are far from the real ones by chance alone.
    assert table["made"]["columns"] < table["even"]["columns"] < 1
    assert 0 < table["floor"]["columns"] < 0.3
    assert table["closest"]["copies"] == 0


@pytest.fixture(scope="module")
def labelled(home: Path) -> Path:
    """The folder, with a run whose class is the town: mostly Ulm, hardly ever Rom."""
    towns = ["Ulm"] * 130 + ["Bonn"] * 60 + ["Rom"] * 10
    order = np.random.default_rng(1).permutation(200)
    rows = [f"{k % 37},{k % 11},{towns[k]}" for k in order]
    (home / "towns.csv").write_text("\n".join(["a,b,town", *rows]) + "\n")
    small = ["--set", "data.label=town", "net.name=mlp", "net.options={width=16}"]
    words = ["train", str(home / "towns.csv"), *small, "--steps", "20", "--name", "towns"]
    assert run([*words, "--runs", str(home), "--quiet"]) == 0
    return home


def test_samples_have_each_class_as_often_as_the_data_unless_one_is_asked_for(
    labelled: Path,
) -> None:
    bundle, data = load(labelled / "towns"), open_data(labelled / "towns.csv", label="town")
    assert data.labels is not None
    shares = np.bincount(data.labels[data.train]) / len(data.train)
    for first, n in ((0, 300), (1000, 300), (5, 40)):
        made = bundle.sample(n, first=first, steps=1)
        counts = [made.labels.count(name) for name in bundle.classes]
        assert np.abs(np.array(counts) - n * shares).max() < 3
        assert [bundle.classes[int(c)] for c in made.items[:, 2]] == list(made.labels)
    again = bundle.sample(40, first=5, steps=1, batch=7)
    assert again.labels == made.labels
    assert set(bundle.sample(20, class_name="Rom", steps=1).labels) == {"Rom"}


def test_a_class_that_the_rows_say_themselves_is_not_said_again(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled / "holes.csv").write_text("a,b,town\n3,,Bonn\n,4,Ulm\n")
    words = ["edit", str(labelled / "towns"), str(labelled / "holes.csv"), "--quiet"]
    assert run([*words, "-n", "1", "--out", str(labelled / "holes")]) == 0
    (path,) = (labelled / "holes").glob("*.csv")
    assert [row.split(",")[2] for row in path.read_text().split()[1:]] == ["Bonn", "Ulm"]
    for more in (["--class", "Rom"], ["--cond", "class=Rom"]):
        assert run([*words, *more]) == 2
        said = capsys.readouterr().err
        assert "each row says its class itself, in column 'town'" in said
        assert said.count("\n") == 1
