"""The solver and the levels that suit one denoiser at one number of steps, found by measuring.

No formula says where a given denoiser needs its steps, so walks of few steps are compared with the
true ends of the same trajectories. All solvers race on the named grids and on blends; for the best
of them every level is then moved freely, until the ends come no closer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import GRIDS, PROCESSES, Gaussian, ItemNoise, Level, Process
from ornstein.core.grid import blend
from ornstein.errors import DivergedError, LevelError, OrnsteinError, UsageError, look_up
from ornstein.solvers import FLOW, SOLVERS, Solver, sample
from ornstein.tune.fit import fit
from ornstein.tune.truth import Truth, from_start

FREE = "tuned"
"""What a grid is called whose levels were found, not computed."""

BLENDS = (0.25, 0.75)  # beside the named half
FINALISTS = 3
EXTRA, POLISH = 8, 2  # walks on a finalist beyond one for each level; times as many on the best

# A level's place is sigma/(alpha + sigma): 1 for pure noise, 0 for clean data.
place_of = FLOW.clock


@dataclass(frozen=True)
class Tuned:
    """A solver and the levels it walks.

    Attributes:
        solver: Key of ``SOLVERS``.
        places: sigma/(alpha + sigma) of each level, steps + 1 numbers that fall to 0.
        error: RMS per dimension from the true ends, on starts that were not tuned on.
    """

    solver: str
    places: tuple[float, ...]
    error: float

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.places) - 1

    def levels(self, process: Process) -> Level:
        """The levels on the scale of a process.

        Raises:
            LevelError: they were found for a process that starts from another level.
        """
        return levels_at(process, torch.tensor(self.places, dtype=torch.float64))


class Trial(NamedTuple):
    """A way that was walked, and how far it ended from the truth, RMS per dimension."""

    solver: str
    grid: str
    error: float


class Tuning(NamedTuple):
    """What tuning found; all errors but those of the race on starts that were not tuned on.

    Attributes:
        best: The best of all.
        usual: The way one would have gone.
        named: The best way on a grid that has a name.
        race: All ways on computed grids, best first, by the few starts that they raced on.
        doubt: How sure the truth itself is, see :class:`Truth`.
    """

    best: Tuned
    usual: Trial
    named: Trial
    race: tuple[Trial, ...]
    doubt: float


def tune(
    truth: Truth,
    fresh: Truth,
    steps: int,
    *,
    solvers: Sequence[str] = (),
    usual: tuple[str, str] = ("dpmpp-2m", "karras"),
    extra: int = EXTRA,
) -> Tuning:
    """Find the solver and the levels with which walks of ``steps`` steps end nearest to the truth.

    Args:
        truth: What is tuned on; its first batch alone serves for the race.
        fresh: Other starts on the same process, to measure the outcome.
        steps: Steps of the walk.
        solvers: Keys of ``SOLVERS`` to choose from; by default see :func:`candidates`.
        usual: Solver and grid to compare with.
        extra: Walks to spend on a finalist beyond one for each level.

    Raises:
        UsageError: an unknown solver, or one that draws noise.
        LevelError: the usual grid has no such number of steps.
        DivergedError: no solver reaches clean data.
    """
    grids, lap = family(truth.process, steps), truth.first()
    race = sorted(
        (
            Trial(s, g, lap.error(grids[g], SOLVERS[s]()))
            for s in candidates(solvers)
            for g in grids
        ),
        key=lambda trial: trial.error,
    )
    if not race[0].error < torch.inf:
        raise DivergedError(f"none of the solvers reaches clean data in {steps} steps; use more.")
    moved = [
        _moved(truth, trial.solver, place_of(grids[trial.grid]), steps + extra)
        for trial in _leaders(race)
    ]
    first = min(moved, key=lambda way: way.error)
    best = _moved(truth, first.solver, torch.tensor(first.places), steps + POLISH * extra)

    def again(solver: str, grid: str) -> Trial:
        levels = GRIDS[grid](fresh.process, steps)
        return Trial(solver, grid, fresh.error(levels, SOLVERS[solver]()))

    best = replace(best, error=fresh.error(best.levels(fresh.process), SOLVERS[best.solver]()))
    named = next(trial for trial in race if trial.grid in GRIDS)
    return Tuning(best, again(*usual), again(named.solver, named.grid), tuple(race), fresh.doubt)


def price(steps: int, solvers: int, items: int, racing: int) -> int:
    """Evaluations, of one item each, that :func:`tune` spends at most.

    Args:
        steps: Steps of the walk.
        solvers: How many race.
        items: Items in the truth, and as many in the fresh one.
        racing: Items in its first batch.
    """
    race = racing * solvers * (len(GRIDS) + len(BLENDS))
    walks = FINALISTS * (steps + EXTRA + 1) + steps + POLISH * EXTRA + 1 + 3
    return steps * (race + items * walks)


def _leaders(race: Sequence[Trial]) -> list[Trial]:
    """The best ways of the best solvers, each solver once."""
    best: dict[str, Trial] = {}
    for trial in race:
        best.setdefault(trial.solver, trial)
    return [trial for trial in best.values() if trial.error < torch.inf][:FINALISTS]


def _moved(truth: Truth, solver: str, places: Tensor, runs: int) -> Tuned:
    """The solver with every level but the first and the last moved to where it serves best.

    The unknowns are the logarithms of the gaps between the places, so that no two levels cross.
    """
    start = place_of(truth.process(1.0))

    def at(log_gaps: Tensor) -> Tensor:
        rising = log_gaps.softmax(0).flip(0).cumsum(0).flip(0)
        return torch.cat([start[None], start * rising[1:], start.new_zeros(1)])

    def residual(log_gaps: Tensor) -> Tensor:
        return truth.residual(levels_at(truth.process, at(log_gaps)), SOLVERS[solver]())

    found = at(fit(residual, (-places.diff()).log(), runs))
    error = truth.error(levels_at(truth.process, found), SOLVERS[solver]())
    return Tuned(solver, tuple(found.tolist()), error)


def levels_at(process: Process, places: Tensor) -> Level:
    """The levels at given places, (n + 1,), on the scale of a process.

    Raises:
        LevelError: the first place is not that of the process's noisiest level.
    """
    start = place_of(process(1.0))
    if abs(float(places[0] - start)) > 1e-6:
        raise LevelError(
            f"these levels start at sigma/(alpha + sigma) = {places[0]:.6g}, but the process at "
            f"{start:.6g}. Use the process they were found for, or tune again."
        )
    return from_start(process, FLOW.clock.level(places[1:-1]).log_snr)


def family(process: Process, steps: int) -> dict[str, Level]:
    """The named grids that have so many steps, and more blends."""
    grids = {}
    for name, make in GRIDS.items():
        with suppress(LevelError):
            grids[name] = make(process, steps)
    return grids | {f"blend-{share:g}": blend(process, steps, share) for share in BLENDS}


def candidates(names: Sequence[str] = ()) -> list[str]:
    """Solvers that can be tuned: of those named, or of all, each method once.

    Left out are solvers that draw noise, whose walks have no true end, and, when none is named,
    those that ask more than once a step.

    Raises:
        UsageError: a named solver is unknown or draws noise.
    """
    for name in names:
        look_up("solver", name, SOLVERS)
        if not is_deterministic(name):
            raise UsageError(
                f"'{name}' draws noise, so its walks have no true end to be tuned to; name one "
                "that draws none, such as dpmpp-2m."
            )
    if names:
        return list(names)
    chosen: dict[str, Solver] = {}
    for name, make in SOLVERS.items():
        solver = make()
        if solver.evaluations == 1 and solver not in chosen.values() and is_deterministic(name):
            chosen[name] = solver
    return list(chosen)


def is_deterministic(name: str) -> bool:
    """Whether walks of a solver are the same with other noise; an exact denoiser is asked."""
    law, x = Gaussian(torch.zeros(1), torch.eye(1)), torch.ones(1, 1)
    grid = GRIDS["log-snr"](PROCESSES["linear"](), 3)
    with suppress(OrnsteinError):
        one, other = (
            sample(law, x, grid, SOLVERS[name](), ItemNoise(seed, [0])) for seed in (0, 1)
        )
        return torch.equal(one, other)
    return False
