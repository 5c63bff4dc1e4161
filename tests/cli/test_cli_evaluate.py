"""The commands that judge: what they print, write and refuse."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ornstein
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.cli.leaderboard import markdown_of
from ornstein.cli.places import stem_of
from ornstein.data import open_data
from ornstein.errors import UsageError
from ornstein.viz.tradeoff import Scale


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "runs"
    ornstein.train("two-moons", steps=4, settings={"batch": 16, "sample.count": 4}, runs=folder)
    return folder


Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    monkeypatch.chdir(runs.parent)

    def run(*words: str) -> tuple[int, str, str]:
        code = guarded(cli, list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


QUICK = ("-n", "60", "--steps", "3", "--no-likelihood")


def test_the_command_of_a_report_measures_the_same_again(say: Say, tmp_path: Path) -> None:
    """DATA, features and guidance of the first call are in it, and the number it came to."""
    typed = ["evaluate", "two-moons", "two-moons", "--features", "values", "--interval", "0.5:2"]
    typed += [
        "--guidance",
        "2",
        "--minutes",
        "0.05",
        "--steps",
        "3",
        "--no-likelihood",
        "--out",
        str(tmp_path),
    ]
    assert say(*typed)[0] == 0
    report = (tmp_path / "report.html").read_text()
    (line,) = re.findall(r"<pre>ornstein (.*?)</pre>", report)
    again = shlex.split(html.unescape(line))
    assert again[:-2] == typed
    (numbers,) = tmp_path.glob("step-*.json")
    first = json.loads(numbers.read_text())[-1]
    assert again[-2:] == ["-n", str(first["stamp"]["n"])]
    assert say(*again)[0] == 0
    assert json.loads(numbers.read_text())[-1]["rows"] == first["rows"]


def test_a_run_is_measured_kept_and_stands_on_the_board(say: Say, runs: Path) -> None:
    """D13, E8: the numbers of one command are what the next one orders."""
    code, out, err = say("evaluate", "two-moons", *QUICK)
    assert (code, err) == (0, "")
    for word in ("cost ", "Fréchet distance to training data", "coverage", "no sign of copies"):
        assert word in out
    folder = runs / "two-moons" / "eval"
    (kept,) = json.loads((folder / "step-000000004.json").read_text())
    assert kept["stamp"]["way"]["steps"] == 3
    assert "<!doctype html>" in (folder / "report.html").read_text()
    assert not list(folder.glob("part*"))
    value = kept["rows"]["frechet_train"]["value"]
    code, out, _ = say("leaderboard")
    assert code == 0
    assert f"{value:.4g} ±" in out
    assert "two-moons (" in out
    code, out, _ = say("leaderboard", "--markdown", "--metric", "recall")
    assert "|  | run | step | recall (k = 3) |" in out
    code, out, _ = say("leaderboard", "--json")
    board = json.loads(out)
    assert board["tables"][0]["runs"][0]["rows"]["frechet_train"]["value"] == value
    assert board["tables"][0]["protocol"]["n"] == 60


def test_another_average_of_a_run_is_measured_beside_the_run(
    say: Say, runs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "two-moons"
    run.mkdir()
    for name in ("config.toml", "run.json", "model.safetensors"):
        (run / name).write_bytes((runs / "two-moons" / name).read_bytes())
    bundle, other = ornstein.load(run), run / "model-0.07.safetensors"
    with torch.no_grad():
        next(bundle.model.parameters()).add_(0.1)
    bundle.save(other)
    place = ("--runs", str(tmp_path))
    assert say("evaluate", "two-moons", *QUICK, *place)[0] == 0
    own = {path: path.read_bytes() for path in (run / "eval").iterdir()}
    assert say("evaluate", str(other), *QUICK, *place)[0] == 0
    assert {path: path.read_bytes() for path in own} == own
    apart = run / "eval" / "model-0.07"
    assert "<h1>two-moons/model-0.07</h1>" in (apart / "report.html").read_text()
    (table,) = json.loads(say("leaderboard", "--json", *place)[1])["tables"]
    found = {one["run"]: one["rows"]["frechet_train"]["value"] for one in table["runs"]}
    assert set(found) == {"two-moons", "two-moons/model-0.07"}
    assert found["two-moons"] != found["two-moons/model-0.07"]


def test_a_dot_in_the_name_of_a_run_cuts_nothing_off(say: Say, runs: Path, tmp_path: Path) -> None:
    for name in ("exp-0.1", "exp-0.2"):
        shutil.copytree(runs / "two-moons", tmp_path / name)
        words = ("--runs", str(tmp_path), "--out", str(tmp_path / "out"))
        assert say("viz", "reverse", name, "--steps", "2", *words)[0] == 0
        assert (tmp_path / "out" / f"{name}-reverse.png").is_file()
        assert say("evaluate", name, *QUICK, *words)[0] == 0
        assert f"<h1>{name}</h1>" in (tmp_path / "out" / "report.html").read_text()
    assert stem_of(str(runs / "two-moons" / "model.safetensors"), tmp_path) == "model"
    assert stem_of("exp-0.1/model.safetensors", tmp_path) == "model"


def test_novelty_alone_with_another_solver_beside(say: Say, runs: Path) -> None:
    """E7, E8."""
    code, out, err = say("evaluate", "novelty", "two-moons", *QUICK, "--against", "ddpm")
    assert (code, err) == (0, "")
    assert "Fréchet" not in out
    assert "no sign of copies" in out
    head = next(line for line in out.splitlines() if line.startswith("variety"))
    assert head.split() == ["variety", "dpmpp-2m", "ddpm", "real", "data"]
    facts = json.loads((runs / "two-moons/eval/novelty-step-000000004.json").read_text())
    assert facts["other"]["solver"] == "ddpm"
    assert facts["beside"]["novelty"][0]["space"] == "values"


def test_a_model_file_is_judged_beside_itself_and_json_is_one_object(say: Say, runs: Path) -> None:
    model = runs.parent / "alone.safetensors"
    model.write_bytes((runs / "two-moons" / "model.safetensors").read_bytes())
    code, out, _ = say("evaluate", "alone.safetensors", "two-moons", *QUICK, "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["files"]["report"] == "alone-eval/report.html"
    assert Path(facts["files"]["report"]).is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("evaluate",), "name a run or a model file"),
        (("evaluate", "novelty"), "name a run or a model file"),
        (("evaluate", "a", "b", "c"), "name a run or a model file"),
        (("evaluate", "two-mons"), "Did you mean 'two-moons'?"),
        (("evaluate", "two-moons", "digits"), "judge it against data of its own kind"),
        (("evaluate", "two-moons", "--features", "valves"), "Did you mean 'values'?"),
        (("evaluate", "two-moons", "--against", "hein"), "unknown solver 'hein'"),
        (("evaluate", "two-moons", "-n", "3"), "not a whole number from 50"),
        (("leaderboard", "--metric", "fretchet_train"), "Did you mean 'frechet_train'?"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(
    say: Say, words: tuple[str, ...], sentence: str
) -> None:
    code, _, err = say(*words)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["a|b", "a\\|b", "|", "two\nlines", "c:\\d\\"])
def test_a_name_ends_no_cell_of_a_markdown_table(name: str) -> None:
    """A stroke is part of a cell where a backslash escapes it, as GitHub reads tables."""
    lines = [["", "run", "recall"], ["1", name, "0.5"]]
    *_, row, end = markdown_of(lines)
    assert end == ""
    cells, letters = [""], iter(row)
    for letter in letters:
        if letter == "|":
            cells.append("")
        else:
            cells[-1] += next(letters) if letter == "\\" else letter
    assert [cell.strip() for cell in cells] == ["", "1", name.replace("\n", " "), "0.5", ""]


def test_an_empty_board_says_what_to_do(say: Say) -> None:
    code, out, _ = say("leaderboard", "--runs", "elsewhere")
    assert code == 0
    assert "nothing was measured in elsewhere/ yet: ornstein evaluate RUN --runs elsewhere" in out


def test_c8_what_guidance_trades_is_measured_scale_by_scale_and_drawn(
    say: Say, runs: Path
) -> None:
    pytest.importorskip("matplotlib")
    quick = ("--scales", "1,4", "-n", "60", "--steps", "3")
    code, out, err = say("viz", "guidance", "two-moons", *quick, "--guide", "apg")
    assert (code, err) == (0, "")
    folder = runs / "two-moons" / "eval"
    assert (folder / "guidance.png").stat().st_size > 10_000
    off, strong = json.loads((folder / "guidance.json").read_text())
    assert (off["guidance"], strong["guidance"]) == (1.0, 4.0)
    assert strong["stamp"]["way"]["guidance"] == 4.0
    assert strong["stamp"]["way"]["guide"]["kind"] == "apg"
    assert off["rows"]["frechet_train"] != strong["rows"]["frechet_train"]
    assert f"precision {strong['rows']['precision']['value']:.3f}" in out
    # Off is what the model makes without any of this.
    assert say("evaluate", "two-moons", *QUICK, "--guidance", "1", "--out", "plain")[0] == 0
    (plain,) = json.loads(next(Path("plain").glob("step-*.json")).read_text())
    assert plain["rows"]["precision"]["value"] == off["rows"]["precision"]["value"]


@pytest.mark.parametrize("more", [0, 10])
def test_the_distance_beside_few_real_items_is_of_as_few_samples(
    more: int, say: Say, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[Scale], Scale, int | None]] = []

    def keep(found: list[Scale], real: Scale, path: Path, few: int | None) -> Path:
        drawn.append((found, real, few))
        return path

    monkeypatch.setattr("ornstein.viz.tradeoff.draw_tradeoff", keep)
    held = len(open_data("two-moons").heldout)
    quick = ("--scales", "1", "-n", str(held + more), "--steps", "3", "--out", str(tmp_path))
    code, out, _ = say("viz", "guidance", "two-moons", *quick)
    assert code == 0
    ((one,), real, few) = drawn[0]
    (kept,) = json.loads((tmp_path / "guidance.json").read_text())
    row = kept["rows"]["frechet_train"]
    assert (one.frechet, one.matched, real.frechet) == (row["value"], row["matched"], row["floor"])
    assert few == (held if more else None)
    assert (f"(of {held:,} samples {row['matched']:.3g})" in out) is bool(more)


def test_a_figure_that_cannot_be_drawn_is_refused_before_anything_is_spent(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(*_: object) -> None:
        raise AssertionError("a judge was asked for")

    monkeypatch.setattr("ornstein.cli.evaluate.judged", judged)
    code, _, err = say("viz", "guidance", "two-moons", "digits", "-n", "60")
    assert (code, "judge it against data of its own kind" in err) == (2, True)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = say("viz", "guidance", "two-moons", "-n", "60")
    assert (code, "pip install matplotlib" in err) == (2, True)


def test_the_numbers_of_guidance_are_there_where_drawing_fails(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UsageError("cannot be drawn.")

    monkeypatch.setattr("ornstein.viz.tradeoff.draw_tradeoff", fail)
    quick = ("--scales", "1", "-n", "60", "--steps", "3", "--out", str(tmp_path / "new"))
    assert say("viz", "guidance", "two-moons", *quick)[0] == 2
    assert len(json.loads((tmp_path / "new" / "guidance.json").read_text())) == 1


def test_scales_that_cannot_be_are_refused(say: Say) -> None:
    for words, message in (
        (("--scales", "1,x"), "'x' is not a number from 0 to 100"),
        (("--scales", ","), "',' names no scale; give at least one, as in 1,2,4"),
        (("--scales", ""), "names no scale"),
        (("--guide", "cfg++", "--scales", "x"), "'x' is not a number"),
        (("--guide", "cfg++"), "a scale of cfg++ is a number from 0 to 1, such as 0.6; got 1.5"),
        (("--scales", "1", "--guidance", "2"), "go into --scales"),
        (("--scales", "1", "--guide", "afg"), "unknown guidance 'afg'"),
        (("--scales", "1", "--interval", "5"), "not a pair of numbers"),
        (("--scales", "1", "--guide-by", "nobody"), "no model file and no run 'nobody'"),
        (("--scales", "1", "--negative", "class=nobody"), "no class 'nobody'"),
    ):
        code, out, err = say("viz", "guidance", "two-moons", "-n", "60", *words)
        assert code == 2, words
        assert message in err
        assert "Traceback" not in err + out


def test_an_option_that_is_always_refused_is_not_offered(say: Say) -> None:
    assert "--guidance" in say("evaluate", "--help")[1]
    assert "--guidance" not in say("viz", "guidance", "--help")[1]


@pytest.mark.filterwarnings("default::ornstein.errors.OrnsteinWarning")
def test_data_that_changed_since_the_training_are_not_passed_off_as_its_own(
    say: Say, tmp_path: Path
) -> None:
    file, place = tmp_path / "flat.npy", ("--runs", str(tmp_path / "runs"))
    points = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    np.save(file, points)
    settings = {"batch": 16, "sample.count": 4}
    ornstein.train(file, steps=2, settings=settings, runs=tmp_path / "runs")
    code, _, err = say("evaluate", "flat", "--quiet", *QUICK, *place)
    assert (code, err) == (0, "")
    np.save(file, points[::-1] * 2)
    code, _, err = say("evaluate", "flat", "--quiet", *QUICK, *place)
    assert code == 0
    assert "warning: the data of" in err
    assert "changed since it was trained" in err
    # Those that are named are held against as they are.
    assert say("evaluate", "flat", str(file), "--quiet", *QUICK, *place)[2] == ""
