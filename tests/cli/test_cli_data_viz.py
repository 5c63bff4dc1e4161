from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ornstein.cli.app import cli
from ornstein.cli.faults import guarded


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str) -> None:
    assert guarded(cli, args) == 0


def photos(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(12):
            picture = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / name / f"{k}.png")
    (folder / "cat" / "notes.txt").write_text("not a picture")
    (folder / "dog" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")


def test_a_folder_is_counted_and_what_was_left_out_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(here / "photos")
    run("data", "photos", "--size", "16")
    printed = capsys.readouterr().out
    assert "24 pictures of 3x16x16" in printed
    assert "cat 12" in printed
    assert "dog 12" in printed
    assert "torn.jpg" in printed
    facts = json.loads((here / "photos.report.json").read_text())
    assert facts["count"] == 24
    assert facts["classes"] == {"cat": 12, "dog": 12}
    assert any("torn.jpg" in entry["path"] for entry in facts["refused"])
    with Image.open(here / "photos.sheet.png") as sheet:
        sheet.load()


@pytest.mark.parametrize("source", ["digits", "ecg", "two-moons"])
def test_built_in_data_of_every_kind_are_looked_at_as_json(
    here: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    run("data", source, "--limit", "100", "--json", "--out", "looked/at")
    facts = json.loads(capsys.readouterr().out)
    assert facts["count"] == facts["train"] + facts["heldout"] == 100
    assert len(facts["fingerprint"]) == 64
    assert {Path(path).exists() for path in facts["files"].values()} == {True}
    assert sorted(p.parent.name for p in here.rglob("*.png")) == ["at"]


@pytest.mark.parametrize("source", ["digits", "ecg", "two-moons"])
def test_the_noising_of_every_kind_is_a_strip_and_a_film(
    here: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    run("viz", "forward", source, "--schedule", "cosine", "-n", "2", "--columns", "5", "--json")
    files = json.loads(capsys.readouterr().out)
    with Image.open(here / files["strip"]) as strip:
        strip.load()
        assert strip.width > 4 * strip.height / (2 if source != "two-moons" else 1) / 2
    with Image.open(here / files["film"]) as film:
        assert getattr(film, "n_frames", 1) == 49
    assert (here / files["film"]).stat().st_size <= 2_000_000


def test_the_first_column_of_a_noising_strip_is_the_data(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(here / "a.npy", np.arange(4 * 64, dtype=np.uint8).reshape(4, 1, 8, 8))
    run("viz", "forward", "a.npy", "-n", "2", "--columns", "3", "--json")
    strip = np.asarray(Image.open(json.loads(capsys.readouterr().out)["strip"]))
    first = strip[-2 * 66 : -66, 2:66, 0]  # the upper row of tiles of 64, enlarged 8 times
    expected = np.arange(64).reshape(8, 8).repeat(8, 0).repeat(8, 1)
    assert (first[:64] == expected).all()


def test_schedules_are_compared_in_curves_and_rows(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("viz", "schedule", "linear", "flow", "ve", "--columns", "4", "--json")
    files = json.loads(capsys.readouterr().out)
    with Image.open(files["rows"]) as rows:
        assert rows.height > 3 * 64
    with Image.open(files["curves"]) as curves:
        curves.load()


def test_points_in_the_plane_are_drawn_as_a_strip_and_a_film(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ornstein.cli.viz.FILM_MOMENTS", 5)
    monkeypatch.setattr("ornstein.viz.paths2d.POINTS", 100)
    monkeypatch.setattr("ornstein.viz.paths2d.DATA", 200)
    run("viz", "paths2d", "--schedule", "cosine", "--columns", "4", "--json")
    files = json.loads(capsys.readouterr().out)
    with Image.open(files["paths"]) as strip:
        strip.load()
        assert strip.height > 4 * 150
    with Image.open(files["film"]) as film:
        assert getattr(film, "n_frames", 1) == 5


def test_quiet_writes_the_files_and_prints_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("data", "digits", "--quiet")
    assert capsys.readouterr() == ("", "")
    assert (here / "digits.report.json").exists()


def test_rows_of_a_table_are_shown_by_many_not_by_the_items_asked_for(here: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 2))
    np.savetxt("rows.csv", numbers, fmt="%.3f", delimiter=",", header="a,b", comments="")
    for count in ("1", "5"):
        run("viz", "forward", "rows.csv", "-n", count, "--columns", "3", "--out", count)
    (one, five) = (Path(count, "rows-forward-linear.png").read_bytes() for count in ("1", "5"))
    assert one == five


def test_a_dot_in_the_name_of_the_data_cuts_nothing_off(here: Path) -> None:
    np.save("my.points.npy", np.random.default_rng(0).normal(size=(40, 2)))
    run("viz", "paths2d", "my.points.npy", "--columns", "3")
    assert Path("paths2d-my.points-linear.png").is_file()
    assert Path("paths2d-my.points-linear.webp").is_file()
