"""Small parts of a bundle: defaults of sampling, and a trajectory about to be walked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ornstein.core import Level
from ornstein.guide import Guide
from ornstein.solvers import Step
from ornstein.tune import Tuned

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) after every step of the solver."""

# Matrix kernels for few rows sum in another order than those for many. Measured on x86 CPUs: from
# 16 rows on, in multiples of 16, each row has the same bits whatever the other rows and their
# number.
ROWS = 16


@dataclass(frozen=True)
class Sampler:
    """How a model is sampled when nothing else is said.

    Attributes:
        solver: Key of ``SOLVERS``.
        grid: Key of ``GRIDS``, or "tuned" for levels found for the model at these steps.
        schedule: Key of ``PROCESSES``, None for the process of training.
        steps: Steps of the solver.
        guidance: Scale of guidance towards the conditions; 1 is off.
        guide: Its manner, such as the levels that are guided.
    """

    solver: str = "dpmpp-2m"
    grid: str = "karras"
    schedule: str | None = None
    steps: int = 20
    guidance: float = 1.0
    guide: Guide = field(default_factory=Guide)

    def fewer(self, steps: int) -> Sampler:
        """The same way in another number of steps, where neither solver nor grid was chosen."""
        plain = (self.solver, self.grid) == (Sampler.solver, Sampler.grid)
        if plain and FEWEST <= steps < self.steps:
            return replace(self, solver=FEW[0], grid=FEW[1], steps=steps)
        return replace(self, steps=steps)

    @property
    def settings(self) -> dict[str, Any]:
        """All of it, fit for JSON; the manner of guidance where it is not the plainest."""
        return {k: v for k, v in asdict(self).items() if k != "guide"} | self.guide.settings

    @property
    def manner(self) -> Guide:
        """The manner of guidance; the plainest where nothing is guided."""
        return Guide() if self.guide.off(self.guidance) else self.guide


FEW, FEWEST = ("unipc-2", "blend"), 6
"""Solver and grid of fewer steps than a model's own, down to so few: docs/tune.md, measured."""


@dataclass(frozen=True)
class TunedGrid(Tuned):
    """Solver and levels found for a model, and for what: see ``ornstein.tune``.

    Attributes:
        schedule: Key of ``PROCESSES``.
        guidance: Scale of guidance.
        before: The error, on the same starts, of the way it was sampled before; of dpmpp-2m on
            its grid where its solver draws noise.
        guide: The manner of guidance.
    """

    schedule: str
    guidance: float
    before: float
    guide: Guide = field(default_factory=Guide)

    @property
    def suits(self) -> tuple[str, int, float, Guide]:
        """Schedule, steps and guidance it was found for."""
        return self.schedule, self.steps, self.guidance, self.guide

    @property
    def settings(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        return {k: v for k, v in asdict(self).items() if k != "guide"} | self.guide.settings


class Walk(NamedTuple):
    """A trajectory about to be walked.

    Attributes:
        start: x at levels[0], (n, *shape).
        levels: The grid, (steps + 1,).
        labels: Class of each item, (n,) int64, or None.
        steps: What the solver yields; walking happens as it is read.
        settings: All that this walk follows from, fit for JSON.
        evaluations: Calls of the network for each item.
    """

    start: Tensor
    levels: Level
    labels: Tensor | None
    steps: Iterator[Step]
    settings: dict[str, Any]
    evaluations: int


def fingerprint(net: nn.Module) -> str:
    """First 16 digits of the SHA-256 of the weights of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
