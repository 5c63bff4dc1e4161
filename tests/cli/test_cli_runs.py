"""``ornstein runs RUN``: the numbers of a training in one look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ornstein.cli.app import cli
from ornstein.cli.places import run_or_data

FLOORS = {"model": [0.9, 0.5, 1.1], "linear": [1.0, 1.0, 1.0], "memory": [1.0, 0.4, 25.0]}


def say(*words: str) -> str:
    answer = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run that was written by hand."""
    folder = tmp_path / "photos"
    (folder / "averages").mkdir(parents=True)
    for step in (5, 9):
        (folder / "averages" / f"step-{step:09d}.safetensors").touch()
    (folder / "config.toml").touch()
    (folder / "events.log").write_text("".join(f"event {k}\n" for k in range(5)))
    record = {"state": "stopped", "step": 9, "steps": 20, "seconds": 61}
    (folder / "run.json").write_text(json.dumps(record))
    levels = {"log_snr": [-5.0, 0.0, 5.0], "items": 64, "memory": 0.3, "doubt": 0.02,
              "heldout": FLOORS, "train": {**FLOORS, "model": [0.1] * 3}}  # fmt: skip
    lines = [
        {"step": k, "loss": float(k), "grad_norm": 10.0 * k, "items_per_s": 1000 + k,
         "memory_mb": 300 + k, "left_out": 2}
        for k in (1, 2, 9)
    ]  # fmt: skip
    lines.append({"step": 9, "heldout": 0.25, "levels": levels})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_one_run_says_losses_by_level_beside_floors_gradient_speed_memory_and_advice(
    runs: Path,
) -> None:
    said = " ".join(say("runs", "photos", "--runs", str(runs)).split())
    for word in (
        "photos stopped step 9 of 20 in 1 min 1 s",
        "loss 2.0000",
        "held out 0.2500",
        "norm 20 ",
        "left out 2 steps",
        "1,002 items a second",
        "309 MB at most",
        "error on held-out items",
        "log-SNR -5.0 0.0 5.0 model 0.90 0.50 1.10 memory 1.00 0.40 > 10",
        "30% (+- 2%) of the way to perfect memory; it memorises: more items",
        "a smaller net.size, or flip=true for pictures",
        f"2 snapshots of widths 0.05 and 0.1: ornstein ema {runs}/photos --width",
        "event 2 event event 3 event event 4",
    ):
        assert word in said, (word, said)


@pytest.mark.parametrize("before", [True, False])
def test_the_same_as_json_with_options_before_or_behind_the_name(runs: Path, before: bool) -> None:
    how = ["--json", "--runs", str(runs)]
    facts = json.loads(say("runs", *how, "photos") if before else say("runs", "photos", *how))
    assert facts["levels"]["model"] == FLOORS["model"]
    assert (facts["state"], facts["grad_norm"], facts["memorises"]) == ("stopped", 20.0, True)
    assert facts["averages"]["steps"] == [5, 9]


def test_a_run_that_has_not_begun_says_what_there_is_and_one_called_diff_can_be_shown(
    tmp_path: Path,
) -> None:
    for name in ("new", "diff"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()
    assert say("runs", "new", "--runs", str(tmp_path)).split() == ["new", "new"]
    assert say("runs", "show", "diff", "--runs", str(tmp_path)).split() == ["diff", "new"]


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("photos", "runs/photos"),
        ("runs/photos", "runs/photos"),
        ("runs/photos/", "runs/photos"),
        ("photos/", None),
        ("./photos", None),
        ("runs/../photos", None),
        ("sets/photos", None),
        ("alone", None),
        ("only/", None),
        ("only", "runs/only"),
    ],
)
def test_a_path_of_data_is_not_taken_for_the_run_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, means: str | None
) -> None:
    """Of a run and a folder of one name the name is the run, photos/ the folder."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "sets/photos", "alone", "runs/photos", "runs/only"):
        Path(folder).mkdir(parents=True)
    for name in ("photos", "only"):
        Path("runs", name, "config.toml").touch()
    found = run_or_data(typed, Path("runs"))
    assert found == (None if means is None else Path(means))
