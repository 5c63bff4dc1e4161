"""Diffusion as anybody trains it: ``ornstein.train`` with its own defaults, in a run directory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ornstein import build
from ornstein.bundle import Bundle
from ornstein.comparing.family import Budget, Spent, Task
from ornstein.judging.affording import BOUND_STEPS
from ornstein.launch import train
from ornstein.likelihood import bounded, likelihood
from ornstein.run import Silent

BLIND = {"data.conditions": "[]"}  # as the other families, it is told nothing of the items
# Which precision is faster is measured, now so, now so; by steps the same numbers are to come out.
SAME = {"train.precision": "float32"}


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A trained model with the way of sampling that it was planned with.

    Attributes:
        bundle: The model.
        spent: What the training took, with planning, previews and saving.
    """

    bundle: Bundle
    spent: Spent

    @property
    def evaluations(self) -> int:
        return self.bundle.walk(1).evaluations

    def sample(self, n: int, seed: int) -> np.ndarray:
        return self.bundle.sample(n, seed=seed, batch=256).items

    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        """By the probability flow of real numbers; of levels the bound by the chain.

        A model that saw levels as they are has no density between them.
        """
        if self.bundle.coding.step is None:
            return likelihood(self.bundle, raw, seed=seed).items
        return bounded(self.bundle, raw, steps=BOUND_STEPS, seed=seed).items


def fit_diffusion(task: Task, budget: Budget, seed: int) -> Diffusion:
    """Train a run in the folder of the task, or go on with it."""
    settings = BLIND if budget.steps is None else BLIND | SAME
    run = train(
        task.source, name=f"diffusion-{seed}", settings=settings, size=task.size, seed=seed,
        minutes=None if budget.seconds is None else budget.seconds / 60, steps=budget.steps,
        runs=task.folder, progress=Silent(),
    )  # fmt: skip
    bundle, record = run.bundle().to(build.fastest_device()), run.record
    weights = sum(p.numel() for p in bundle.model.parameters())
    return Diffusion(bundle, Spent(weights, int(record["step"]), float(record["seconds"])))
