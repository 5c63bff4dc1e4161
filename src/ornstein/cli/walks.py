"""Opening a model and walking from noise to data, for the commands that draw or sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ornstein.cli.guiding import led
from ornstein.cli.options import asked, chosen, precision

if TYPE_CHECKING:
    from ornstein.bundle import Bundle, Sampler
    from ornstein.viz import Reversal


def check_names(names: Mapping[str, Any]) -> None:
    """Refuse unknown names of solver, grid and schedule before a model is loaded.

    Raises:
        UsageError: one of them is in no table.
    """
    from ornstein.core import GRIDS, PROCESSES
    from ornstein.solvers import SOLVERS
    from ornstein.tune import FREE

    chosen("solver", names.get("solver"), SOLVERS)
    chosen("grid", names.get("grid"), [*GRIDS, FREE])
    chosen("schedule", names.get("schedule"), PROCESSES)


def opened(target: str, runs: Path) -> Bundle:
    """Load the model that ``target`` means, as :func:`placed`, with what is asked to lead it.

    Raises:
        UsageError: a name asked for is unknown, which is said before anything is loaded; there is
            no such model or precision; or what leads does not fit.
    """
    check_names(asked())
    return led(placed(target, runs), runs)


def placed(target: str, runs: Path) -> Bundle:
    """Load the model that ``target`` means, put it on the fastest device, in the precision asked.

    Raises:
        UsageError: no such model, or no such precision.
    """
    from ornstein.build import fastest_device
    from ornstein.bundle import load

    return load(target, runs).to(fastest_device(), precision())


def walked(
    bundle: Bundle,
    count: int,
    most: int,
    *,
    seed: int,
    cond: Mapping[str, object],
    sampler: Sampler,
) -> Reversal:
    """Walk ``count`` items from noise to data and keep at most ``most`` moments."""
    from ornstein.viz import record

    walk = bundle.walk(count, seed=seed, cond=cond, sampler=sampler)
    return record(walk.start, walk.levels, walk.steps, most)
