"""Who is examined: data, a run or a model, opened once for all checks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ornstein import build
from ornstein.bundle import Bundle, Recogniser, load_any
from ornstein.config import Config
from ornstein.data import BadFilesError, Dataset, open_data
from ornstein.data.conditions import CLASS
from ornstein.errors import OrnsteinError, UsageError
from ornstein.run import Run
from ornstein.training.batches import evenly
from ornstein.training.checkpoint import Checkpoint, load_latest
from ornstein.training.panel import Reading, readings

ITEMS, VALUES = 10_000, 1 << 23  # read for the checks of data, at most


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes:
        measured: What was found, with its numbers.
        normal: What it is where nothing is wrong.
        mend: The command or setting that mends it.
    """

    measured: str
    normal: str
    mend: str


CHANGED = Finding(
    "the data of the run are others than it learned, so nothing is measured on them",
    "as they were when it began",
    "restore them, or train on what they are now as another run: add --name",
)


@dataclass
class Patient:
    """What is examined; what is not there is None.

    Attributes:
        name: What it was called.
        data: The data set, of a run that which it learns.
        run: The run.
        bundle: The model.
        seconds: Time that all checks together may take.
        wounds: What could not even be opened.
    """

    name: str
    data: Dataset | None = None
    run: Run | None = None
    bundle: Bundle | None = None
    seconds: float = 60.0
    wounds: list[Finding] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.monotonic() - self.began)

    @property
    def device(self) -> torch.device:
        """Where models are tried."""
        return build.fastest_device()

    @cached_property
    def config(self) -> Config | None:
        """Settings of the run."""
        return self.run.config if self.run else None

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """Lines of the run's log."""
        return self.run.log if self.run else []

    @cached_property
    def events(self) -> str:
        """The run's events.log."""
        path = self.run.folder / "events.log" if self.run else Path()
        return path.read_text("utf-8") if path.is_file() else ""

    @cached_property
    def readings(self) -> list[Reading]:
        """Errors by level that the run measured, oldest first."""
        return readings(self.log)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The newest one that is whole."""
        return load_latest(self.run.folder / "checkpoints") if self.run else None

    @cached_property
    def picked(self) -> Tensor:
        """Indices of training items that are looked at, evenly spread, (n,)."""
        assert self.data is not None
        count = min(ITEMS, max(256, VALUES // self.data.dims))
        return torch.as_tensor(self.data.train)[evenly(len(self.data.train), count)]

    @cached_property
    def items(self) -> Tensor:
        """Those items, standardised, (n, *D)."""
        assert self.data is not None
        return self.data.batch(self.picked)

    @cached_property
    def labels(self) -> Tensor | None:
        """Their classes, (n,), the number of classes where none is said; None without."""
        if self.data is None or self.data.labels is None:
            return None
        return self.data.condition_batch(self.picked)[CLASS]


def admit(
    target: str, runs: Path, seconds: float, folder: Path | None, size: int | None = None
) -> Patient:
    """Open what ``target`` names.

    Args:
        target: Data, a run or a model file.
        runs: Directory of the runs.
        seconds: Time for the checks.
        folder: The run's directory, if it is a run.
        size: Side of pictures, for data.

    Raises:
        OrnsteinError: there is no such thing at all.
    """
    if folder is None and not (target.endswith(".safetensors") and Path(target).is_file()):
        return _of_data(target, size, seconds)
    if folder is None:
        bundle = _denoiser(load_any(target, runs), target)
        return Patient(target, bundle=bundle, seconds=seconds)
    run = Run(folder)
    patient = Patient(target, run=run, seconds=seconds)
    assert patient.config is not None
    try:
        patient.data = open_data(**patient.config.data.opening())
    except OrnsteinError as error:
        patient.wounds.append(_wound("the data of the run", error))
    if patient.data is not None and run.changed(patient.data):
        patient.data = None  # what is measured on them says nothing of this training
        patient.wounds.append(CHANGED)
    if (folder / "model.safetensors").exists():
        try:
            found = load_any(folder, runs)
        except OrnsteinError as error:
            patient.wounds.append(_wound("the model of the run", error))
        else:
            patient.bundle = _denoiser(found, target)
    return patient


def _of_data(target: str, size: int | None, seconds: float) -> Patient:
    """Data, of files among which too many may be bad: the others are examined all the same."""
    patient = Patient(target, seconds=seconds)
    try:
        patient.data = open_data(target, size=size)
    except BadFilesError as error:
        patient.data = open_data(target, size=size, allow_bad=True)
        mend = "remove them, or train on the others: --allow-bad"
        patient.wounds.append(Finding(error.found, "at most 1 % of them", mend))
    return patient


def _denoiser(found: Bundle | Recogniser, name: str) -> Bundle:
    """Take a model that makes items to where models are tried.

    Raises:
        UsageError: it is a classifier, of which the checks know nothing.
    """
    if isinstance(found, Recogniser):
        raise UsageError(
            f"{name} is a classifier of noisy items, and the checks are those of models that make "
            "items; how well it recognises is in its log.jsonl."
        )
    return found.to(build.fastest_device())


def _wound(what: str, error: OrnsteinError) -> Finding:
    return Finding(f"{what} cannot be opened: {error}", "it opens", "mend what the message names")
