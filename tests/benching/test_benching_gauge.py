"""The gauge: whose work keeps the machine busy."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from ornstein.benching import Gauge, Watch, gauge
from ornstein.benching.gauge import own_ticks

BUSY = """
import time
while time.process_time() < 0.5: pass
print("done", flush=True)
input()
"""


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


def own_seconds() -> float:
    return own_ticks() / os.sysconf("SC_CLK_TCK")


@LINUX
def test_work_of_what_we_start_is_ours_while_it_runs_and_afterwards() -> None:
    """As compilers work: one process starts another."""
    before = own_seconds()
    words = ["sh", "-c", '"$0" -c "$1"; exit 0', sys.executable, BUSY]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    running = own_seconds() - before
    child.communicate(b"\n")
    assert running == pytest.approx(0.5, abs=0.1)
    assert own_seconds() - before == pytest.approx(0.5, abs=0.1)


@LINUX
def test_work_of_others_is_told_from_our_own() -> None:
    """A process whose parent is gone is no longer ours."""
    before, start, watch = own_seconds(), time.monotonic(), Watch()
    words = ["sh", "-c", '"$0" -c "$1" &', sys.executable, BUSY]
    gone = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert gone.stdout is not None
    gone.wait()
    gone.stdout.readline()
    others = watch.others()
    assert others is not None
    assert others * (time.monotonic() - start) > 0.4
    assert own_seconds() - before < 0.2
    gone.stdout.close()


def test_a_gauge_says_what_it_measured() -> None:
    assert gauge(0.05).gflops > 0.1
    assert str(Gauge(141.4, 2, 0.06)) == ("quiet: 141 GFLOP/s on 2 threads, others use 0.1 cores")
    assert str(Gauge(80, 2, 0.9)).startswith("NOISY")
    assert str(Gauge(80, 1, None)) == "quiet: 80 GFLOP/s on 1 thread"
