"""Learning to tell the class of a noisy item, for guidance by a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ornstein.core import Level, Process
from ornstein.errors import UsageError
from ornstein.model import Classifier, Conditions
from ornstein.training.coupling import Coupling, independent
from ornstein.training.objective import Law
from ornstein.training.times import Importance


@dataclass(frozen=True)
class Recognition:
    """Cross entropy of the class at noisy levels (arXiv:2105.05233, section 4).

    It stands where an ``Objective`` does.

    Attributes:
        process: Gives the law its levels.
        law: Which levels are trained, and how often.
    """

    process: Process
    law: Law
    times: Importance | None = None
    coupling: Coupling = independent

    def choose(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map even draws u, (B,) in (0, 1), to quantiles of the law and weights of the losses."""
        return u, torch.ones_like(u)

    def levels(self, u: Tensor) -> Level:
        """Map quantiles, (B,) in (0, 1), to levels on the variance-preserving scale."""
        return self.law(u, self.process).unit()

    def loss(
        self, model: Classifier, clean: Tensor, eps: Tensor, level: Level, cond: Conditions
    ) -> Tensor:
        """Minus log p(class | x) of each item, in nats, (B,).

        Raises:
            UsageError: the items have no class.
        """
        if "class" not in cond:
            raise UsageError("a classifier needs data with classes, such as one folder for each.")
        said: Tensor = model(level.mix(clean, eps), level)
        hidden = said.shape[1]  # the number of a class that was not said
        return functional.nll_loss(said, cond["class"], reduction="none", ignore_index=hidden)
