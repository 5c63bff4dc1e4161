"""One rank leads: it runs the session as if alone, and says before each step what to do.

So only rank 0 touches the run directory, measures the clock and decides when to stop; the others
hold the same weights and add their share of each batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import torch
from torch import Tensor

from ornstein.training.loop import Report, Trainer
from ornstein.training.ranks import Ranks


class Do(IntEnum):
    """What the other ranks are told to do."""

    STEP = 0
    RESTORE = 1
    TENSORS = 2
    AVERAGE = 3
    END = 4


class Leader(Trainer):
    """The trainer of rank 0: what it does with all ranks, it tells them first."""

    @property
    def others(self) -> Ranks:
        """The ranks that follow."""
        assert isinstance(self.ranks, Ranks)
        return self.ranks

    def step(self, total: int) -> Report:
        """Do one step of a training of ``total`` steps, on all ranks."""
        self._tell(Do.STEP, total, self.cut)
        return super().step(total)

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Go on from a checkpoint's tensors after ``step`` steps, on all ranks."""
        self._tell(Do.RESTORE, step, self.cut)
        self.others.tell_tensors(tensors)
        super().restore(tensors, step)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint holds; ranks that hold parts of it hand them over."""
        self._if_parted(Do.TENSORS)
        return super().tensors()

    def average(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        self._if_parted(Do.AVERAGE)
        return super().average()

    def end(self, code: int) -> None:
        """Let the others go, with the exit code of this rank."""
        self._tell(Do.END, code)

    def _if_parted(self, what: Do) -> None:
        if self.settings.shard:
            self._tell(what)

    def _tell(self, what: Do, number: int = 0, cut: float = 1.0) -> None:
        self.others.tell(torch.tensor([what, number, cut], dtype=torch.float64))


def follow(trainer: Trainer, ranks: Ranks) -> int:
    """Do what rank 0 says until it ends; returns its exit code."""
    while True:
        what, number, cut = ranks.tell(torch.zeros(3, dtype=torch.float64)).tolist()
        if what == Do.END:
            return int(number)
        trainer.cut = cut
        if what == Do.STEP:
            trainer.step(int(number))
        elif what == Do.RESTORE:
            trainer.restore(ranks.tell_tensors(), int(number))
        elif what == Do.TENSORS:
            trainer.tensors()
        else:
            trainer.average()
