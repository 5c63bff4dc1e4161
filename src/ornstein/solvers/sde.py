"""Exponential solvers of the reverse SDE: SDE-DPM-Solver++ and SA-Solver, with noise of any share.

The SDE whose noise has eta times the reverse SDE's variance (eta = 0 is the probability flow) is
solved, in lambda = log(alpha/sigma), by

    x_s = (sigma_s/sigma_t)·e^(-eta·h)·x + alpha_s·∫ (1 + eta)·e^(-(1 + eta)(h - u))·x0 du
          + sigma_s·sqrt(1 - e^(-2·eta·h))·z

(arXiv:2211.01095, section 4.5; arXiv:2309.05019, proposition 4.2, where eta is tau²). That is the
integral of x0 in a frame like DATA, so all rules of the flow's multistep solvers serve here too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Estimate, Level, spread
from ornstein.solvers.base import State
from ornstein.solvers.frame import DATA, LOG_SNR, Clock, Frame
from ornstein.solvers.multistep import Multistep
from ornstein.solvers.unipc import UniPC
from ornstein.solvers.weights import EXACT, MIDPOINT, Rule


def noisy(eta: float) -> Frame:
    """Return DATA with fresh noise: x/(sigma·rho^eta) against rho^-(1 + eta)."""

    def point(estimate: Estimate, t: Level, s: Level, randn: Draw) -> Tensor:
        fall = eta * (t.log_snr - s.log_snr)
        quiet = Level(s.alpha, s.sigma * (0.5 * fall).exp()).mix(estimate.x0, estimate.eps)
        if bool((s.sigma == 0).all()):
            return quiet
        return quiet + spread(s.sigma * (-torch.expm1(fall)).sqrt(), quiet) * randn(quiet)

    return Frame(
        lambda level: level.sigma * level.rho**eta,
        Clock(
            lambda level: level.rho ** -(1 + eta),
            lambda value: Level(value ** (1 / (1 + eta)), torch.ones_like(value)),
        ),
        DATA.slope,
        point,
    )


REVERSE = noisy(1.0)
"""The reverse SDE: eta = 1."""


@dataclass(frozen=True)
class SDEDPMpp(Multistep):
    """SDE-DPM-Solver++ (arXiv:2211.01095, section 4.5, and k-diffusion's 2M and 3M of that name).

    With one point and eta = 1 it is DDPM's ancestral step of the smaller variance. More than two
    points lower the error, but not its order: along a noisy path x0 is no smooth function.

    Args:
        frame: ``noisy(eta)``, eta above 0.
        points: Answers that the polynomial goes through.
        rule: As in ``Multistep``.
    """

    frame: Frame = REVERSE
    clock: Clock | None = LOG_SNR
    rule: Rule = MIDPOINT

    @property
    def order(self) -> int:
        """Of the law of the samples: at most 2."""
        return min(super().order, 2)


@dataclass(frozen=True)
class SASolver(UniPC):
    """SA-Solver (arXiv:2309.05019, algorithm 1): stochastic Adams, predictor and corrector.

    The answer at the predicted point mends that point, with the noise of its step kept, and
    starts the next step.

    Args:
        frame: ``noisy(tau²)``, tau above 0.
        points: Answers of the predictor; the corrector has one more.
        low: Least rho from which a step has noise; elsewhere it follows the flow.
        high: Greatest rho from which it has.
    """

    frame: Frame = REVERSE
    points: int = 3
    rule: Rule = EXACT
    low: float = 0.0
    high: float = inf

    @property
    def order(self) -> int:
        """Of the law of the samples: at most 2."""
        return min(super().order, 2)

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Mend x with the answer there, and predict x at level s."""
        loud = bool(((t.rho >= self.low) & (t.rho <= self.high)).all())
        now = self if loud else replace(self, frame=DATA)
        return super(SASolver, now).step(denoise, x, t, s, state, randn)
