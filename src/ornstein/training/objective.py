"""What training minimises: a law of noise levels and one weight on the error of x0.

Every known objective is a pair of these (arXiv:2303.00848): the weight is written once, as a
function of the level, on the squared error of x0, and divided by (dF/dx0)² it becomes the weight
on the network's own output. So the same weight means the same objective for every target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ornstein.core import Level, Process, Trig
from ornstein.model import Conditions, Model
from ornstein.training.coupling import Coupling, independent
from ornstein.training.times import Importance
from ornstein.training.variational import Variational, whole_chain

Weight = Callable[[Level], Tensor]
"""Weight on the squared x0-error, of the level's shape. Data are taken to have unit variance."""


def simple(level: Level) -> Tensor:
    """Unit weight on the eps-error, L_simple of DDPM (arXiv:2006.11239, eq. 14)."""
    return level.rho**-2


def x0(level: Level) -> Tensor:
    """Unit weight on the x0-error."""
    return torch.ones_like(level.rho)


def edm(level: Level) -> Tensor:
    """Unit weight on EDM's F (arXiv:2206.00364, table 1) and on v: SNR + 1."""
    return 1 + level.rho**-2


def flow(level: Level) -> Tensor:
    """Unit weight on the flow velocity eps - x0 (arXiv:2210.02747)."""
    return (1 + 1 / level.rho) ** 2


def min_snr(level: Level) -> Tensor:
    """min(SNR, 5) (arXiv:2303.09556)."""
    return (level.rho**-2).clamp(max=5)


def truncated_snr(level: Level) -> Tensor:
    """max(SNR, 1) (arXiv:2202.00512, section 4)."""
    return (level.rho**-2).clamp(min=1)


@dataclass(frozen=True)
class SoftMinSNR:
    """About min(SNR, cap), without the corner: 1/(1/SNR + 1/cap).

    Cap 1 is P2 with k = gamma = 1 (arXiv:2204.00227) and the soft min-SNR of k-diffusion; cap e^b
    is the sigmoid(b - log_snr) on the eps-error of arXiv:2303.00848.
    """

    cap: float

    def __call__(self, level: Level) -> Tensor:
        """Return the weight."""
        return 1 / (level.rho**2 + 1 / self.cap)


def likelihood(level: Level) -> Tensor:
    """The variational bound of continuous time, for the law "log-snr" and no other.

    g²(t) on the squared error of the score (arXiv:2101.09258, theorem 1) is SNR on that of x0 per
    unit of log-SNR (arXiv:2107.00630, eq. 17), so drawing log-SNR evenly, which is that paper's
    importance sampling of t, leaves the weight of ``simple``.
    """
    return simple(level)


WEIGHTS: dict[str, Weight] = {
    "simple": simple,
    "x0": x0,
    "edm": edm,
    "flow": flow,
    "min-snr": min_snr,
    "soft-min-snr": SoftMinSNR(1.0),
    "p2": SoftMinSNR(1.0),
    "sigmoid": SoftMinSNR(math.exp(2.0)),
    "truncated-snr": truncated_snr,
    "likelihood": likelihood,
}


class Law(Protocol):
    """A law of noise levels, given by its quantile function."""

    def __call__(self, u: Tensor, process: Process) -> Level:
        """Map u, (B,) in (0, 1), to levels."""
        ...


@dataclass(frozen=True)
class UniformTime:
    """Time uniform over what the process spans."""

    def __call__(self, u: Tensor, process: Process) -> Level:
        """Map u to levels."""
        low, high = process.span
        first, last = process.time(high), process.time(low)
        return process(first + u * (last - first))


@dataclass(frozen=True)
class LogNormal:
    """Log of rho = sigma/alpha normal (arXiv:2206.00364, section 5).

    The logit-normal time of rectified flow (arXiv:2403.03206, section 3.1) is the same law, since
    there rho = t/(1 - t).

    Attributes:
        location: Mean of log rho.
        scale: Its standard deviation.
    """

    location: float = -0.5
    scale: float = 1.2

    def __call__(self, u: Tensor, process: Process) -> Level:
        """Map u to levels."""
        log_rho = self.location + self.scale * torch.special.ndtri(u)
        return process.level(-2 * log_rho)


@dataclass(frozen=True)
class UniformLogSNR:
    """Log-SNR uniform over what the process spans: t in proportion to g²/sigma²."""

    def __call__(self, u: Tensor, process: Process) -> Level:
        """Map u to levels."""
        low, high = process.span
        return process.level(high + u * (low - high))


@dataclass(frozen=True)
class Cosine:
    """The levels of the cosine schedule without its ends, whatever the process.

    On a rectified flow that is the "CosMap" law of times of arXiv:2403.03206 (section 3.1).
    """

    def __call__(self, u: Tensor, process: Process) -> Level:
        """Map u to levels."""
        return process.level(Trig()(u).log_snr)


@dataclass(frozen=True)
class EvenSteps:
    """The levels of a chain, as often as each other: the t of DDPM, uniform in 1..T."""

    def __call__(self, u: Tensor, process: Process) -> Level:
        """Map u to levels."""
        levels = whole_chain(process)
        steps = len(levels) - 1
        return levels[steps - 1 - (u * steps).long().clamp(max=steps - 1)]


LAWS: dict[str, Callable[[float, float], Law]] = {
    "uniform": lambda location, scale: UniformTime(),
    "log-normal": LogNormal,
    "logit-normal": LogNormal,
    "log-snr": lambda location, scale: UniformLogSNR(),
    "cosine": lambda location, scale: Cosine(),
    "steps": lambda location, scale: EvenSteps(),
}
"""Laws by name; each is made from (location, scale), which only the normal one uses."""


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """One uniform draw in each of ``count`` equal cells of (0, 1), (count,) float64.

    All levels are met in every batch, which lowers the variance of the loss. The low-discrepancy
    times of arXiv:2107.00630 (appendix I.1) share one offset between the cells; an offset of its
    own for each cell has the same mean and errs less, as count^-3 and not count^-2 in variance.
    """
    offset = torch.rand(count, dtype=torch.float64, generator=generator)
    return ((torch.arange(count) + offset) / count).clamp(1e-12, 1 - 1e-12)


class Criterion(Protocol):
    """What a trainer minimises: :class:`Objective`, or another loss at noisy levels."""

    @property
    def process(self) -> Process:
        """Gives the levels."""
        ...

    @property
    def coupling(self) -> Coupling:
        """Which noise of a batch meets which item."""
        ...

    @property
    def times(self) -> Importance | None:
        """Where levels are met by their losses."""
        ...

    def choose(self, u: Tensor, /) -> tuple[Tensor, Tensor]:
        """Map even draws to quantiles of the law and weights of the losses."""
        ...

    def levels(self, u: Tensor, /) -> Level:
        """Map quantiles to levels on the variance-preserving scale."""
        ...

    def loss(
        self,
        model: Any,  # noqa: ANN401 - the kind of model that it is for
        clean: Tensor,
        eps: Tensor,
        level: Level,
        cond: Conditions,
        /,
    ) -> Tensor:
        """Loss of each item, (B,)."""
        ...


@dataclass(frozen=True)
class Objective:
    """A law of levels and a weight on the x0-error, and what may be added to them.

    Attributes:
        process: Gives the law its levels.
        law: Which levels are trained, and how often.
        weight: How much an error of x0 counts at each level.
        coupling: Which noise of a batch meets which item.
        bound: The variational bound, beside the weighted error or instead of it.
        times: Meets levels of large losses more often and weighs them less; it learns as it goes.
    """

    process: Process
    law: Law
    weight: Weight
    coupling: Coupling = independent
    bound: Variational | None = None
    times: Importance | None = None

    def choose(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map even draws u, (B,) in (0, 1), to quantiles of the law and weights of the losses."""
        return (u, torch.ones_like(u)) if self.times is None else self.times(u)

    def levels(self, u: Tensor) -> Level:
        """Map quantiles, (B,) in (0, 1), to levels on the variance-preserving scale."""
        level = self.law(u, self.process).unit()
        return level if self.bound is None else self.bound.nearest(level)

    def shares(self, log_snr: Tensor) -> Tensor:
        """Share of the law of levels that lies nearest to each of some log-SNRs, (L,)."""
        even = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
        near = (self.levels(even).log_snr[:, None] - log_snr).abs().argmin(1)
        return torch.bincount(near, minlength=len(log_snr)).double() / len(even)

    def loss(
        self, model: Model, clean: Tensor, eps: Tensor, level: Level, cond: Conditions
    ) -> Tensor:
        """Weighted squared error of each item, mean over its dimensions, or the bound, (B,).

        Args:
            model: Its network's output is compared with its target's.
            clean: Data x0, (B, *D).
            eps: Standard normal noise, (B, *D).
            level: (B,), on the variance-preserving scale.
            cond: Conditions of the items.
        """
        x = level.mix(clean, eps)
        said = model.output(x, level, cond)
        if self.bound is not None and self.bound.alone:
            return self.bound.loss(model, said, x, clean, level)
        error = said.F - model.target.of(clean, eps, level)
        scale = self.weight(level) / model.target.gain2(level)
        loss = scale.to(error) * error.flatten(1).square().mean(1)
        if self.bound is None:
            return loss
        return loss + self.bound.loss(model, said, x, clean, level)
