"""The same work by several libraries in turn: one piece of each, round after round.

Each runs in a process of its own, in its own environment, and waits while another works. Between
the rounds a matrix product gauges the machine; only the ratios within a round are trusted.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.serving import Ask
from benchmarks.variants import Variant
from ornstein.benching import Gauge, Watch, gauge
from ornstein.errors import OrnsteinError, UsageError

# By the wall, or of the processor, which a busy machine does not stretch.
CLOCKS: dict[str, Callable[[], float]] = {
    "seconds": time.perf_counter,
    "processor": time.process_time,
}


@dataclass
class Runner:
    """One library at work.

    Attributes:
        variant: Who it is.
        process: Its program.
        facts: What it said of itself when it was ready.
        times: Seconds of each piece of work.
        grown: Bytes by which its memory grew at most since it was ready to work.
    """

    variant: Variant
    process: subprocess.Popen[str]
    facts: dict[str, Any]
    times: list[float] = field(default_factory=list)
    grown: int = 0

    def once(self, clock: str) -> None:
        """Do the work once and note its time, by a clock of CLOCKS."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told = heard(self.process, self.variant)
        self.times.append(told[clock])
        self.grown = told["grown"]


@dataclass(frozen=True)
class Race:
    """What was measured: runners by name, a gauge before each round, others' cores, the clock."""

    runners: Mapping[str, Runner]
    gauges: list[Gauge]
    others: float | None
    clock: str = "seconds"


def race(
    variants: Mapping[str, Variant],
    task: str,
    rounds: int,
    batch: int,
    peer_python: Path,
    log: Path,
    say: Callable[[str], None],
    clock: str = "seconds",
) -> Race:
    """Start everybody, then let each do the work once a round.

    Raises:
        OrnsteinError: a program ended; its log is named.
        UsageError: processor time of several threads, which counts their waiting for each other.
    """
    with ExitStack() as stack:
        runners = {}
        for name, variant in variants.items():
            ask = Ask(task, batch, options=variant.options)
            runners[name] = stack.enter_context(running(variant, ask, peer_python, log))
            if clock != "seconds" and runners[name].facts["threads"] > 1:
                raise UsageError(
                    "processor time is told of one thread only; set OMP_NUM_THREADS=1."
                )
            say(f"{variant.title}: ready, first piece {runners[name].facts['first']:.1f} s")
        watch = Watch()
        gauges = []
        for number in range(rounds):
            gauges.append(gauge(0.5, CLOCKS[clock]))
            for runner in runners.values():
                runner.once(clock)
            say(f"round {number + 1} of {rounds}: {gauges[-1].gflops:.0f} GFLOP/s")
        return Race(runners, gauges, watch.others(), clock)


@contextmanager
def running(variant: Variant, ask: Ask, peer_python: Path, log: Path) -> Iterator[Runner]:
    """Start a library's program, and end it afterwards."""
    command = [*variant.command(peer_python), json.dumps(asdict(ask))]
    with log.open("a") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True
        )
    try:
        yield Runner(variant, process, heard(process, variant))
    finally:
        process.kill()
        process.wait()


def heard(process: subprocess.Popen[str], variant: Variant) -> dict[str, Any]:
    """Read one answer.

    Raises:
        OrnsteinError: the program ended instead.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise OrnsteinError(
            f"the program of '{variant.title}' ended with {process.wait()}; the log beside the "
            "table says why."
        )
    return dict(json.loads(line))
