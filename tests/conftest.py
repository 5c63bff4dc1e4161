"""What all tests share: the checkout and one seed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
