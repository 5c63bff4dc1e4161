"""What a training shows of its model as it goes: errors by level, grids of fixed seeds, a film."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from ornstein.bundle import Bundle, Recogniser
from ornstein.bundle.parts import ROWS
from ornstein.data.lowered import smaller
from ornstein.editing import upscale
from ornstein.errors import StoppedEarly, lacks_memory
from ornstein.model import Classifier
from ornstein.recognising import accuracies
from ornstein.samples import Samples
from ornstein.session.learning import Learning
from ornstein.session.work import Work
from ornstein.training.batches import evenly
from ornstein.viz import film

PREVIEW_SHARE = 0.1  # of the time, at most, goes into measuring and sample grids
MOST = 64  # items drawn at once


class Previews:
    """Draws the model with averaged weights.

    Args:
        work: The training.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.learning = Learning(work)
        self._drawing = self._last = 0.0  # seconds spent on previews, and on the last of them

    def due(self, step: int) -> bool:
        """Whether it is time, by the setting or spread over the training; not at its end."""
        work, total = self.work, self.work.budget.total
        if step == total:
            return False
        if work.config.train.sample_every:
            return step % work.config.train.sample_every == 0
        if self._drawing + self._last > PREVIEW_SHARE * work.budget.elapsed:
            return False
        share, before = (n * work.plan.previews // total for n in (step, step - 1))
        return share > before

    def draw(self) -> None:
        """Measure the averaged weights and show what they do, where memory allows it."""
        begun = time.monotonic()
        work = self.work
        bundle = work.bundle()  # of all ranks, who would wait for ever if it were given up
        with self._if_it_fits():
            work.heldout = self._heldout()
            if isinstance(bundle, Recogniser):
                self._recognise(bundle.model)
            elif not self._drawn(bundle):
                return
        self._last = time.monotonic() - begun
        work.budget.rest(self._last)
        self._drawing += self._last
        work.budget.reserve = 1.2 * self._last

    def _heldout(self) -> float | None:
        """The held-out loss of the averaged weights; none, and a warning, where not finite."""
        found = self.work.trainer.heldout_loss(self.work.average)
        if found is None or math.isfinite(found):
            return found
        self.work.say.note(
            f"warning: the held-out loss at step {self.work.trainer.done:,} is {found:g}, so none "
            "is kept. A held-out item may hold huge values: look at the data with 'ornstein data'."
        )
        return None

    @property
    def _piece(self) -> int:
        """Items that are asked about at once; a CPU makes ``ROWS`` of them at least."""
        work = self.work
        piece = work.trainer.piece(work.data.dims)
        return max(ROWS, piece) if work.trainer.device.type == "cpu" else piece

    @contextmanager
    def _if_it_fits(self, what: str = "a preview") -> Iterator[None]:
        """Do what a training can do without: a lack of memory is said, and does not end it."""
        try:
            yield
        except (RuntimeError, MemoryError) as fault:
            if not lacks_memory(fault):
                raise
            reason = " ".join(str(fault).split())[:200].rstrip(".") or "MemoryError"
            self.work.say.note(f"warning: no memory for {what} ({reason}). Training goes on.")

    def _drawn(self, bundle: Bundle) -> bool:
        """Measure errors by level and draw the fixed seeds; whether nobody cut it short."""
        work = self.work
        step, folder = work.trainer.done, work.run.folder / "samples"
        try:
            reading = None
            with self._if_it_fits("errors by level"):  # which the samples can do without
                reading = self.learning.read()
            levels = {"levels": reading.line()} if reading else {}
            work.journal.append({"step": step, "heldout": work.heldout, **levels})
            made = self._made(bundle)
        except StoppedEarly:  # a preview gives way
            return False
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{step:09d}.png"
        made.save_sheet(path)
        work.say.saved(path, "grid")
        return True

    def _recognise(self, classifier: Classifier) -> None:
        """Measure a classifier, which makes nothing to draw."""
        work = self.work
        found = accuracies(classifier, work.data, work.config.sample.seed, self._piece)
        entry = {"step": work.trainer.done, "heldout": work.heldout, "accuracy": found}
        work.journal.append(entry)
        told = ", ".join(f"{share:.1%} at {rho}" for rho, share in found.items())
        work.say.note(f"recognised {told} times as much noise as signal")

    def _made(self, bundle: Bundle) -> Samples:
        """Samples of the fixed seeds; of a model that upscales, held-out items made anew."""
        work, how = self.work, self.work.config.sample
        assert how.count is not None
        piece = min(MOST, self._piece)
        stopped = self._unless_stopped
        if bundle.upscales is None:
            return bundle.sample(how.count, seed=how.seed, batch=piece, progress=stopped)
        pool = work.data.heldout if len(work.data.heldout) else work.data.train
        shown = pool[evenly(len(pool), how.count).numpy()]
        small = smaller(work.data.raw(shown), bundle.upscales)
        return upscale(bundle, small, seed=how.seed, batch=piece, progress=stopped)

    def film(self) -> None:
        """Join the sample grids over training into a film."""
        run = self.work.run
        if len(run.grids) < 2:
            return
        with self._if_it_fits():
            frames = [Image.open(path).convert("RGB") for path in run.grids]
            path = film(frames, run.folder / "samples" / "training.webp", fps=4)
            self.work.say.saved(path, "film of the training")

    def _unless_stopped(self, done: int, total: int) -> None:
        self.work.stop.check()
