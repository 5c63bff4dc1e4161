"""A run: a directory that holds one training, from its settings to the finished model."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ornstein.config import Config, load_config
from ornstein.errors import UsageError, near
from ornstein.training.journal import read_log, read_record

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.data import Dataset
    from ornstein.editing import Edited
    from ornstein.guide import Guide
    from ornstein.samples import Samples


class Progress(Protocol):
    """Where a training says what it does; the command line draws it."""

    def note(self, text: str) -> None:
        """A line for the head of the display, or a warning."""

    def step(self, info: Mapping[str, Any]) -> None:
        """The state: step, steps, images, loss, grad_norm, learning_rate, heldout, rate, ...

        The rate is in items per second, seconds_left and elapsed in seconds.
        """

    def saved(self, path: Path, kind: str) -> None:
        """Something was written that is worth opening: a grid, a film, a model."""


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Ignore."""

    def step(self, info: Mapping[str, Any]) -> None:
        """Ignore."""

    def saved(self, path: Path, kind: str) -> None:
        """Ignore."""


class Run:
    """A run directory: its settings, its log, its model.

    Args:
        folder: The directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        """Name of the run: that of its directory."""
        return self.folder.name

    @property
    def typed(self) -> str:
        """What to type for it: its name, or its folder where that is not in runs/."""
        return typed(self.folder)

    @property
    def config(self) -> Config:
        """Every setting that was used."""
        return load_config(self.folder / "config.toml")

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log, one record per logged step."""
        return read_log(self.folder / "log.jsonl")

    @property
    def record(self) -> dict[str, Any]:
        """State, versions and machine, from run.json; a torn one reads as none."""
        return read_record(self.folder)

    @property
    def state(self) -> str:
        """new, training, stopped or finished."""
        return str(self.record.get("state", "new"))

    @property
    def learned(self) -> str | None:
        """Fingerprint of the data that it learned; None where it kept nothing yet.

        Read from its newest checkpoint, and from its model where checkpoints were removed.
        """
        from ornstein.bundle import load_any
        from ornstein.errors import OrnsteinError
        from ornstein.training.checkpoint import list_checkpoints

        for path in list_checkpoints(self.folder / "checkpoints"):
            try:
                found = json.loads((path / "state.json").read_text("utf-8"))["fingerprint"]
            except (OSError, ValueError, LookupError, TypeError):
                continue
            return str(found)
        with suppress(OrnsteinError):
            return load_any(self.folder).provenance.get("fingerprint")
        return None

    def changed(self, data: Dataset) -> bool:
        """Whether these are other data than it learned; where that is not known they are not."""
        learned = self.learned
        return learned is not None and not data.known_as(learned)

    @property
    def grids(self) -> list[Path]:
        """Sample grids over training, oldest first."""
        return sorted((self.folder / "samples").glob("step-*.png"))

    def bundle(self) -> Bundle:
        """Load the current model, the averaged weights of the last checkpoint."""
        from ornstein.bundle import load

        return load(self.folder)

    def sample(
        self,
        n: int = 16,
        *,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        grid: str | None = None,
        schedule: str | None = None,
        class_name: str | None = None,
        cond: Mapping[str, object] | None = None,
        guidance: float | None = None,
        guide: Guide | None = None,
        batch: int = 64,
        precision: str | None = None,
    ) -> Samples:
        """Make n new items on the fastest device.

        See :meth:`ornstein.bundle.Bundle.sample`, and :meth:`ornstein.bundle.Bundle.to` for the
        precision.
        """
        from ornstein.build import fastest_device

        return (
            self.bundle()
            .to(fastest_device(), precision)
            .sample(
                n,
                seed=seed,
                steps=steps,
                solver=solver,
                grid=grid,
                schedule=schedule,
                class_name=class_name,
                cond=cond,
                guidance=guidance,
                guide=guide,
                batch=batch,
            )
        )

    def edit(
        self,
        verb: Callable[..., Edited],
        *given: object,
        n: int = 4,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        grid: str | None = None,
        schedule: str | None = None,
        class_name: str | None = None,
        cond: Mapping[str, object] | None = None,
        guidance: float | None = None,
        guide: Guide | None = None,
        method: str = "auto",
        precision: str | None = None,
    ) -> Edited:
        """Make n versions of an item by an edit, on the fastest device.

        Args:
            verb: What to do, of :mod:`ornstein.editing`: ``fill``, ``vary``, ``mix``, ``invert``,
                ``restore``; or any function of a model, of what is given and of an ``Ask``.
            *given: What it takes between the two, such as the item and a strength.
            n: Versions.
            seed: Where their noise comes from.
            steps: Of the solver; this and the others up to ``guide`` as for :meth:`sample`.
            solver: Its name.
            grid: Levels that the steps visit.
            schedule: Process to walk on.
            class_name: Class they are to have; default it is left open.
            cond: What else is said of them.
            guidance: Strength of guidance.
            guide: Its manner.
            method: Of filling in and restoring, see ``ornstein.editing.METHODS``.
            precision: See :meth:`ornstein.bundle.Bundle.to`.

        Raises:
            UsageError: an unknown name, or an item that is not the model's.
        """
        from ornstein.build import fastest_device
        from ornstein.editing import Ask

        bundle = self.bundle().to(fastest_device(), precision)
        way = bundle.how(
            solver=solver,
            grid=grid,
            schedule=schedule,
            steps=steps,
            guidance=guidance,
            guide=guide,
        )
        return verb(bundle, *given, Ask(n, seed, class_name, way, method, cond or {}))

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.state}, step {self.record.get('step', 0)})"

    def _repr_html_(self) -> str:
        from ornstein.run.notebook import run_html

        return run_html(self)


def run_name(source: str) -> str:
    """Derive a run's name from its data: the last part of a path, in plain letters."""
    name = re.sub(r"[^a-z0-9_-]+", "-", Path(source).stem.lower()).strip("-")
    return name or "run"


def typed(folder: Path) -> str:
    """What to type for a run on the command line: its name, or where it is when not in runs/."""
    return folder.name if folder.parent == Path("runs") else shlex.quote(str(folder))


def open_run(name: str | Path, runs: str | Path = "runs") -> Run:
    """Open a run by its name or its directory.

    Raises:
        UsageError: there is no such run; the ones there are are named.
    """
    for folder in (Path(name), Path(runs) / str(name)):
        if (folder / "config.toml").is_file():
            return Run(folder)
    known = [run.name for run in list_runs(runs)]
    have = f" There are: {', '.join(known)}." if known else f" There is none yet in {runs}/."
    raise UsageError(f"no run '{name}' here.{near(str(name), known)}{have}")


def list_runs(runs: str | Path = "runs") -> list[Run]:
    """All runs in a directory, by name."""
    return [Run(path.parent) for path in sorted(Path(runs).glob("*/config.toml"))]


__all__ = [
    "Progress",
    "Run",
    "Silent",
    "list_runs",
    "open_run",
    "run_name",
]
