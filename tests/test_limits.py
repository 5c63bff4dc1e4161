"""A test that never ends is ended, and the others go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SUITE = '''
import subprocess, sys, pytest

@pytest.fixture(autouse=True)
def whole_numbers():
    """In the place of that of conftest.py, which imports torch for seconds."""

def limit(request):
    return [mark.args for mark in request.node.iter_markers("timeout")]

def test_that_never_ends():
    while True:
        pass

def test_that_waits_for_a_process_that_never_ends():
    subprocess.run([sys.executable, "-c", "import time; print('MARK'); time.sleep(600)"])

@pytest.mark.slow
def test_slow(request):
    assert limit(request) == [(LIMIT,)]

def test_quick(request):
    assert limit(request) == QUICK
'''


def tried(folder: Path, limit: int, quick: list[tuple[int]], *words: str) -> str:
    """What pytest says of the suite, run as ours is but with three seconds for each test."""
    root = Path(__file__).resolve().parent.parent
    shutil.copy(root / "tests" / "conftest.py", folder)
    text = SUITE.replace("LIMIT", str(limit)).replace("QUICK", str(quick))
    (folder / "test_suite.py").write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "ORNSTEIN"))}
    if quick:
        environment["ORNSTEIN_TORTURE"] = "figures.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", root / "pyproject.toml", "-o", "timeout=3",
         "-m", "slow or not slow", "-p", "no:cacheprovider", folder, *words],
        capture_output=True, text=True, check=False, env=environment, timeout=100,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="without alarms the whole process is ended")
def test_a_test_that_never_ends_fails_and_the_others_go_on(tmp_path: Path) -> None:
    began = time.monotonic()
    said = tried(tmp_path, 3600, [])
    assert "2 failed, 2 passed" in said
    assert said.count("Failed: Timeout (>3.0s)") >= 2
    assert time.monotonic() - began < 60


def test_tests_of_torture_have_no_limit(tmp_path: Path) -> None:
    assert "2 passed" in tried(tmp_path, 0, [(0,)], "-k", "slow or quick")


def test_the_suite_itself_has_a_limit(request: pytest.FixtureRequest) -> None:
    assert float(request.config.getini("timeout")) == 600
