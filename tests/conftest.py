"""What all tests share: the checkout and one seed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; threads of one would only wait for those of another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
SLOW = 3600  # seconds that a slow test may take


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests more time than pyproject.toml allows, and those of make torture any."""
    torture = "ORNSTEIN_TORTURE" in os.environ
    for item in items:
        if torture or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0 if torture else SLOW))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """Every file git tracks, relative to the checkout."""
    found = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("this is not a git checkout, so there is no list of tracked files")
    return [Path(name) for name in found.stdout.split("\0") if name and (root / name).is_file()]


@pytest.fixture(autouse=True)
def whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan as where there is no half precision: whether it pays is measured, run by run.

    Two trainings that must not differ would, on a busy machine that has it.
    """
    monkeypatch.setattr("ornstein.planning.planning.has_bfloat16", lambda where: False)
