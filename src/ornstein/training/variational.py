"""The variational bound as an objective: alone, or a little of it beside the weighted error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ornstein.bound import Chain, Decoder
from ornstein.core import DDPM, GRIDS, Level, Process
from ornstein.model import Model, Output

STEPS = 1000  # of the chain of a process that is no table of betas


def whole_chain(process: Process) -> Level:
    """All levels of a table of betas, or 1,000 of another process, even in log-SNR; then clean."""
    if isinstance(process, DDPM):
        return process.levels
    return GRIDS["log-snr"](process, STEPS)


@dataclass(frozen=True)
class Variational:
    """L_vlb of a chain, one step of it for each item, times the number of steps.

    With a fixed variance it is a weight on the x0-error like any other, steps/2·(SNR_s - SNR_t)
    (arXiv:2107.00630, eq. 14); only a learned variance needs it.

    Attributes:
        chain: Its steps, on the variance-preserving scale.
        factor: What it is multiplied by.
        alone: Whether nothing else trains the mean. Beside the weighted error, the bound trains
            the variance only (arXiv:2102.09672, eq. 16).
    """

    chain: Chain
    factor: float = 1.0
    alone: bool = True

    def nearest(self, level: Level) -> Level:
        """Move levels, (B,), to those of the chain, whose steps they then are."""
        return self.chain.levels[self.place(level)]

    def place(self, level: Level) -> Tensor:
        """Index in the chain of the level nearest in log-SNR, clean excepted, (B,)."""
        marks = self.chain.levels.log_snr[:-1].to(level.alpha.device)
        return torch.searchsorted(0.5 * (marks[1:] + marks[:-1]), level.log_snr.contiguous())

    def loss(self, model: Model, said: Output, x: Tensor, clean: Tensor, level: Level) -> Tensor:
        """Nats per dimension of each item, (B,).

        Args:
            model: Its target reads the output.
            said: What its network says of x.
            x: Noisy points, (B, *D), at levels of the chain.
            clean: Data x0.
            level: (B,).
        """
        levels = self.chain.levels.to(level.alpha.device)
        after = levels[self.place(level) + 1]
        F = said.F if self.alone else said.F.detach()
        estimate = model.target.estimate(F, x, level)._replace(interpolation=said.interpolation)
        nats = self.chain.term(estimate, x, clean, level, after).flatten(1).mean(1)
        return (self.factor * self.chain.steps * nats).to(x.dtype)


LOSSES: dict[str, Callable[[Process, Decoder], Variational | None]] = {
    "weighted": lambda process, decoder: None,
    "vlb": lambda process, decoder: Variational(_chain(process, decoder)),
    "hybrid": lambda process, decoder: Variational(_chain(process, decoder), 0.001, alone=False),
}
"""What is minimised: the weighted error, the bound, or the first and a little of the second."""


def _chain(process: Process, decoder: Decoder) -> Chain:
    return Chain(whole_chain(process).unit(), decoder=decoder)
