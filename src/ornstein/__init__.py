"""Train, sample, evaluate and edit with your own diffusion models.

    import ornstein as orn
    run = orn.train("photos/", size=32)
    images = run.sample(16, seed=7)
    model = orn.load("runs/photos")

Names are looked up when they are first used, so that importing the package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Bundle": "ornstein.bundle",
    "Dataset": "ornstein.data",
    "Model": "ornstein.model",
    "OrnsteinError": "ornstein.errors",
    "Run": "ornstein.run",
    "Silent": "ornstein.run",
    "load": "ornstein.bundle",
    "open_data": "ornstein.data",
    "open_run": "ornstein.run",
    "train": "ornstein.launch",
}

if TYPE_CHECKING:
    from ornstein.bundle import Bundle, load
    from ornstein.data import Dataset, open_data
    from ornstein.errors import OrnsteinError
    from ornstein.launch import train
    from ornstein.model import Model
    from ornstein.run import Run, Silent, open_run

__all__ = [
    "Bundle", "Dataset", "Model", "OrnsteinError", "Run", "Silent", "load", "open_data",
    "open_run", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'ornstein' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
