"""The numpy oracles of the neighbouring folder are plain modules for the tests of the solvers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracles"))
