"""R1, R7, R8: a training that is killed or stopped goes on as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.context
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

import ornstein
from figures import figure, times
from ornstein.errors import OrnsteinError

STEPS, EACH = times(60, 500), times(8, 16)  # in all, and between two signals at most
SETTINGS = {
    "net.name": "mlp",
    "precision": "float32",
    "batch": 64,
    "save_every": 5,
    "log_every": 1,
    "sample_every": times(25, 70),
    "sample.count": 4,
}
# Each training is a process of its own, forked from one that has only loaded the libraries.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ornstein.launch", "ornstein.session"])
Training = multiprocessing.context.ForkServerProcess


def train(runs: str) -> None:
    """Train, or go on, and exit as the command line does."""
    try:
        ornstein.train("two-moons", name="run", runs=runs, steps=STEPS, seed=5, settings=SETTINGS)
    except OrnsteinError as error:
        sys.exit(error.exit_code)


def start(runs: Path) -> Training:
    os.environ["OMP_NUM_THREADS"] = "1"
    training = FORKS.Process(target=train, args=(str(runs),))
    training.start()
    return training


def ended(training: Training) -> int | None:
    """Exit code of a training that ends within ten minutes."""
    training.join(600)
    return training.exitcode


def lines(runs: Path) -> int:
    log = runs / "run" / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def losses(runs: Path) -> dict[int, float]:
    records = [json.loads(line) for line in (runs / "run" / "log.jsonl").read_text().splitlines()]
    return {record["step"]: record["loss"] for record in records if "loss" in record}


def hit(runs: Path, number: signal.Signals, chance: random.Random) -> int | None:
    """Start the training, send a signal at a random moment of it, and return its exit code."""
    training = start(runs)
    # A moment counted in log lines from where it stands now, so that each round gets further.
    goal, before = lines(runs) + chance.randrange(1, EACH), time.monotonic()
    while training.is_alive() and lines(runs) < goal and time.monotonic() - before < 600:
        time.sleep(0.002)
    time.sleep(chance.random() * 0.05)
    if training.is_alive():
        assert training.pid is not None
        os.kill(training.pid, number)
    return ended(training)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    runs = tmp_path_factory.mktemp("straight")
    assert ended(start(runs)) == 0
    return losses(runs)


@pytest.mark.torture
def test_r1_after_kills_at_random_every_loss_is_bit_equal(
    straight: dict[int, float], tmp_path: Path
) -> None:
    chance = random.Random(1)
    tries = times(2, 50)
    codes = [hit(tmp_path, signal.SIGKILL, chance) for _ in range(tries)]
    killed = codes.count(-signal.SIGKILL)
    assert killed >= 0.75 * tries
    assert ended(start(tmp_path)) == 0
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
    assert ended(start(tmp_path)) == 0
    assert losses(tmp_path) == straight
