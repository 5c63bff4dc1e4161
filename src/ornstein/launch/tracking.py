"""Trackers: a training's numbers and pictures in somebody else's window, if one asks for it.

The run's own ``log.jsonl`` is always written and needs none. A tracker that fails is let go
with one warning; the training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ornstein.errors import UsageError, near
from ornstein.run import Progress, Run

NUMBERS = ("loss", "heldout", "grad_norm", "learning_rate", "rate")


class Tracker(Protocol):
    """Somebody who is told of a training."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Values by name, of a step."""

    def picture(self, step: int, path: Path) -> None:
        """A grid of samples was drawn."""

    def close(self) -> None:
        """The training has ended."""


class TensorBoard:
    """Event files in ``RUN/tensorboard``: tensorboard --logdir runs."""

    def __init__(self, run: Run) -> None:
        self._writer = import_module("torch.utils.tensorboard").SummaryWriter(
            str(run.folder / "tensorboard")
        )

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, path: Path) -> None:
        """Add a picture, (H, W, 3) uint8."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class Wandb:
    """A module that speaks as wandb does; it talks to whatever server its user has set up.

    Args:
        run: Its name and settings are handed over.
        name: The module: "wandb" or "trackio".
    """

    def __init__(self, run: Run, name: str = "wandb") -> None:
        self._module: Any = import_module(name)
        settings = {key: str(value) for key, value in run.config.flat().items()}
        self._module.init(project="ornstein", name=run.name, config=settings)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values."""
        self._module.log(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        """Log a picture."""
        self._module.log({"samples": self._module.Image(str(path))}, step=step)

    def close(self) -> None:
        """End its run."""
        self._module.finish()


class Kind(NamedTuple):
    """A tracker: how it is made for a run, and the package that it needs."""

    make: Callable[[Run], Tracker]
    package: str


TRACKERS = {
    "tensorboard": Kind(TensorBoard, "tensorboard"),
    "wandb": Kind(Wandb, "wandb"),
    "trackio": Kind(lambda run: Wandb(run, "trackio"), "trackio"),
}


def check_tracker(name: str) -> None:
    """Refuse a tracker that cannot be used, before anything is trained.

    Raises:
        UsageError: an unknown one, or its package is not installed.
    """
    if name not in TRACKERS:
        raise UsageError(
            f"unknown tracker '{name[:60]}'.{near(name, TRACKERS)} It is one of: "
            f"{', '.join(TRACKERS)}. The log in log.jsonl is always written."
        )
    package = TRACKERS[name].package
    if find_spec(package) is None:
        raise UsageError(f"--track {name} needs {package}, which is not installed: "
                         f"pip install {package}.")  # fmt: skip


class Tracked:
    """Whoever watches a training, and a tracker beside them.

    Args:
        watcher: Told everything.
        run: The training's; its settings are read at the first step.
        name: Key of ``TRACKERS``.
    """

    def __init__(self, watcher: Progress, run: Run, name: str) -> None:
        check_tracker(name)
        self.watcher, self.run, self.name = watcher, run, name
        self._tracker: Tracker | None = None
        self._step, self._lost = 0, False

    def note(self, text: str) -> None:
        """Hand on."""
        self.watcher.note(text)

    def step(self, info: Mapping[str, Any]) -> None:
        """Hand on, and track the numbers."""
        self.watcher.step(info)
        self._step = int(info["step"])
        values = {name: float(info[name]) for name in NUMBERS if info.get(name) is not None}
        self._try(lambda tracker: tracker.numbers(self._step, values))

    def saved(self, path: Path, kind: str) -> None:
        """Hand on, and track grids of samples."""
        self.watcher.saved(path, kind)
        if kind == "grid":
            self._try(lambda tracker: tracker.picture(self._step, path))

    def close(self) -> None:
        """End the tracking; those who watch go on."""
        if self._tracker is not None:
            self._try(lambda tracker: tracker.close())

    def _try(self, action: Callable[[Tracker], None]) -> None:
        if self._lost:
            return
        try:
            self._tracker = self._tracker or TRACKERS[self.name].make(self.run)
            action(self._tracker)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not worth a training
            self._lost = True
            self.watcher.note(
                f"warning: {self.name} failed ({type(error).__name__}: {str(error)[:200]}). The "
                "training goes on without it; log.jsonl has all."
            )


@contextmanager
def watched(watcher: Progress, run: Run, name: str | None) -> Iterator[Progress]:
    """Whoever watches a training, with a tracker beside them if one is named.

    Raises:
        UsageError: an unknown tracker, or its package is not installed.
    """
    if name is None:
        yield watcher
        return
    tracked = Tracked(watcher, run, name)
    try:
        yield tracked
    finally:
        tracked.close()
