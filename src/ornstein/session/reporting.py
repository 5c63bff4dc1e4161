"""Numbers of a training as it goes: for the log, and for whoever watches."""

from __future__ import annotations

import time

from ornstein.session.work import Work
from ornstein.training.loop import Report
from ornstein.training.memory import used_mb

STEP_SECONDS = 0.5  # how often progress is shown


class Reporting:
    """Logs and shows steps.

    Args:
        work: The training.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._shown = time.monotonic()
        self._unread = 0
        self._shown_pace, self._logged_pace = Pace(), Pace()

    def log_due(self, step: int) -> bool:
        """Whether a step belongs into the log."""
        return step % (self.work.config.train.log_every or 1) == 0

    def log(self, report: Report, left_out: int) -> None:
        """Write a step into the log, and how many were left out in this sitting."""
        trainer, batch = self.work.trainer, self.work.trainer.settings.batch
        self.work.journal.append(
            {
                "step": report.step,
                "images": report.step * batch,
                "loss": report.loss,
                "grad_norm": report.grad_norm,
                "rate": report.rate,
                "items_per_s": round(batch / self._logged_pace.seconds(report.step), 1),
                "memory_mb": used_mb(trainer.device),
                "left_out": left_out,
            }
        )

    def unread(self) -> None:
        """Write into events.log which items could not be read since the last call."""
        found = self.work.data.unread(self._unread)
        self._unread += len(found)
        for text in found:
            self.work.note(text)

    def show(self, report: Report) -> None:
        """Show a step, unless one was shown just now."""
        total, now = self.work.budget.total, time.monotonic()
        if now - self._shown <= STEP_SECONDS and report.step not in (1, total):
            return
        self._shown = now
        batch, per_step = self.work.trainer.settings.batch, self._shown_pace.seconds(report.step)
        self.work.say.step(
            {
                "step": report.step,
                "steps": total,
                "images": report.step * batch,
                "loss": report.loss,
                "grad_norm": report.grad_norm,
                "learning_rate": report.rate,
                "heldout": self.work.heldout,
                "rate": batch / per_step,
                "seconds_left": self.work.budget.left(report.step, per_step),
                "elapsed": self.work.budget.elapsed,
            }
        )


class Pace:
    """Speed of the last moments: what is true now, also after a resume."""

    def __init__(self) -> None:
        self._before: tuple[float, int] | None = None

    def seconds(self, done: int) -> float:
        """Seconds per step since the last call; of the first step alone at the first."""
        now = (time.monotonic(), done)
        then = self._before or (now[0] - STEP_SECONDS, done - 1)
        self._before = now
        return max(1e-9, now[0] - then[0]) / max(1, done - then[1])
