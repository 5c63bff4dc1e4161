"""Opening a model and walking from noise to data, for the commands that draw or sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ornstein.cli.options import chosen

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.viz import Reversal


def check_names(solver: str | None, grid: str | None, schedule: str | None) -> None:
    """Refuse unknown names before a model is loaded.

    Raises:
        UsageError: one of them is in no table.
    """
    from ornstein.core import GRIDS, PROCESSES
    from ornstein.solvers import SOLVERS

    chosen("solver", solver, SOLVERS)
    chosen("grid", grid, GRIDS)
    chosen("schedule", schedule, PROCESSES)


def opened(target: str, runs: Path) -> Bundle:
    """Load the model that ``target`` means and put it on the fastest device."""
    from ornstein.build import device
    from ornstein.bundle import load

    return load(target, runs).to(device())


def walked(
    bundle: Bundle,
    count: int,
    seed: int,
    steps: int | None,
    solver: str | None,
    grid: str | None,
    schedule: str | None,
    class_name: str | None,
    most: int,
    guidance: float | None = None,
) -> Reversal:
    """Walk ``count`` items from noise to data and keep at most ``most`` moments."""
    from ornstein.viz import record

    walk = bundle.walk(
        count,
        seed=seed,
        steps=steps,
        solver=solver,
        grid=grid,
        schedule=schedule,
        class_name=class_name,
        guidance=guidance,
    )
    return record(walk.start, walk.levels, walk.steps, most)
