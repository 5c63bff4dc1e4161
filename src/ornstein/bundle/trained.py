"""A trained model and what describes it: its process, its coding, its conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch

from ornstein.bundle.parts import Sampler, TunedGrid, fingerprint
from ornstein.core import PROCESSES, Process
from ornstein.data.coding import Coding
from ornstein.data.conditions import CLASS, Declared
from ornstein.data.lowered import factor_of
from ornstein.errors import look_up
from ornstein.model import Model

PRECISIONS = {name: name for name in ("float32", "bfloat16")}


@dataclass(frozen=True, eq=False)
class Trained:
    """A model and all that describes it.

    Attributes:
        model: The denoiser; put into evaluation mode.
        net: Key of ``NETS`` that rebuilds its network from ``model.net.options()``.
        target: Key of ``TARGETS``.
        process: Key of ``PROCESSES``, the process of training.
        process_options: Arguments of that process.
        coding: Between data units and the network's.
        shape: Shape of one item.
        conditions: What may be said of the items.
        sampler: Defaults of sampling.
        tuned: Solvers and levels found for this model, which then take the place of the defaults.
        weights: What the weights are, such as "average of relative width 0.1" or "raw".
        provenance: Data, licence, steps, versions: JSON values that travel with the model.
    """

    model: Model
    net: str
    target: str
    process: str
    coding: Coding
    shape: tuple[int, ...]
    conditions: tuple[Declared, ...] = ()
    process_options: Mapping[str, Any] = field(default_factory=dict)
    sampler: Sampler = field(default_factory=Sampler)
    tuned: tuple[TunedGrid, ...] = ()
    weights: str = "raw"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.eval()

    @property
    def kind(self) -> str:
        """Kind of data: "image", "series", "vector" or "table"."""
        return self.coding.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, empty if there are none."""
        return next((c.names for c in self.conditions if (c.name, c.kind) == (CLASS, "class")), ())

    @property
    def upscales(self) -> int | None:
        """How many times larger it makes what it is given; None for a model that is given none."""
        return factor_of(self.conditions, self.shape)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.model.parameters())

    @cached_property
    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of the weights, which name the model in pictures."""
        return fingerprint(self.model.net)

    def to(self, device: torch.device | str, precision: str | None = None) -> Self:
        """Move the model to ``device``, to compute there in ``precision`` from now on.

        Args:
            device: Where it is to live.
            precision: "float32", or "bfloat16" for the inner arithmetic of the network, where
                numbers keep three digits: faster where a device has it, and slower elsewhere. None
                leaves it as it is.

        Raises:
            UsageError: no such precision.
        """
        self.model.to(device)
        if precision is not None:
            self.model.precision = look_up("precision", precision, PRECISIONS)
        return self

    @property
    def rounding(self) -> dict[str, str]:
        """The precision, for the settings of what is made; nothing where it is the usual one."""
        precision = self.model.precision
        return {} if precision == "float32" else {"precision": precision}

    def make_process(self, schedule: str | None = None) -> Process:
        """Build the process called ``schedule``, by default the one of training."""
        name = schedule or self.process
        if name == self.process:
            return PROCESSES[name](**self.process_options)
        return look_up("schedule", name, PROCESSES)()
