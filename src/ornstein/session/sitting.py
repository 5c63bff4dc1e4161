"""One sitting of a training: it trains, logs, saves and shows, until done or asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from ornstein import build
from ornstein.bundle.file import text_of
from ornstein.config import to_toml
from ornstein.data import Dataset
from ornstein.errors import DataError, DiskError, StoppedEarly
from ornstein.model import Model
from ornstein.planning import Plan
from ornstein.run import Progress, Run
from ornstein.session.averages import Averages
from ornstein.session.previews import Previews
from ornstein.session.recovery import Recovery
from ornstein.session.reporting import Reporting
from ornstein.session.saving import Saving
from ornstein.session.work import Work
from ornstein.training.budget import Budget
from ornstein.training.checkpoint import Checkpoint, load_latest
from ornstein.training.disk import check_space, remove_leftovers, write_atomically
from ornstein.training.loop import Trainer
from ornstein.training.signals import StopRequest


class Session:
    """One sitting of a training: from the last checkpoint to the end, or to a request to stop.

    Args:
        run: Where it is kept; its folder exists and is locked.
        plan: Every setting, and how long.
        data: What is learnt.
        trainer: A training that has not begun; restored here where there is a checkpoint.
        say: Told what happens.
        stop: Whether somebody asked to stop.
        started: When the call began, by time.monotonic(): what was spent since counts as training.
        command: What was typed for it; None from Python.

    Raises:
        UsageError: the model could be saved, and never be opened again.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        data: Dataset,
        trainer: Trainer,
        say: Progress,
        stop: StopRequest,
        started: float,
        command: str | None = None,
    ) -> None:
        budget = Budget(plan.steps, plan.seconds)
        self.work = Work(run, plan, data, trainer, say, stop, budget, command)
        # Refused now, and not when it was trained and saved.
        text_of(build.bundle(plan.config, self.work.average, data, {}))
        self.reporting, self.saving = Reporting(self.work), Saving(self.work)
        self.previews, self.recovery = Previews(self.work), Recovery(self.work)
        self.averages = Averages(self.work)
        remove_leftovers(run.folder)
        found = load_latest(run.folder / "checkpoints")
        if found is None:
            self._begin(started)
        else:
            self._resume(found)

    def _begin(self, started: float) -> None:
        """Write down the settings of a new run."""
        work, folder = self.work, self.work.run.folder
        check_space(folder, 3 * work.plan.checkpoint_bytes)
        write_atomically(folder / "config.toml", to_toml(work.config).encode())
        # What was spent on reading data and planning counts, so that --minutes means minutes.
        work.budget = Budget(work.plan.steps, work.plan.seconds, time.monotonic() - started)
        work.journal.truncate_after(0)
        work.note("started")

    def _resume(self, found: Checkpoint) -> None:
        """Take up a checkpoint."""
        work, state = self.work, found.state
        for warning in found.warnings:
            work.say.note(f"warning: {warning}")
        if not work.data.known_as(state["fingerprint"]):
            raise DataError(
                f"the data of {work.run.folder} changed since it was started, so it cannot go on. "
                "Restore them, or start another run: add --name."
            )
        work.trainer.restore(found.tensors, found.step)
        work.budget = Budget(int(state["total"]), work.plan.seconds, float(state["elapsed"]))
        work.heldout = state["heldout"]
        work.trainer.cut = float(state.get("cut", 1.0))
        work.journal.truncate_after(found.step)
        write_atomically(work.run.folder / "config.toml", to_toml(work.config).encode())
        work.say.note(f"resumed    at step {found.step:,} of {work.budget.total:,}")
        work.note(f"resumed at step {found.step}")

    def go(self) -> None:
        """Train, log, save and show, until done or asked to stop."""
        try:
            self._train()
        finally:
            self.reporting.unread()  # by the last step, a preview, or one too many
        self.work.note(f"finished at step {self.work.trainer.done}")

    def _train(self) -> None:
        work = self.work
        work.budget.replan(work.trainer.done)
        for report in work.trainer.run(lambda: work.budget.total):
            self.reporting.unread()
            if report.trouble is not None:
                self.recovery.left_out(report.step, report.trouble)
                self._stop_if_asked(report.step)
                continue
            self.recovery.taken()
            if self.reporting.log_due(report.step):
                self._if_possible(partial(self.reporting.log, report, self.recovery.out))
            self.reporting.show(report)
            if self.averages.due(report.step):
                self._if_possible(self.averages.store)
            if self.saving.due(report.step):
                # Before saving, so that what follows the checkpoint follows from it.
                work.budget.replan(report.step)
                self._if_possible(self.saving.save)
            self._stop_if_asked(report.step)
            if self.previews.due(report.step):
                self._if_possible(self.previews.draw)
        self._measure()
        self.saving.save_at_last()
        self._if_possible(self.previews.draw)
        self._if_possible(self.previews.film)

    def _measure(self) -> None:
        """Measure the error of the finished model's x0, if its variance is to follow from it."""
        work = self.work
        if work.config.model.variance == "analytic" and isinstance(work.average, Model):
            work.trainer.average_to(work.average)
            work.average.uncertainty = build.uncertainty(work.config, work.average, work.data)

    def _if_possible(self, action: Callable[[], None]) -> None:
        """Do what can be done again later: a full disk is said, and does not end a training."""
        try:
            action()
        except (DiskError, OSError) as error:
            self.work.say.note(f"warning: {error} Training goes on.")

    def _stop_if_asked(self, step: int) -> None:
        """Save and stop, if somebody asked for it.

        Raises:
            StoppedEarly: somebody did.
        """
        if self.work.stop.asked:
            self.saving.save("stopped")
            self.work.note(f"stopped at step {step} by {self.work.stop.asked}")
            raise StoppedEarly(f"stopped at step {step:,}, saved. Run the same command to go on.")
