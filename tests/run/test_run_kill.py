"""R1, R7, R8: a training that is killed or stopped goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from figures import figure, times

STEPS, EACH = times(400, 1600), times(40, 60)  # in all, and between two signals at most
SETTINGS = {
    "net.name": "mlp",
    "batch": 64,
    "save_every": 20,
    "log_every": 1,
    "sample_every": 150,
    "sample.count": 4,
}
CODE = f"""
import sys, ornstein
from ornstein.errors import OrnsteinError
try:
    ornstein.train(
        "two-moons", name="run", runs=sys.argv[1], steps={STEPS}, seed=5, settings={SETTINGS}
    )
except OrnsteinError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(runs: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", CODE, str(runs)], env=environment)


def lines(runs: Path) -> int:
    log = runs / "run" / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def losses(runs: Path) -> dict[int, float]:
    records = [json.loads(line) for line in (runs / "run" / "log.jsonl").read_text().splitlines()]
    return {record["step"]: record["loss"] for record in records if "loss" in record}


def hit(runs: Path, number: signal.Signals, chance: random.Random) -> int:
    """Start the training, send a signal at a random moment of it, and return its exit code."""
    training = start(runs)
    # A moment counted in log lines from where it stands now, so that each round gets further.
    goal, before = lines(runs) + chance.randrange(1, EACH), time.monotonic()
    while training.poll() is None and lines(runs) < goal and time.monotonic() - before < 600:
        time.sleep(0.002)
    time.sleep(chance.random() * 0.05)
    if training.poll() is None:
        training.send_signal(number)
    return training.wait(timeout=600)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    runs = tmp_path_factory.mktemp("straight")
    assert start(runs).wait(timeout=600) == 0
    return losses(runs)


@pytest.mark.torture
def test_r1_after_kills_at_random_every_loss_is_bit_equal(
    straight: dict[int, float], tmp_path: Path
) -> None:
    chance = random.Random(1)
    tries = times(10, 50)
    codes = [hit(tmp_path, signal.SIGKILL, chance) for _ in range(tries)]
    killed = codes.count(-signal.SIGKILL)
    assert killed >= 0.8 * tries
    assert start(tmp_path).wait(timeout=600) == 0
    assert list(straight) == list(range(1, STEPS + 1))
    assert losses(tmp_path) == straight
    figure("R1", f"kill -9, {killed} times in one training", f"all {STEPS:,} losses bit-equal")


def test_r7_a_terminated_training_saves_its_step_and_exits_75(
    straight: dict[int, float], tmp_path: Path
) -> None:
    chance = random.Random(2)
    for number in (signal.SIGTERM, signal.SIGINT):
        assert hit(tmp_path, number, chance) == 75
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["state"] == "stopped"
        assert record["step"] == max(losses(tmp_path))
    assert start(tmp_path).wait(timeout=600) == 0
    assert losses(tmp_path) == straight
