"""One rank leads: it runs the session as if alone, and says before each step what to do.

So only rank 0 touches the run directory, measures the clock and decides when to stop; the others
hold the same weights and add their share of each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from ornstein.errors import OrnsteinError, RankError
from ornstein.training.loop import Report, Trainer
from ornstein.training.ranks import Ranks, Share


class Do(IntEnum):
    """What the other ranks are told to do."""

    BUILD = 0
    STEP = 1
    RESTORE = 2
    TENSORS = 3
    AVERAGE = 4
    END = 5


def tell(ranks: Share, what: Do, number: int = 0, cut: float = 1.0) -> None:
    """Tell the other ranks, if there are any, what this one is about to do with them."""
    if isinstance(ranks, Ranks):
        ranks.tell(torch.tensor([what, number, cut], dtype=torch.float64))


@contextmanager
def together(ranks: Share, what: Do, number: int = 0, cut: float = 1.0) -> Iterator[None]:
    """Tell the other ranks, if there are any, what to do, and do this rank's part within it."""
    if not isinstance(ranks, Ranks):
        yield
        return
    tell(ranks, what, number, cut)
    ranks.amidst.set()
    yield
    ranks.amidst.clear()  # not where an error left the others in the middle of it


@contextmanager
def leading(ranks: Share) -> Iterator[None]:
    """Within it, whatever ends this rank's work ends that of the others, with its exit code.

    In the middle of work of all ranks they hear of no end; they see that this rank is gone.
    """
    try:
        yield
    except RankError:
        raise
    except OrnsteinError as error:
        if not (isinstance(ranks, Ranks) and ranks.amidst.is_set()):
            tell(ranks, Do.END, error.exit_code)
        raise
    tell(ranks, Do.END)


class Leader(Trainer):
    """The trainer of rank 0: what it does with all ranks, it tells them first."""

    def step(self, total: int) -> Report:
        """Do one step of a training of ``total`` steps, on all ranks."""
        with together(self.ranks, Do.STEP, total, self.cut):
            return super().step(total)

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Go on from a checkpoint's tensors after ``step`` steps, on all ranks."""
        assert isinstance(self.ranks, Ranks)
        with together(self.ranks, Do.RESTORE, step):
            super().restore(self.ranks.tell_tensors(tensors), step)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint holds; ranks that hold parts of it hand them over."""
        with self._if_parted(Do.TENSORS):
            return super().tensors()

    def average(self) -> dict[str, Tensor]:
        """The averaged weights by name; ranks that hold parts of them hand them over."""
        with self._if_parted(Do.AVERAGE):
            return super().average()

    def _if_parted(self, what: Do) -> AbstractContextManager[None]:
        return together(self.ranks, what) if self.settings.shard else nullcontext()


def follow(ranks: Ranks, build: Callable[[Any], Trainer]) -> int:
    """Do what rank 0 says until it ends; returns its exit code.

    Args:
        ranks: This rank and the others.
        build: Makes the trainer that rank 0 describes.
    """
    trainer: Trainer | None = None
    while True:
        what, number, cut = ranks.tell(torch.zeros(3, dtype=torch.float64)).tolist()
        if what == Do.END:
            return int(number)
        if what == Do.BUILD:
            trainer = build(ranks.tell_json())
            continue
        assert trainer is not None
        trainer.cut = cut
        if what == Do.STEP:
            trainer.step(int(number))
        elif what == Do.RESTORE:
            trainer.restore(ranks.tell_tensors(), int(number))
        elif what == Do.TENSORS:
            trainer.tensors()
        else:
            trainer.average()
