from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.launch import train
from ornstein.run import Silent

QUICK = ["net.size=tiny", "batch=64", "sample.count=4", "log_every=5"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_training_tells_its_steps_and_files_as_json_and_is_finished_the_second_time(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "two-moons", "--steps", "30", "--seed", "3", "--json", *QUICK]
    assert guarded(cli, words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    steps = [row for row in rows if row["event"] == "step"]
    assert steps[-1]["step"] == steps[-1]["steps"] == 30
    assert {"loss", "rate", "seconds_left", "elapsed", "images"} <= steps[-1].keys()
    saved = [row for row in rows if row["event"] == "saved"]
    assert saved
    assert all(Path(row["path"]).is_file() for row in saved)
    assert rows[-1] == {"event": "done", "run": "runs/two-moons", "state": "finished"}
    assert guarded(cli, [*words[: -len(QUICK) - 1], *QUICK]) == 0
    again = capsys.readouterr().out
    assert "finished" in again
    assert "model      runs/two-moons/model.safetensors" in again
    assert "ornstein sample two-moons" in again


def test_the_record_keeps_what_was_typed_as_it_can_be_typed_again(here: Path) -> None:
    words = ["train", "two-moons", "--steps", "2", "--quiet", "--name", "a", "--runs", "my runs"]
    assert guarded(cli, [*words, *QUICK]) == 0
    record = json.loads((here / "my runs" / "a" / "run.json").read_text())
    assert record["command"].startswith("ornstein train two-moons --steps 2")
    assert shlex.split(record["command"]) == ["ornstein", *words, *QUICK]
    run = train("two-moons", steps=2, settings=QUICK, runs=here, progress=Silent())
    assert run.record["command"] is None


def test_a_dry_run_prints_the_plan_and_makes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(cli, ["train", "two-moons", "--steps", "7", "--dry-run", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "two-moons" in out
    assert "7 steps" in out
    assert list(here.iterdir()) == []


def test_a_setting_given_with_and_without_its_flag_means_the_same(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        guarded(cli, ["train", "two-moons", "--steps", "7", "--dry-run", "batch=128", *QUICK[:1]])
        == 0
    )
    first = capsys.readouterr().out
    words = [
        "train",
        "two-moons",
        "--steps",
        "7",
        "--dry-run",
        "--set",
        "batch=128",
        "--set",
        QUICK[0],
    ]
    assert guarded(cli, words) == 0
    assert "batch 128" in first
    assert "batch 128" in capsys.readouterr().out


def test_r8_an_interrupt_saves_and_says_how_to_go_on(here: Path) -> None:
    words = ["train", "two-moons", "--steps", "100000", *QUICK]
    training = subprocess.Popen(
        [sys.executable, "-m", "ornstein", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = here / "runs" / "two-moons" / "log.jsonl"
    began = time.monotonic()
    while not (log.exists() and log.stat().st_size) and time.monotonic() - began < 60:
        time.sleep(0.05)
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=60)
    assert training.returncode == 75, (out, err)
    assert err.startswith("stopped at step ")
    assert "Run the same command to go on" in err
    assert "Traceback" not in err
    assert "step 1/100,000" in out
    assert json.loads((here / "runs" / "two-moons" / "run.json").read_text())["state"] == "stopped"
