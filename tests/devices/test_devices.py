"""E1: the library on a device that is not the CPU; foreign.py says what that is.

The walks are files of tests that run in one process of their own, since torch takes in a device
once and for the whole process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

WALKS = sorted(str(path) for path in Path(__file__).parent.glob("walk_*.py"))
# Threads of the device would wait for an interpreter that is being taken down.
RUN = (
    "import os, sys, pytest; code = pytest.main(sys.argv[1:]); sys.stdout.flush(); os._exit(code)"
)


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch takes in no device that is written in Python",
)
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_the_library_gives_a_foreign_device_the_same_numbers_and_mixes_nothing(
    which: str,
) -> None:
    around = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "-q", "-p", "no:cacheprovider", "-m", which, *WALKS],
        env={**around, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[:4000]
