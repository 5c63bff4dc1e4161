"""Is it learning? The error of x0 at each noise level, beside what these data allow at least.

A loss says little by itself: at each level a part of it cannot be avoided. So the panel asks two
more denoisers that need no training the same questions: the best linear one, which knows mean and
covariance, and perfect memory, which knows the training items. A model is worth something where
it errs less than the first, and remembers where it nears the second on its training items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ornstein.core import Estimate, FiniteData, Level, Principal, generator
from ornstein.model import Conditions
from ornstein.training.batches import Items, evenly
from ornstein.training.objective import Objective

LEVELS = 12
LEAST, VALUES = 64, 4096  # items of a part: so many at least, and so many values in all
STORED = 4096  # training items that the memory knows
FITTED, AXES = 1024, 256  # items and axes of the linear denoiser where dimensions are many
# Values that the memory and the linear denoiser hold at most, in float32 and float64: 256 MB each.
# Items of up to 16,384 values, such as grey pictures of 128x128, meet neither.
MOST_STORED, MOST_FITTED = 1 << 26, 1 << 25
FEW = 8  # items, however large
PIECE, MOST = 2**15, 512  # values and items that are answered at once
# Of the way to perfect memory, from where on it is said. Healthy trainings stay within 0.03;
# where held-out errors begin to rise it was 0.1 to 0.2.
REMEMBERS = 0.15
SURE = 3.0  # standard errors above none
LEAST_ROOM = 0.1  # of the linear denoiser's error: where memory knows no more, nothing is told

Answer = Callable[[Tensor, Level, Conditions], Estimate]
"""A denoiser under conditions of the items; a model is one."""


@dataclass(frozen=True)
class Reading:
    """Mean squared errors of x0 per value, standardised.

    Attributes:
        log_snr: The levels, noise first, (L,).
        errors: "heldout" and "train" to "model", "linear" and "memory" to errors, (L,) each.
        items: Items of each part.
        memory: How far training items have gone from held-out ones to perfect memory: 0 where
            they are denoised as well as held-out ones, 1 where as well as by memory, averaged
            over the law of levels. None without held-out items.
        doubt: Its standard error.
    """

    log_snr: tuple[float, ...]
    errors: Mapping[str, Mapping[str, tuple[float, ...]]]
    items: int
    memory: float | None = None
    doubt: float | None = None

    @property
    def part(self) -> str:
        """What the model is judged by: held-out items where there are any."""
        return "heldout" if "heldout" in self.errors else "train"

    def ratio(self, part: str, source: str = "model") -> list[float]:
        """Error over that of the best linear denoiser on the same items and noise, (L,).

        NaN where that is 0: all items are the same.
        """
        found = self.errors[part]
        return [
            a / b if b else math.nan for a, b in zip(found[source], found["linear"], strict=True)
        ]

    def line(self) -> dict[str, Any]:
        """What goes into the log."""
        errors = {p: {k: _short(v) for k, v in e.items()} for p, e in self.errors.items()}
        facts = {"memory": self.memory, "doubt": self.doubt, "items": self.items}
        return {"log_snr": _short(self.log_snr), **errors, **facts}

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Reading:
        """Read back :meth:`line`."""
        parts = [part for part in ("heldout", "train") if part in line]
        errors = {part: {k: _numbers(v) for k, v in line[part].items()} for part in parts}
        return cls(
            tuple(line["log_snr"]), errors, line["items"], line.get("memory"), line.get("doubt")
        )


def memorises(reading: Reading) -> bool:
    """Whether training items are remembered, beyond what chance explains."""
    if reading.memory is None or reading.doubt is None:
        return False
    # Errors of few items are surer than they are: Student's quantile, by its expansion in 1/n.
    sure = SURE * (1 + (SURE**2 + 1) / (4 * max(1, reading.items - 1)))
    return reading.memory > max(REMEMBERS, sure * reading.doubt)


def readings(log: Sequence[Mapping[str, Any]]) -> list[Reading]:
    """All readings of a log, oldest first."""
    return [Reading.of(line["levels"]) for line in log if line.get("levels")]


class Panel:
    """Items, noise and levels that stay the same over a training, and the floors under them.

    Args:
        items: The data.
        objective: Its process spans the levels, its law weighs them.
        seed: Where the noise comes from.
        cond: Conditions of the items at some indices.
        device: Where models live.
        check: Called between pieces of the work; what it raises ends it.
        most: Items that are answered at once, at most.
    """

    def __init__(
        self,
        items: Items,
        objective: Objective,
        seed: int,
        cond: Callable[[Tensor], Conditions],
        device: torch.device,
        check: Callable[[], None] = lambda: None,
        most: int = MOST,
    ) -> None:
        self.check, self.most = check, min(most, MOST)
        train, heldout = (torch.as_tensor(part) for part in (items.train, items.heldout))
        dims = items.batch(train[:1]).numel()
        stored, fits = (max(FEW, values // dims) for values in (MOST_STORED, MOST_FITTED))
        asked = min(max(LEAST, VALUES // dims), stored)
        self.count = min(asked, len(heldout) or len(train), len(train))
        picked = {"train": _even(train, self.count)}
        if len(heldout):
            picked["heldout"] = _even(heldout, self.count)
        marks = torch.linspace(*objective.process.span, LEVELS, dtype=torch.float64)
        self.levels = Level.from_log_snr(marks)
        self.weights = objective.shares(marks)
        self.seed, self.device = seed, device
        self.clean = {part: items.batch(which).to(device) for part, which in picked.items()}
        self.cond = {part: cond(which) for part, which in picked.items()}
        known = torch.cat([picked["train"], _even(train, min(STORED, stored))]).unique()
        many = min(4 * FITTED if dims <= FITTED else FITTED, fits)
        fitted = items.batch(_even(train, many))
        # An axis takes a few items to be known by.
        linear = Principal.fit(fitted, min(AXES if dims > FITTED else dims, len(fitted) // 4))
        memory = FiniteData(items.batch(known).to(device))
        self.floors = {
            part: {
                "linear": self._errors(part, lambda x, level, _: linear(x, level)),
                "memory": self._errors(part, lambda x, level, _: memory(x, level)),
            }
            for part in self.clean
        }

    def read(self, model: Answer) -> Reading:
        """Measure a model."""
        each = {
            part: {"model": self._errors(part, model), **floor}
            for part, floor in self.floors.items()
        }
        means = {
            part: {source: tuple(e.mean(0).tolist()) for source, e in found.items()}
            for part, found in each.items()
        }
        memory, doubt = self._memory(each) if "heldout" in each else (None, None)
        if memory is not None and doubt is not None and not math.isfinite(memory + doubt):
            memory = doubt = None  # all items are the same, or one alone is held out
        return Reading(tuple(self.levels.log_snr.tolist()), means, self.count, memory, doubt)

    @torch.no_grad()
    def _errors(self, part: str, answer: Answer) -> Tensor:
        """Squared error of x0 of each item at each level, mean over its values, (N, L)."""
        clean, cond = self.clean[part], self.cond[part]
        size = min(self.most, max(LEAST, PIECE // clean[0].numel()))
        rows = []
        for k in range(LEVELS):
            self.check()
            level = self.levels[k].to(self.device)
            source = generator(self.seed, "panel", part, k)
            x = level.mix(clean, torch.randn(clean.shape, generator=source).to(clean))
            row = [
                answer(x[i], level, {name: said[i] for name, said in cond.items()}).x0 - clean[i]
                for i in torch.arange(len(clean), device=clean.device).split(size)
            ]
            rows.append(torch.cat(row).double().flatten(1).square().mean(1).cpu())
        return torch.stack(rows, 1)

    def _memory(self, each: Mapping[str, Mapping[str, Tensor]]) -> tuple[float, float]:
        """``Reading.memory`` and its standard error.

        Errors count relative to those of the linear denoiser on the same items, so that neither
        easier items nor levels of large errors decide.
        """
        ratio = {p: e["model"].mean(0) / e["linear"].mean(0) for p, e in each.items()}
        known = each["train"]["memory"].mean(0) / each["train"]["linear"].mean(0)
        room = max(LEAST_ROOM, float(self.weights @ (ratio["heldout"] - known).clamp(min=0)))
        variance = 0.0
        for part, found in each.items():
            model, linear = found["model"], found["linear"]
            # A ratio of means errs as the mean of what its items are off it.
            off = ((model - ratio[part] * linear) / linear.mean(0)) @ self.weights
            variance += float(off.var() / len(off)) if len(off) > 1 else math.inf
        gone = float(self.weights @ (ratio["heldout"] - ratio["train"]))
        return gone / room, math.sqrt(variance) / room


def _even(indices: Tensor, count: int) -> Tensor:
    """At most ``count`` of the indices, evenly spread."""
    return indices[evenly(len(indices), count)]


def _short(values: Sequence[float]) -> list[float | None]:
    """A few digits for JSON, which knows no number that is not finite."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    """The way back."""
    return tuple(math.nan if value is None else value for value in values)
