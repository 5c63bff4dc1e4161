"""One sitting of a training: it trains, logs, saves and shows, until done or asked to stop."""

from __future__ import annotations

import copy
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from PIL import Image

import ornstein
from ornstein import build
from ornstein.bundle import Bundle
from ornstein.config import to_toml
from ornstein.data import Dataset
from ornstein.errors import DiskError, DivergedError, OrnsteinError, StoppedEarly
from ornstein.planning import Plan
from ornstein.run import Progress, Run
from ornstein.training.budget import Budget
from ornstein.training.checkpoint import load_latest, save_checkpoint
from ornstein.training.disk import check_space, remove_leftovers, write_atomically
from ornstein.training.journal import Journal, note
from ornstein.training.loop import Report
from ornstein.training.signals import StopRequest
from ornstein.viz import film

SAVE_SECONDS = 45.0
STEP_SECONDS = 0.5  # how often progress is shown
PREVIEW_SHARE = 0.1  # of the time, at most, goes into sample grids
LAST_SAVE_TRIES, LAST_SAVE_WAIT = 5, 15.0
PATIENCE = 10  # steps in a row that may be left out before going back
TOLD = 3  # such steps that are told; all are in events.log
RETREATS = 3  # times that a training goes back to one checkpoint


class Session:
    """One sitting of a training: from the last checkpoint to the end, or to a request to stop."""

    def __init__(
        self,
        run: Run,
        made: Plan,
        data: Dataset,
        where: torch.device,
        say: Progress,
        stop: StopRequest,
        started: float,
    ) -> None:
        self.run, self.plan, self.config, self.data = run, made, made.config, data
        self.say, self.stop = say, stop
        self.trainer = build.trainer(made.config, data, where)
        self.average = copy.deepcopy(self.trainer.model).eval()
        self.journal = Journal(run.folder / "log.jsonl")
        self.budget = Budget(made.steps, made.seconds)
        self.heldout: float | None = None
        self.alive: Callable[[], None] = lambda: None
        self._row = self._out = 0  # steps left out: just now, one after another; and in all
        self._retreats: dict[int, int] = {}  # step of a checkpoint: how often it was gone back to
        self._pace: tuple[float, int] | None = None
        self._drawing = self._last = 0.0  # seconds spent on previews, and on the last of them
        self._resume(started)

    def _resume(self, started: float) -> None:
        """Take up the newest sound checkpoint, or write down the settings of a new run."""
        folder, seconds = self.run.folder, self.plan.seconds
        remove_leftovers(folder)
        found = load_latest(folder / "checkpoints")
        if found is None:
            check_space(folder, 3 * self.plan.checkpoint_bytes)
            write_atomically(folder / "config.toml", to_toml(self.config).encode())
            # What was spent on reading data and planning counts, so that --minutes means minutes.
            self.budget = Budget(self.plan.steps, seconds, time.monotonic() - started)
            self.journal.truncate_after(0)
            note(folder, "started")
            return
        for warning in found.warnings:
            self.say.note(f"warning: {warning}")
        if found.state["fingerprint"] != self.data.fingerprint:
            raise OrnsteinError(
                f"the data of {folder} changed since it was started, so it cannot go on. Restore "
                "them, or start another run: add --name."
            )
        self.trainer.restore(found.tensors, found.step)
        self.budget = Budget(int(found.state["total"]), seconds, float(found.state["elapsed"]))
        self.heldout = found.state["heldout"]
        self.trainer.cut = float(found.state.get("cut", 1.0))
        self.journal.truncate_after(found.step)
        self.say.note(f"resumed    at step {found.step:,} of {self.budget.total:,}")
        note(folder, f"resumed at step {found.step}")

    def go(self) -> None:
        """Train, log, save and show, until done or asked to stop."""
        self.budget.replan(self.trainer.done)
        shown = saved = time.monotonic()
        for report in self.trainer.run(lambda: self.budget.total):
            now = time.monotonic()
            if report.trouble is not None:
                self._left_out(report.step, report.trouble)
                if self.stop.asked:
                    self._stopped(report.step)
                continue
            self._row = 0
            if report.step % (self.config.train.log_every or 1) == 0:
                self._if_possible(partial(self._log, report))
            if now - shown > STEP_SECONDS or report.step in (1, self.budget.total):
                shown = now
                self._show(report)
            if self._save_due(report.step, now - saved):
                self._if_possible(self.save)
                self.alive()
                saved = time.monotonic()
                self.budget.replan(report.step)
            if self.stop.asked:
                self._stopped(report.step)
            if self._preview_due(report.step):
                self._if_possible(self.preview)
        self._measure()
        self._save_at_last()
        self._if_possible(self.preview)
        self._if_possible(self.film)
        note(self.run.folder, f"finished at step {self.trainer.done}")

    def _measure(self) -> None:
        """Measure the error of the finished model's x0, if its variance is to follow from it."""
        if self.config.model.variance == "analytic":
            self.trainer.ema.copy_to(self.average)
            self.average.uncertainty = build.uncertainty(self.config, self.average, self.data)

    def _left_out(self, step: int, trouble: str) -> None:
        """Note a step that was left out; after too many in a row go back, at half the rate.

        Raises:
            DivergedError: going back did not help, or there is nothing to go back to.
        """
        self._row, self._out = self._row + 1, self._out + 1
        note(self.run.folder, f"left out step {step}: {trouble}")
        if self._out <= TOLD:
            self.say.note(f"warning: step {step:,} was left out: {trouble}.")
        if self._row < PATIENCE:
            return
        found = load_latest(self.run.folder / "checkpoints")
        tries = self._retreats.get(found.step, 0) + 1 if found else 0
        if found is None or tries > RETREATS:
            kept = f"; the last good one, of step {found.step:,}, is kept" if found else ""
            raise DivergedError(
                f"{PATIENCE} steps in a row up to step {step:,} were not finite: {trouble}{kept}. "
                "Look at that item with 'ornstein data', or lower the rate: "
                f"--set learning_rate={self.trainer.settings.learning_rate / 10:.1g}."
            )
        self._row, self._retreats[found.step] = 0, tries
        self.trainer.restore(found.tensors, found.step)
        self.trainer.cut /= 2
        self.journal.truncate_after(found.step)
        self.say.note(
            f"warning: {PATIENCE} steps in a row were not finite ({trouble}). Back to step "
            f"{found.step:,}, with {self.trainer.cut:g} of the learning rate."
        )
        note(self.run.folder, f"back to step {found.step}, rate times {self.trainer.cut:g}")

    def _if_possible(self, action: Callable[[], None]) -> None:
        """Do what can be done again later: a full disk is said, and does not end a training."""
        try:
            action()
        except (DiskError, OSError) as error:
            self.say.note(f"warning: {error} Training goes on.")

    def _save_at_last(self) -> None:
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
                self.say.note(f"warning: {error} Trying again in {LAST_SAVE_WAIT:g} s.")
                time.sleep(LAST_SAVE_WAIT)

    def _save_due(self, step: int, since: float) -> bool:
        every = self.config.train.save_every
        return step % every == 0 if every else since > SAVE_SECONDS

    def _preview_due(self, step: int) -> bool:
        if step == self.budget.total:
            return False
        if self.config.train.sample_every:
            return step % self.config.train.sample_every == 0
        if self._drawing + self._last > PREVIEW_SHARE * self.budget.elapsed:
            return False
        share, before = (n * self.plan.previews // self.budget.total for n in (step, step - 1))
        return share > before

    def _log(self, report: Report) -> None:
        self.journal.append(
            {
                "step": report.step,
                "images": report.step * self.trainer.settings.batch,
                "loss": report.loss,
                "grad_norm": report.grad_norm,
                "rate": report.rate,
            }
        )

    def _show(self, report: Report) -> None:
        done, elapsed = report.step, self.budget.elapsed
        # The pace of the last moments: a resumed or disturbed training shows what is true now.
        now, before = (
            (time.monotonic(), done),
            self._pace or (time.monotonic() - STEP_SECONDS, done - 1),
        )
        per_step = (now[0] - before[0]) / max(1, now[1] - before[1])
        self._pace = now
        self.say.step(
            {
                "step": done,
                "steps": self.budget.total,
                "images": done * self.trainer.settings.batch,
                "loss": report.loss,
                "heldout": self.heldout,
                "rate": self.trainer.settings.batch / per_step,
                "seconds_left": self.budget.left(done, per_step),
                "elapsed": elapsed,
            }
        )

    def save(self, state: str = "training") -> None:
        """Write a checkpoint, the model file and the run's record."""
        step, folder = self.trainer.done, self.run.folder
        facts = {
            "total": self.budget.total,
            "elapsed": self.budget.elapsed,
            "heldout": self.heldout,
            "cut": self.trainer.cut,
            "fingerprint": self.data.fingerprint,
            "seed": self.config.train.seed,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        self.journal.sync()  # before the checkpoint, so that the log has every step up to it
        save_checkpoint(folder / "checkpoints", step, self.trainer.tensors(), facts)
        self.bundle().save(folder / "model.safetensors")
        record = {
            "state": state,
            "step": step,
            "steps": self.budget.total,
            "seconds": round(self.budget.elapsed, 1),
            "ornstein": ornstein.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        write_atomically(folder / "run.json", json.dumps(record, indent=1).encode())

    def _stopped(self, step: int) -> None:
        self.save("stopped")
        note(self.run.folder, f"stopped at step {step} by {self.stop.asked}")
        raise StoppedEarly(f"stopped at step {step:,}, saved. Run the same command to go on.")

    def bundle(self) -> Bundle:
        """Return the model as it stands, with averaged weights."""
        self.trainer.ema.copy_to(self.average)
        return build.bundle(self.config, self.average, self.data, self._provenance())

    def _provenance(self) -> dict[str, Any]:
        step = self.trainer.done
        return {
            "data": self.data.name,
            "source": self.data.source.text,
            "licence": self.data.source.licence,
            "citation": self.data.source.citation,
            "fingerprint": self.data.fingerprint,
            "items": len(self.data.train),
            "steps": step,
            "seen": step * self.trainer.settings.batch,
            "seconds": round(self.budget.elapsed, 1),
            "class_dropout": self.config.train.class_dropout,
            "dequantised": self.config.data.dequantise,
            "weights": f"average of relative width {self.trainer.settings.ema:g}",
            "ornstein": ornstein.__version__,
            "torch": torch.__version__,
        }

    def preview(self) -> None:
        """Measure the held-out loss and draw the fixed seeds, both with averaged weights."""
        begun = time.monotonic()
        step, folder = self.trainer.done, self.run.folder / "samples"
        bundle = self.bundle()
        self.heldout = self.trainer.heldout_loss(self.average)
        self.journal.append({"step": step, "heldout": self.heldout})
        try:
            made = bundle.sample(
                self.config.sample.count,
                seed=self.config.sample.seed,
                progress=self._unless_stopped,
            )
        except _Interrupted:
            return
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{step:09d}.png"
        made.save_sheet(path)
        self.say.saved(path, "grid")
        self._last = time.monotonic() - begun
        self._drawing += self._last
        self.budget.reserve = 1.2 * self._last

    def film(self) -> None:
        """Join the sample grids over training into a film."""
        if len(self.run.grids) > 1:
            frames = [Image.open(path).convert("RGB") for path in self.run.grids]
            path = film(frames, self.run.folder / "samples" / "training.webp", fps=4)
            self.say.saved(path, "film of the training")

    def _unless_stopped(self, done: int, total: int) -> None:
        if self.stop.asked:
            raise _Interrupted


class _Interrupted(Exception):  # noqa: N818 - not an error: a preview gives way to a stop
    """A preview was cut short by a request to stop."""
