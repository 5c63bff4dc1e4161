"""Numbers of a training as it goes: for the log, and for whoever watches."""

from __future__ import annotations

import time

from ornstein.session.work import Work
from ornstein.training.loop import Report

STEP_SECONDS = 0.5  # how often progress is shown


class Telling:
    """Logs and shows steps.

    Args:
        work: The training.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._shown = time.monotonic()
        self._pace: tuple[float, int] | None = None

    def log_due(self, step: int) -> bool:
        """Whether a step belongs into the log."""
        return step % (self.work.config.train.log_every or 1) == 0

    def log(self, report: Report) -> None:
        """Write a step into the log."""
        self.work.journal.append(
            {
                "step": report.step,
                "images": report.step * self.work.trainer.settings.batch,
                "loss": report.loss,
                "grad_norm": report.grad_norm,
                "rate": report.rate,
            }
        )

    def show(self, report: Report) -> None:
        """Show a step, unless one was shown just now."""
        total, now = self.work.budget.total, time.monotonic()
        if now - self._shown <= STEP_SECONDS and report.step not in (1, total):
            return
        self._shown = now
        batch, per_step = self.work.trainer.settings.batch, self._seconds(now, report.step)
        self.work.say.step(
            {
                "step": report.step,
                "steps": total,
                "images": report.step * batch,
                "loss": report.loss,
                "heldout": self.work.heldout,
                "rate": batch / per_step,
                "seconds_left": self.work.budget.left(report.step, per_step),
                "elapsed": self.work.budget.elapsed,
            }
        )

    def _seconds(self, now: float, done: int) -> float:
        """Seconds per step of the last moments: what is true now, also after a resume."""
        time_before, before = self._pace or (now - STEP_SECONDS, done - 1)
        self._pace = (now, done)
        return (now - time_before) / max(1, done - before)
