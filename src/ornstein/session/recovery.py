"""What is done about steps that are not finite: leave out, go back, give up."""

from __future__ import annotations

from ornstein.errors import DivergedError
from ornstein.session.work import Work
from ornstein.training.checkpoint import load_latest
from ornstein.training.settings import slower

PATIENCE = 10  # steps in a row that may be left out before going back
TOLD = 3  # such steps that are told; all are in events.log
RETREATS = 3  # times that a training goes back to one checkpoint


class Recovery:
    """Counts steps that were left out, and leads the training back where they are too many.

    Args:
        work: The training.

    Attributes:
        out: Steps left out in this sitting.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.out = 0
        self._row = 0  # steps left out just now, one after another
        self._retreats: dict[int, int] = {}  # step of a checkpoint: how often it was gone back to

    def taken(self) -> None:
        """Know of a step that was taken."""
        self._row = 0

    def left_out(self, step: int, trouble: str) -> None:
        """Note a step that was left out; after too many in a row go back, at half the rate.

        Raises:
            DivergedError: going back did not help, or there is nothing to go back to.
        """
        work = self.work
        self._row, self.out = self._row + 1, self.out + 1
        work.note(f"left out step {step}: {trouble}")
        if self.out <= TOLD:
            work.say.note(f"warning: step {step:,} was left out: {trouble}.")
        if self._row >= PATIENCE:
            self._go_back(step, trouble)

    def _go_back(self, step: int, trouble: str) -> None:
        work, trainer = self.work, self.work.trainer
        found = load_latest(work.run.folder / "checkpoints")
        tries = self._retreats.get(found.step, 0) + 1 if found else 0
        if found is None or tries > RETREATS:
            kept = f"; the last good one, of step {found.step:,}, is kept" if found else ""
            raise DivergedError(
                f"{PATIENCE} steps in a row up to step {step:,} were not finite: {trouble}{kept}. "
                "Look at that item with 'ornstein data', or lower the rate in a new run: "
                f"{slower(trainer.settings, 0.1)}"
            )
        self._row, self._retreats[found.step] = 0, tries
        trainer.restore(found.tensors, found.step)
        trainer.cut /= 2
        work.journal.truncate_after(found.step)
        work.say.note(
            f"warning: {PATIENCE} steps in a row were not finite ({trouble}). Back to step "
            f"{found.step:,}, with {trainer.cut:g} of the learning rate."
        )
        work.note(f"back to step {found.step}, rate times {trainer.cut:g}")
