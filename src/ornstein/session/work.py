"""What the parts of a sitting share: the training, where it is kept, whom it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

import ornstein
from ornstein import build
from ornstein.bundle import Bundle, Recogniser
from ornstein.config import Config
from ornstein.data import Dataset
from ornstein.errors import DiskError
from ornstein.model import Classifier, Model
from ornstein.planning import Plan
from ornstein.run import Progress, Run
from ornstein.training.budget import Budget
from ornstein.training.ema import width_text
from ornstein.training.journal import Journal, note
from ornstein.training.loop import Trainer
from ornstein.training.signals import StopRequest


@dataclass
class Work:
    """One training, as all parts of a sitting see it.

    Attributes:
        run: Where it is kept.
        plan: How long it takes, and every setting.
        data: What is learnt.
        trainer: Does the steps.
        say: Told what happens.
        stop: Whether somebody asked to stop.
        budget: How many steps there are in all.
        command: What was typed for this sitting; None from Python.
        journal: The log.
        average: A model to put averaged weights into.
        heldout: The held-out loss that was measured last.
    """

    run: Run
    plan: Plan
    data: Dataset
    trainer: Trainer
    say: Progress
    stop: StopRequest
    budget: Budget
    command: str | None = None
    journal: Journal = field(init=False)
    average: Model | Classifier = field(init=False)
    heldout: float | None = None

    def __post_init__(self) -> None:
        self.journal = Journal(self.run.folder / "log.jsonl")
        self.average = build.model(self.config, self.data).to(self.trainer.device).eval()

    @property
    def config(self) -> Config:
        """Every setting."""
        return self.plan.config

    def note(self, text: str) -> None:
        """Write a line into the run's events.log; a full disk is said, and ends no training."""
        try:
            note(self.run.folder, text)
        except DiskError as error:
            self.say.note(f"warning: {error}")

    def bundle(self) -> Bundle | Recogniser:
        """Return the model or the classifier as it stands, with averaged weights."""
        self.trainer.average_to(self.average)
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
            "condition_dropout": self.config.train.condition_dropout,
            "dequantised": self.config.data.dequantise,
            "weights": width_text(self.trainer.settings.ema),
            "ornstein": ornstein.__version__,
            "torch": torch.__version__,
        }
