"""Solvers: each moves x from one level to the next by asking the denoiser."""

from collections.abc import Callable

from ornstein.solvers.base import Solver, Step, sample, trace
from ornstein.solvers.first_order import DDIM

SOLVERS: dict[str, Callable[[], Solver]] = {
    "ddim": DDIM,
}

__all__ = ["DDIM", "SOLVERS", "Solver", "Step", "sample", "trace"]
