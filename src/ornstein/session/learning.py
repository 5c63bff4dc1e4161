"""Is it learning? The panel of a training, and advice to stop at the first sign of memorising."""

from __future__ import annotations

from torch import Tensor

from ornstein.model import Model
from ornstein.session.work import Work
from ornstein.training.journal import read_log
from ornstein.training.objective import Objective
from ornstein.training.panel import Panel, Reading, memorises, readings


class Learning:
    """Measures the model at fixed items, noise and levels, and says when it begins to memorise.

    Args:
        work: The training.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._panel: Panel | None = None
        self._begun = self._advised = False

    def read(self) -> Reading | None:
        """Measure the averaged weights, which are in ``work.average``.

        None where there was no memory for the panel before: to read its items takes as long as
        to train for a while, and there would be none again.

        Raises:
            StoppedEarly: somebody asked to stop.
        """
        work = self.work
        if self._panel is None:
            if self._begun:
                return None
            trainer, log = work.trainer, read_log(work.journal.path)
            assert isinstance(trainer.objective, Objective)
            self._begun = True
            self._advised = any(map(memorises, readings(log)))  # in an earlier sitting
            self._panel = Panel(
                work.data, trainer.objective, trainer.settings.seed, self._cond, trainer.device,
                work.stop.check, trainer.piece(work.data.dims),
            )  # fmt: skip
        assert isinstance(work.average, Model)  # a classifier has no panel
        reading = self._panel.read(work.average)
        if memorises(reading) and not self._advised:
            self._advised = True
            self._advise(reading)
        return reading

    def _cond(self, indices: Tensor) -> dict[str, Tensor]:
        told = self.work.trainer.batches.told(indices)
        return {name: value.to(self.work.trainer.device) for name, value in told.items()}

    def _advise(self, reading: Reading) -> None:
        step, work = self.work.trainer.done, self.work
        mirrored = "with flip=true, " if work.data.kind == "image" else ""
        work.say.note(
            f"advice     it begins to memorise: at step {step:,} training items are denoised "
            f"better than held-out ones, {reading.memory:.0%} of the way to perfect memory. Stop "
            f"here (Ctrl-C saves), or train on more items, {mirrored}or with a smaller net.size. "
            f"See it: ornstein viz learning {work.run.typed}"
        )
        self.work.note(
            f"step {step}: begins to memorise ({reading.memory:.3f} +- {reading.doubt:.3f} of the "
            "way to perfect memory)"
        )
