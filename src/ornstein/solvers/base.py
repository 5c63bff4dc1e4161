"""What a solver is, and the one loop that runs every solver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Estimate, FreshNoise, Level, Noise, check_descent
from ornstein.errors import DivergedError

State = Any
"""What a solver remembers between steps; it comes in and goes out, the solver keeps nothing."""


class Solver(Protocol):
    """Moves x from one level to the next by asking the denoiser.

    Attributes:
        order: Global order of accuracy on the probability-flow ODE (or of the weak error, for a
            stochastic solver), as claimed; the tests measure it. 0 for one whose bias does not
            vanish with the size of the steps.
        evaluations: Calls of the denoiser per step.
    """

    @property
    def order(self) -> int: ...

    @property
    def evaluations(self) -> int: ...

    def init(self) -> State:
        """Return the memory a trajectory starts with."""
        ...

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x, (B, *D), from level t to the cleaner level s."""
        ...


class Wrapper:
    """A solver around another: order, evaluations and memory are the inner one's unless said."""

    solver: Solver

    @property
    def order(self) -> int:
        """The solver's; of one that draws noise, for the law."""
        return self.solver.order

    @property
    def evaluations(self) -> int:
        """The solver's."""
        return self.solver.evaluations

    def init(self) -> State:
        """The solver's memory."""
        return self.solver.init()


class Step(NamedTuple):
    """One step of a trajectory, as the loop yields it.

    Attributes:
        number: 0 for the first step.
        x: Point at the level reached, (B, *D).
        level: The level reached.
        x0: The denoiser's estimate of x0 at the start of the step, (B, *D); costs no evaluation.
    """

    number: int
    x: Tensor
    level: Level
    x0: Tensor


class _Listening:
    """Passes calls through to a denoiser and keeps the first answer of a step, for previews."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise = denoise
        self.first: Tensor | None = None

    def __call__(self, x: Tensor, level: Level, /) -> Estimate:
        answer = self.denoise(x, level)
        if self.first is None:
            self.first = answer.x0
        return answer


def trace(
    denoise: Denoiser, x: Tensor, levels: Level, solver: Solver, noise: Noise | None = None
) -> Iterator[Step]:
    """Walk from levels[0] to levels[-1] and yield every step: for previews, films, progress.

    Args:
        denoise: Answers (x, level) with an Estimate.
        x: Start, a point at levels[0], (B, *D). Its dtype and device are those of the walk.
        levels: Grid of n + 1 levels that grow cleaner.
        solver: One of ``ornstein.solvers``.
        noise: Source of fresh noise for stochastic solvers; default torch's global generator.

    Raises:
        LevelError: the grid does not lead from noise to data.
        DivergedError: the point is no longer finite; the step and level are named.
    """
    check_descent(levels)
    noise = noise or FreshNoise()
    state = solver.init()
    for i in range(len(levels) - 1):
        listening = _Listening(denoise)
        with torch.no_grad():
            x, state = solver.step(listening, x, levels[i], levels[i + 1], state, noise.at(i))
        if not bool(torch.isfinite(x).all()):
            raise DivergedError(
                f"the sample is no longer finite after step {i} (rho {levels.rho[i]:.4g} to "
                f"{levels.rho[i + 1]:.4g}). The denoiser's answer there is too large: look at the "
                "model with 'ornstein show', or use more steps."
            )
        yield Step(i, x, levels[i + 1], x if listening.first is None else listening.first)


def sample(
    denoise: Denoiser, x: Tensor, levels: Level, solver: Solver, noise: Noise | None = None
) -> Tensor:
    """Walk from levels[0] to levels[-1] and return the last point; see :func:`trace`."""
    for last in trace(denoise, x, levels, solver, noise):
        x = last.x
    return x


def asked(levels: Level, solver: Solver) -> Level:
    """Levels at which a walk asks the denoiser, one for each call: what a walk costs.

    They are found by walking no items, since a step to clean data may ask less often than others.
    """
    met: list[Level] = []

    def note(x: Tensor, level: Level, /) -> Estimate:
        met.append(level)
        return Estimate(x0=x, eps=x)

    sample(note, torch.empty(0, 1, device=levels.alpha.device), levels, solver)
    return Level(
        torch.stack([level.alpha for level in met]), torch.stack([level.sigma for level in met])
    )
