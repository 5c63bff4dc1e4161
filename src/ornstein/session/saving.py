"""Checkpoints, the model file and the record of a run: when they are due, and writing them."""

from __future__ import annotations

import platform
import time

import torch

import ornstein
from ornstein import jsons
from ornstein.errors import DiskError
from ornstein.session.versioned import commit_here
from ornstein.session.work import Work
from ornstein.training.checkpoint import save_checkpoint
from ornstein.training.disk import write_atomically
from ornstein.training.memory import given_back

SAVE_SECONDS = 45.0
LAST_SAVE_TRIES, LAST_SAVE_WAIT = 5, 15.0


class Saving:
    """Saves a training.

    Args:
        work: What is saved.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._saved = time.monotonic()
        self._git = commit_here()  # of what was started, whatever is committed meanwhile

    def due(self, step: int) -> bool:
        """Whether it is time, by the setting or by the clock, or somebody asked for it."""
        if self.work.stop.save:
            self.work.stop.save = False
            return True
        every = self.work.config.train.save_every
        if every:
            return step % every == 0
        late = time.monotonic() - self._saved > SAVE_SECONDS
        return late or self.work.budget.astray(step)

    @given_back()
    def save(self, state: str = "training") -> None:
        """Write a checkpoint, the model file and the run's record.

        Raises:
            DiskError: they cannot be written; what was there before is whole.
        """
        work, folder = self.work, self.work.run.folder
        self._saved = time.monotonic()
        facts = {
            "total": work.budget.total,
            "elapsed": work.budget.elapsed,
            "heldout": work.heldout,
            "cut": work.trainer.cut,
            "fingerprint": work.data.fingerprint,
            "seed": work.config.train.seed,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        work.journal.sync()  # before the checkpoint, so that the log has every step up to it
        save_checkpoint(folder / "checkpoints", work.trainer.done, work.trainer.tensors(), facts)
        work.bundle().save(folder / "model.safetensors")
        record = {
            "state": state,
            "step": work.trainer.done,
            "steps": work.budget.total,
            "seconds": round(work.budget.elapsed, 1),
            "ornstein": ornstein.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "command": work.command,
            "git": self._git,
        }
        write_atomically(folder / "run.json", jsons.dumps(record, indent=1).encode())
        self._saved = time.monotonic()

    def save_at_last(self) -> None:
        """Save the finished training; on a full disk, give its owner a minute to make room.

        Raises:
            DiskError: there is no room after that minute.
        """
        for left in range(LAST_SAVE_TRIES - 1, -1, -1):
            try:
                self.save("finished")
                break
            except DiskError as error:
                if left == 0:
                    raise
                self.work.say.note(f"warning: {error} Trying again in {LAST_SAVE_WAIT:g} s.")
                time.sleep(LAST_SAVE_WAIT)
