"""What every edit shares: how it is asked for, and a bench of denoiser, grid, noise and units."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ornstein.bundle import Bundle, Sampler
from ornstein.bundle.asking import joined
from ornstein.bundle.walking import rows_of, settings_of, with_noise
from ornstein.core import Denoiser, ItemNoise, Level
from ornstein.data.lowered import noised
from ornstein.edit import POSTERIORS, Descended, Measurement, Replaced, decode, encode
from ornstein.errors import UsageError, look_up
from ornstein.samples import Samples
from ornstein.solvers import SOLVERS, Ancestral, Solver, sample

GOES = 10  # of RePaint
METHODS = (*POSTERIORS, "dps", "replace", "repaint")
AUTO = "auto"


@dataclass(frozen=True)
class Ask:
    """How an edit is made.

    Attributes:
        n: Versions to make.
        seed: Where their noise comes from.
        class_name: Class they are to have; None leaves it open.
        sampler: The way to go; None for the model's own.
        method: One of ``METHODS``, for what is filled in or restored; "auto" is :func:`settled`.
        cond: What is said of them besides the class, by name.
    """

    n: int = 4
    seed: int = 0
    class_name: str | None = None
    sampler: Sampler | None = None
    method: str = AUTO
    cond: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Edited:
    """What an edit made.

    Attributes:
        samples: The versions.
        given: What the model was given, as an item or smaller, in raw units.
        figures: Measured errors by name, in raw units.
    """

    samples: Samples
    given: np.ndarray
    figures: dict[str, float] = field(default_factory=dict)


def settled(bundle: Bundle, ask: Ask, masked: bool = True) -> Ask:
    """Fill in the method, where it is left open, by what measured better; see docs/editing.md.

    In holes of pictures that is RePaint. It walks by steps of its own, so it is not taken where
    another solver is asked for than the model's.
    """
    if ask.method != AUTO:
        return ask
    own = ask.sampler is None or ask.sampler.solver == bundle.how().solver
    repaint = masked and own and bundle.kind == "image"
    return replace(ask, method="repaint" if repaint else "mmps")


class Workbench:
    """What every edit shares: denoiser, grid, noise, and the way to the network's units and back.

    Args:
        bundle: The model.
        ask: How.
        numbers: Of the rows' noise, as many as :func:`ornstein.bundle.walking.rows_of` says;
            default from 0 on.

    Raises:
        UsageError: an unknown name, or a class or guidance that the model cannot follow.
    """

    def __init__(self, bundle: Bundle, ask: Ask, numbers: Sequence[int] | None = None) -> None:
        if ask.n < 1:
            raise UsageError(f"an edit makes at least one version, not {ask.n}.")
        look_up("method", ask.method, dict.fromkeys((AUTO, *METHODS)))
        self.bundle, self.ask, self.device = bundle, ask, bundle.device
        self.sampler = ask.sampler or bundle.how()
        bundle.check_guidance(self.sampler.guidance, self.sampler.guide)
        # Filled up as when sampling, so that version k is the same for any number of them.
        self.rows = rows_of(bundle, ask.n)
        self.noise = ItemNoise(ask.seed, range(self.rows) if numbers is None else numbers)
        self.said = joined(ask.cond, ask.class_name)
        self.cond = bundle.cond(1, self.said, first=None)
        led = self.cond or bundle.leads.weak or bundle.leads.negative
        self.guidance = self.sampler.guidance if led else 1.0
        self.denoise = self.denoiser(self.noise.items)
        self.levels = bundle.levels(self.sampler)
        self.solver: Solver = look_up("solver", self.sampler.solver, SOLVERS)()
        self.began = time.monotonic()

    def denoiser(self, numbers: Sequence[int]) -> Denoiser:
        """What is asked about a row of each number, under what is said and the number's noise."""
        rows = len(numbers)
        cond = {name: value.expand(rows, *value.shape[1:]) for name, value in self.cond.items()}
        own = ItemNoise(self.ask.seed, numbers)
        cond |= with_noise(cond, noised(self.bundle.conditions), own)
        return self.bundle.denoiser(cond, self.sampler)

    def drawn(self, known: Measurement, parts: tuple[Tensor, Tensor] | None) -> Tensor:
        """Walk from noise under a measurement; ``parts`` is (known, seen) where it is a mask."""
        denoise, solver, method = self.denoise, self.solver, self.ask.method
        if method in ("replace", "repaint"):
            if parts is None:
                raise UsageError(
                    f"'{method}' fills in what a mask leaves open; for an operator use one of "
                    f"{', '.join((*POSTERIORS, 'dps'))}."
                )
            inner = Ancestral("small") if method == "repaint" else solver
            solver = Replaced(inner, *parts, goes=GOES if method == "repaint" else 1)
        elif method == "dps":
            solver = Descended(solver, known)
        else:
            denoise = POSTERIORS[method](denoise, known)
        start = self.noise.start(self.bundle.shape).to(self.device) * float(self.levels.sigma[0])
        return sample(denoise, start, self.levels, solver, self.noise)

    def encoded(self, item: np.ndarray) -> Tensor:
        """An item in the network's units, once for every row."""
        if item.shape != self.bundle.shape:
            raise UsageError(
                f"the item has shape {item.shape}, but this model makes {self.bundle.shape}."
            )
        if not np.isfinite(item).all():
            raise UsageError("the item has values that are not finite; only a gap to fill in may.")
        one = self.bundle.coding.encode(np.ascontiguousarray(item)[None]).to(self.device)
        return one.expand(self.rows, *item.shape)

    def column(self, values: tuple[float, ...]) -> Tensor:
        """A number per channel, shaped to multiply a batch."""
        shape = (1, -1, *(1,) * (len(self.bundle.shape) - 1))
        return torch.tensor(values, device=self.device).reshape(shape)

    @property
    def clean(self) -> Level:
        """The level that codes take for clean: the cleanest of the schedule, on every grid."""
        process = self.bundle.make_process(self.sampler.schedule)
        return process.level(process.span[1])

    def code(self, item: np.ndarray) -> Tensor:
        """The code of an item, (1, *shape)."""
        one = self.encoded(item)[:1]
        return encode(self.denoiser(self._first(1)), one, self.levels[0], self.clean).x

    def decoded(self, x: Tensor) -> Tensor:
        """The items of codes."""
        return decode(self.denoiser(self._first(len(x))), x, self.levels[0], self.clean)

    def _first(self, rows: int) -> Sequence[int]:
        """The first number so often: a code and the way back know what is said alike."""
        return [self.noise.items[0]] * rows

    def samples(
        self, x: Tensor, about: dict[str, Any], items: np.ndarray | None = None
    ) -> Samples:
        """The first n rows in raw units, with what they follow from."""
        ask, n = self.ask, min(self.ask.n, len(x))
        # RePaint takes steps of its own, whatever the solver is.
        walked = "ddpm-small" if about.get("method") == "repaint" else self.sampler.solver
        way = replace(self.sampler, solver=walked, guidance=self.guidance)
        settings = settings_of(self.bundle, way, self.levels, self.said, ask.seed)
        return Samples(
            items=self.bundle.coding.decode(x[:n]) if items is None else items,
            coding=self.bundle.coding,
            seed=ask.seed,
            numbers=tuple(range(n)),
            labels=(settings["class"],) * n,
            settings={**settings, **about},
            seconds=time.monotonic() - self.began,
        )
