"""Where what can be made again is kept: decoded pictures, learned judges, compiled networks."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "ORNSTEIN_CACHE"


def cache_place() -> Path | None:
    """$ORNSTEIN_CACHE, else ornstein in the user's cache folder; None without a home directory."""
    if chosen := os.environ.get(ENVIRONMENT):
        return Path(chosen).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ornstein"
    except RuntimeError:
        return None
