"""Snapshots of two averages of the weights, from which any width can be made afterwards."""

from __future__ import annotations

from ornstein.run.averages import forget, store
from ornstein.session.work import Work


class Averages:
    """Stores snapshots, evenly over the training.

    Args:
        work: The training.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def due(self, step: int) -> bool:
        """Whether a snapshot falls on this step; the last one is of the last step."""
        count, total = self.work.config.train.snapshots, self.work.budget.total
        return step * count // total > (step - 1) * count // total

    def store(self) -> None:
        """Write one; those of later steps, of a training that went back, are deleted first.

        Raises:
            DiskError: it cannot be written.
        """
        work, step = self.work, self.work.trainer.done
        forget(work.run.folder, step)
        store(work.run.folder, step, work.trainer.tensors()["profiles"])
