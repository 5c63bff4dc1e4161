"""Where a denoiser's probability flow leads from given noise, and how far off a walk ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import Denoiser, Level, Process
from ornstein.core.grid import closed
from ornstein.errors import DivergedError, LevelError
from ornstein.solvers import AngleAB, Solver, sample

TRUTH_STEPS = 128
TRUTH_PRICE = TRUTH_STEPS + TRUTH_STEPS // 2
"""Evaluations of each item that its truth costs."""


class Start(NamedTuple):
    """Noise that walks start from, in one batch, and who is asked about it.

    Attributes:
        denoise: Bound to these rows, if it has conditions.
        noise: Standard normal, (B, *D).
    """

    denoise: Denoiser
    noise: Tensor


@dataclass(frozen=True, eq=False)
class Truth:
    """Starts, and the ends of their exact trajectories.

    Attributes:
        process: Whose noisiest level the trajectories start from.
        starts: The batches.
        ends: Clean points, one (B, *D) for each batch.
        doubt: RMS per dimension by which the ends moved when the steps were last doubled: an
            upper bound of their own error.
    """

    process: Process
    starts: tuple[Start, ...]
    ends: tuple[Tensor, ...]
    doubt: float

    @classmethod
    def of(
        cls,
        process: Process,
        starts: Sequence[Start],
        *,
        steps: int = TRUTH_STEPS,
        cleanest: float | None = None,
    ) -> Truth:
        """Walk ``steps`` and half as many steps of third order from each start.

        Args:
            process: Where to walk.
            starts: From where.
            steps: Evaluations of the denoiser; half as many more go into ``doubt``.
            cleanest: Log-SNR from which the last step leads to clean data; by default the end of
                the process's span, which is as far as a network was trained.
        """
        rough, ends = (
            _ends(starts, dense(process, count, cleanest), AngleAB())
            for count in (steps // 2, steps)
        )
        return cls(process, tuple(starts), ends, float(_gap(rough, ends).norm()))

    def residual(self, levels: Level, solver: Solver) -> Tensor:
        """What a walk misses, all numbers in one row, float64, scaled so that its norm is the RMS.

        A walk that diverges, or that has two levels in one place, misses by infinity.
        """
        try:
            return _gap(_ends(self.starts, levels, solver), self.ends)
        except (DivergedError, LevelError):
            return torch.full((sum(end.numel() for end in self.ends),), torch.inf)

    def error(self, levels: Level, solver: Solver) -> float:
        """RMS per dimension between the ends of a walk and the true ends."""
        return float(self.residual(levels, solver).norm())

    def first(self) -> Truth:
        """The first batch alone."""
        return Truth(self.process, self.starts[:1], self.ends[:1], self.doubt)


def dense(process: Process, steps: int, cleanest: float | None = None) -> Level:
    """From the noisiest level of a process evenly in log-SNR to ``cleanest``, then to clean."""
    start, (low, high) = process(1.0), process.span
    log_snr = torch.linspace(low, high if cleanest is None else cleanest, steps)
    return from_start(process, log_snr[log_snr > start.log_snr + 1e-6])


def from_start(process: Process, log_snr: Tensor) -> Level:
    """The noisiest level of a process, those of the given log-SNR, and the clean one."""
    start, inner = process(1.0), process.level(log_snr)
    noisy = Level(
        torch.cat([start.alpha[None], inner.alpha]), torch.cat([start.sigma[None], inner.sigma])
    )
    return closed(process, noisy)


def _ends(starts: Sequence[Start], levels: Level, solver: Solver) -> tuple[Tensor, ...]:
    scale = float(levels.sigma[0])
    return tuple(sample(start.denoise, start.noise * scale, levels, solver) for start in starts)


def _gap(found: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    off = torch.cat([(a - b).double().reshape(-1).cpu() for a, b in zip(found, true, strict=True)])
    return off.div(len(off) ** 0.5)
