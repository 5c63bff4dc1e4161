"""The first picture from a cold start: the whole of `ornstein sample -n 1`, and torch's import."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.standings import spread
from ornstein.benching import Watch, gauge, summed_up
from ornstein.errors import OrnsteinError, UsageError

IMPORT = (sys.executable, "-c", "import torch")
HEADER = "| what | seconds |\n|---|---|"


class Round(NamedTuple):
    """Seconds of one round, by the clock from a command to the end of its process.

    Attributes:
        torch: Of a process that imports torch and does nothing.
        whole: Of the command that makes a picture.
        sampling: What that command told of its sampling alone.
    """

    torch: float
    whole: float
    sampling: float

    @property
    def ratio(self) -> float:
        """The command without its sampling, in times of torch's import."""
        return (self.whole - self.sampling) / self.torch


def measure(model: Path, rounds: int, say: Callable[[str], None]) -> str:
    """Both in turn, so many times, after one of each that fills the cache of files.

    Raises:
        OrnsteinError: a command failed; its words are told.
        UsageError: no rounds.
    """
    if rounds < 1:
        raise UsageError(f"{rounds} rounds measure nothing; --rounds takes 1 or more.")
    one_round(model)
    watch, gauges, done = Watch(), [], []
    for number in range(rounds):
        gauges.append(gauge(0.5))
        done.append(one_round(model))
        say(f"round {number + 1} of {rounds}: {done[-1].ratio:.2f} times torch's import")
    return "\n".join([table(done), "", summed_up(gauges, watch.others())])


def one_round(model: Path) -> Round:
    """Torch's import, then a picture; each in a process of its own."""
    asked = [sys.executable, "-m", "ornstein", "sample", str(model), "-n", "1", "--json"]
    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = timed(IMPORT)
        whole, words = timed([*asked, "--out", f"{folder}/sample"])
    return Round(seconds, whole, json.loads(words)["seconds"])


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Seconds from the start of a process to its end, and what it printed."""
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    spent = time.monotonic() - began
    if ended.returncode:
        raise OrnsteinError(f"{' '.join(command)} failed: {ended.stderr.strip()}")
    return spent, ended.stdout


def table(rounds: Sequence[Round]) -> str:
    """The median of the rounds, the least and the greatest."""
    rows = {
        "`import torch`": [r.torch for r in rounds],
        "`ornstein sample MODEL -n 1`": [r.whole for r in rounds],
        "of which sampling": [r.sampling for r in rounds],
    }
    lines = [f"| {name} | {spread(seconds, '.1f')} |" for name, seconds in rows.items()]
    ratio = spread([r.ratio for r in rounds], ".2f")
    last = f"{len(rounds)} rounds. Without sampling: {ratio} times torch's import."
    return "\n".join([HEADER, *lines, "", last])
