"""The gauge: whose work keeps the machine busy."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from ornstein.benching import Gauge, Watch, gauge

BUSY = """
import time
while time.process_time() < 0.5: pass
print("done", flush=True)
input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_work_of_others_is_told_from_our_own() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    start, alone, both = time.monotonic(), Watch(), Watch([child.pid])
    child.stdout.readline()
    spent = time.monotonic() - start
    among_others, among_ours = alone.others(), both.others()
    child.communicate(b"\n")
    assert among_others is not None
    assert among_ours is not None
    assert (among_others - among_ours) * spent == pytest.approx(0.5, abs=0.1)


def test_a_gauge_says_what_it_measured() -> None:
    assert gauge(0.05).gflops > 0.1
    assert str(Gauge(141.4, 2, 0.06)) == ("quiet: 141 GFLOP/s on 2 threads, others use 0.1 cores")
    assert str(Gauge(80, 2, 0.9)).startswith("NOISY")
    assert str(Gauge(80, 1, None)) == "quiet: 80 GFLOP/s on 1 thread"
