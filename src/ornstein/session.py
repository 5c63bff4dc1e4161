"""The main job: from a data set to a trained model and pictures, in one call."""

from __future__ import annotations

import copy
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

import ornstein
from ornstein import build
from ornstein.bundle import Bundle
from ornstein.config import Config, Resolved, resolve, to_toml
from ornstein.data import Dataset, names, open_data
from ornstein.errors import ConfigError, DiskError, OrnsteinError, StoppedEarly
from ornstein.planning import Plan, plan
from ornstein.run import Progress, Run, Silent, run_name, store_array
from ornstein.train.budget import Budget
from ornstein.train.checkpoint import load_latest, save_checkpoint
from ornstein.train.disk import check_space, write_atomically
from ornstein.train.journal import Journal, note
from ornstein.train.lock import RunLock
from ornstein.train.loop import Report
from ornstein.train.signals import StopRequest
from ornstein.viz import film

if TYPE_CHECKING:
    import numpy as np

SAVE_SECONDS = 45.0
STEP_SECONDS = 0.5  # how often progress is shown
LAST_SAVE_TRIES, LAST_SAVE_WAIT = 5, 15.0


def train(
    source: str | Path | np.ndarray,
    *,
    name: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] | Mapping[str, object] = (),
    minutes: float | None = None,
    steps: int | None = None,
    size: int | tuple[int, int] | None = None,
    seed: int | None = None,
    runs: str | Path = "runs",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a model on a data set, or go on with a training that was stopped.

    Args:
        source: A built-in name, a folder of images, an .npy or .npz file, or an array.
        name: Name of the run; default from the source.
        preset: A recipe: "default", "ddpm", "edm", "flow".
        config: A TOML file of settings.
        settings: More settings, as {"train.batch": 32} or ["batch=32"].
        minutes: Time budget; net, batch and steps follow from measuring. Default 10 without steps.
        steps: Train so many steps instead.
        size: Side of the pictures in pixels, or (height, width).
        seed: Where all randomness comes from.
        runs: Directory that holds the runs.
        dry_run: Plan and print only.
        progress: Told what happens.

    Returns:
        The run, finished.

    Raises:
        StoppedEarly: asked to stop; everything is saved, the same call goes on.
        OrnsteinError: the data, a setting, the disk or the training itself are at fault.
    """
    started = time.monotonic()
    say = progress or Silent()
    sets = [f"{k}={v}" for k, v in settings.items()] if isinstance(settings, Mapping) else settings
    if isinstance(source, (str, Path)):
        run = Run(Path(runs) / (name or run_name(str(source))))
        place = _absolute(str(source))
    else:
        run = Run(Path(runs) / (name or "array"))
        place = store_array(source, run.folder)
    flags = {
        "data.source": place,
        "data.size": size,
        "train.minutes": minutes,
        "train.steps": steps,
        "train.seed": seed,
    }
    asked = resolve(recipe=preset, file=config, sets=tuple(sets), flags=flags)
    planned = (run.folder / "config.toml").is_file()
    settled = _agreed(run, asked) if planned else asked.config
    if run.state == "finished" and not dry_run:
        say.note(
            f"run        {run.folder} is finished: {run.record['step']:,} steps. "
            f"Sample it: ornstein sample {run.name}. Train another: add --name."
        )
        return run
    data = open_data(settled.data.source, size=settled.data.size, limit=settled.data.limit)
    where = build.device()
    made = plan(settled, data, where)
    _introduce(say, run, data, made, where)
    if dry_run:
        return run
    run.folder.mkdir(parents=True, exist_ok=True)
    with RunLock(run.folder) as lock, StopRequest() as stop:
        session = Session(run, made, data, where, say, stop, started)
        session.alive = lock.beat
        session.go()
    return run


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
        self._pace: tuple[float, int] | None = None
        self._resume(started)

    def _resume(self, started: float) -> None:
        """Take up the newest sound checkpoint, or write down the settings of a new run."""
        folder, seconds = self.run.folder, self.plan.seconds
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
        self.journal.truncate_after(found.step)
        self.say.note(f"resumed    at step {found.step:,} of {self.budget.total:,}")
        note(folder, f"resumed at step {found.step}")

    def go(self) -> None:
        """Train, log, save and show, until done or asked to stop."""
        self.budget.replan(self.trainer.done)
        shown = saved = time.monotonic()
        for report in self.trainer.run(lambda: self.budget.total):
            now = time.monotonic()
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
        self._save_at_last()
        self._if_possible(self.preview)
        self._if_possible(self.film)
        note(self.run.folder, f"finished at step {self.trainer.done}")

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
            "fingerprint": self.data.fingerprint,
            "seed": self.config.train.seed,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
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
        self.budget.reserve = 1.2 * (time.monotonic() - begun)

    def film(self) -> None:
        """Join the sample grids over training into a film."""
        if len(self.run.grids) > 1:
            frames = [Image.open(path).convert("RGB") for path in self.run.grids]
            path = film(frames, self.run.folder / "samples" / "training.webp", fps=4)
            self.say.saved(path, "film of the training")

    def _unless_stopped(self, done: int, total: int) -> None:
        if self.stop.asked:
            raise _Interrupted


def _absolute(source: str) -> str:
    """A path to data holds from any directory; a built-in name stays as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() and source not in names() else source


def _agreed(run: Run, asked: Resolved) -> Config:
    """The settings of a planned run, if nothing that is asked for now contradicts them.

    Raises:
        ConfigError: something does; it is named, with both values.
    """
    kept = run.config
    old, new = kept.flat(), asked.config.flat()
    for key, origin in asked.origins.items():
        if origin != "default" and not origin.startswith("recipe") and old[key] != new[key]:
            raise ConfigError(
                f"{run.folder} is a run with {key} = {old[key]}, and {origin} asks for "
                f"{new[key]}. Leave it out to go on, or start another run with --name."
            )
    return kept


def _introduce(say: Progress, run: Run, data: Dataset, made: Plan, where: torch.device) -> None:
    """Say what will be trained on what, and what it will cost."""
    config, net = made.config, made.config.net
    shape = "x".join(map(str, data.shape))
    kinds = {"image": "pictures", "series": "series", "vector": "vectors"}
    labels = f", {len(data.classes)} classes" if data.labels is not None else ""
    say.note(f"run        {run.folder}; the same command later goes on with it")
    say.note(
        f"data       {data.name}: {len(data.train):,} {kinds[data.kind]} of {shape}{labels}, "
        f"{len(data.heldout):,} held out"
    )
    for remark in data.notes:
        say.note(f"           {remark}")
    size = f" {net.size}" if net.size else ""
    say.note(
        f"model      {net.name}{size}, {made.parameters / 1e6:.2f} M weights; predicts "
        f"{config.model.target}, levels of {config.model.process}"
    )
    machine = torch.cuda.get_device_name() if where.type == "cuda" else _cpu(where)
    pace = f", {made.step_seconds:.3g} s/step" if made.step_seconds else ""
    say.note(f"machine    {machine}; batch {config.train.batch}{pace}")
    if made.seconds:
        steps = f", about {made.steps:,} steps" if made.step_seconds else ""
        say.note(f"budget     {made.seconds / 60:g} min{steps}; change it with --minutes")
    else:
        say.note(f"budget     {made.steps:,} steps" + _duration(made))


def _cpu(where: torch.device) -> str:
    return f"{torch.get_num_threads()} CPU threads" if where.type == "cpu" else where.type


def _duration(made: Plan) -> str:
    if not made.step_seconds:
        return ""
    minutes = made.steps * made.step_seconds / 60
    return f", about {minutes:.0f} min" if minutes >= 1.5 else f", about {60 * minutes:.0f} s"


class _Interrupted(Exception):  # noqa: N818 - not an error: a preview gives way to a stop
    """A preview was cut short by a request to stop."""
