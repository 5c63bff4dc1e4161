"""Langevin moves at one level: as sampler of their own, annealed, and as corrector."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.errors import UsageError
from ornstein.solvers.ancestral import Ancestral
from ornstein.solvers.base import Solver, State


def move(x: Tensor, eps: Tensor, level: Level, size: Tensor, randn: Draw) -> Tensor:
    """Return x + step·score + sqrt(2·step)·z with step = size·sigma² (arXiv:1907.05600, eq. 4).

    Args:
        x: Point at the level, (B, *D).
        eps: The denoiser's answer there, -sigma·score.
        level: Its level, () or (B,).
        size: Step in units of sigma², () or (B,). Of a law of variance v at this level the moves
            make one of variance v/(1 - size·sigma²/(2v)).
        randn: Source of z.
    """
    drift, noise = size * level.sigma, (2 * size).sqrt() * level.sigma
    return x - spread(drift, x) * eps + spread(noise, x) * randn(x)


@dataclass(frozen=True)
class AnnealedLangevin:
    """Annealed Langevin dynamics (arXiv:1907.05600, algorithm 1): moves at each level in turn.

    Nothing carries x from level to level but the moves, so the levels must lie close together.
    The very last move is the estimate of x0 with which NCSNv2 ends (arXiv:2006.09011).

    Args:
        size: Half of the paper's step over sigma², epsilon/(2·sigma_L²): 0.1 in NCSN, 0.03 in
            NCSNv2. A law is missed by a share of about size/2.
        moves: Moves at each level, T of the paper.
    """

    size: float = 0.3
    moves: int = 5
    order: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check(self.size, self.moves)

    @property
    def evaluations(self) -> int:
        """One for each move; from pure noise one in all."""
        return self.moves

    def init(self) -> State:
        """No memory."""
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Move x about at level t, and call it a point of level s."""
        if bool((t.alpha == 0).any()):  # nothing to anneal, and x/alpha is not there to be kept
            estimate = denoise(x, t)
            return s.mix(estimate.x0, estimate.eps), None
        size, last = torch.full_like(t.sigma, self.size), bool((s.sigma == 0).all())
        for _ in range(self.moves - last):
            x = move(x, denoise(x, t).eps, t, size, randn)
        return spread(s.alpha, x) * (denoise(x, t).x0 if last else x / spread(t.alpha, x)), None


@dataclass(frozen=True)
class PredictorCorrector:
    """Predictor and corrector (arXiv:2011.13456, algorithms 1, 4 and 5): Langevin, then a step.

    At each level the point is first corrected, then carried on, so that the walk ends with the
    predictor's estimate of x0.

    The paper's step is 2·(snr·|z|/|score|)², with norms averaged over the batch, where a sample
    depends on its neighbours. Here it is 2·(snr·sigma)², what that comes to where eps has unit
    variance; or, by ``norms``, each sample's own. Its norm then weighs the law: the corrector
    tends to p·|score|², which errs by 2/D for D dimensions, so it is for pictures, not for points.

    Args:
        predictor: Any solver; with ``EulerMaruyama(process)`` that of the reverse SDE.
        snr: The paper's r, about 0.16.
        moves: Corrections at each level.
        norms: Whether a sample's own score sets its step.
    """

    predictor: Solver = field(default_factory=partial(Ancestral, "small"))
    snr: float = 0.16
    moves: int = 1
    norms: bool = False
    order: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check(self.snr, self.moves)

    @property
    def evaluations(self) -> int:
        """The predictor's, and one for each correction."""
        return self.predictor.evaluations + self.moves

    def init(self) -> State:
        """The predictor's."""
        return self.predictor.init()

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Correct x at level t and move it to level s."""
        for _ in range(self.moves):
            eps = denoise(x, t).eps
            x = move(x, eps, t, self._size(eps, t), randn)
        return self.predictor.step(denoise, x, t, s, state, randn)

    def _size(self, eps: Tensor, level: Level) -> Tensor:
        size = torch.full_like(level.sigma, 2 * self.snr**2)
        if not self.norms:
            return size
        # |z|² is taken for its mean D: the draw's own would heat the noise by (D + 2)/D. For data
        # of unit variance |eps|²/D is (sigma/norm)² or more in the mean; one point near a mode may
        # have far less and would be thrown away.
        own = eps.flatten(1).square().mean(1).double()
        return size / own.maximum((level.sigma / level.norm) ** 2)


def _check(size: float, moves: int) -> None:
    if size <= 0 or moves < 1:
        raise UsageError(
            f"Langevin moves need a step above 0 and at least one move, got {size} and {moves}."
        )
