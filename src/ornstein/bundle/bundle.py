"""A trained model together with its process, its data coding and the way it is sampled."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ornstein.bundle.parts import ROWS, Progress, Sampler, TunedGrid, Walk, choose
from ornstein.core import GRIDS, PROCESSES, Denoiser, ItemNoise, Level, Process
from ornstein.data.coding import Coding
from ornstein.errors import UsageError, near
from ornstein.guide import classifier_free
from ornstein.model import Model
from ornstein.samples import Samples
from ornstein.solvers import SOLVERS, Step
from ornstein.solvers import trace as walk_levels
from ornstein.tune import FREE

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model and all that is needed to sample it; on disk it is one file.

    Attributes:
        model: The denoiser; put into evaluation mode.
        net: Key of ``NETS`` that rebuilds its network from ``model.net.options()``.
        target: Key of ``TARGETS``.
        process: Key of ``PROCESSES``, the process of training.
        process_options: Arguments of that process.
        coding: Between data units and the network's.
        shape: Shape of one item.
        classes: Names of the classes, empty if there are none.
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
    classes: tuple[str, ...] = ()
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
        digest = hashlib.sha256()
        for name, value in sorted(self.model.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device | str) -> Bundle:
        """Move the model to ``device``."""
        self.model.to(device)
        return self

    def save(self, path: str | Path) -> Path:
        """Write the one-file model; see :func:`ornstein.bundle.file.save`."""
        from ornstein.bundle.file import save

        return save(self, path)

    def make_process(self, schedule: str | None = None) -> Process:
        """Build the process called ``schedule``, by default the one of training."""
        name = schedule or self.process
        if name == self.process:
            return PROCESSES[name](**self.process_options)
        return choose("schedule", name, PROCESSES)()

    def how(
        self,
        *,
        solver: str | None = None,
        grid: str | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Sampler:
        """Return the way to sample: what is asked for, and the model's own defaults for the rest.

        Where neither solver nor grid is asked for and the model was tuned for such steps, the
        tuned solver and grid are the defaults.

        Args:
            solver: Key of ``SOLVERS``.
            grid: Key of ``GRIDS``, or "tuned".
            schedule: Key of ``PROCESSES``; by default the process of training.
            steps: Steps of the solver.
            guidance: Scale of classifier-free guidance, 1 is off; else twice the evaluations.
        """
        own = self.sampler
        way = Sampler(
            solver=own.solver if solver is None else solver,
            grid=own.grid if grid is None else grid,
            schedule=(own.schedule or self.process) if schedule is None else schedule,
            steps=own.steps if steps is None else steps,
            guidance=own.guidance if guidance is None else guidance,
        )
        found = self.tuned_grid(way)
        if found is None or solver is not None or grid not in (None, FREE):
            return way
        return replace(way, solver=found.solver, grid=FREE)

    def tuned_grid(self, sampler: Sampler) -> TunedGrid | None:
        """What was found for this schedule, number of steps and guidance; None if nothing was."""
        asked = (sampler.schedule or self.process, sampler.steps, sampler.guidance)
        return next((found for found in self.tuned if found.suits == asked), None)

    def levels(self, sampler: Sampler | None = None) -> Level:
        """Return the grid that is walked, (steps + 1,), from noise to data.

        Raises:
            UsageError: an unknown grid or schedule.
            LevelError: the grid has no such number of steps.
            TargetError: the model's target says nothing at a level of this grid.
        """
        sampler = sampler or self.how()
        name = sampler.schedule or self.process
        process = self.make_process(name)
        if sampler.grid != FREE:
            levels = choose("grid", sampler.grid, GRIDS)(process, sampler.steps)
        elif found := self.tuned_grid(sampler):
            levels = found.levels(process)
        else:
            raise self._untuned(sampler)
        self.model.target.check(levels[:-1].unit(), f"the schedule '{name}'")
        return levels

    def _untuned(self, sampler: Sampler) -> UsageError:
        name = sampler.schedule or self.process
        known = ", ".join(f"{t.steps} steps on {t.schedule} at {t.guidance:g}" for t in self.tuned)
        return UsageError(
            f"this model was not tuned for {sampler.steps} steps on {name} at guidance "
            f"{sampler.guidance:g}{f', but for {known}' if known else ''}. "
            f"Tune it: ornstein tune MODEL --steps {sampler.steps}"
        )

    def labels(self, n: int, class_name: str | None = None, first: int = 0) -> Tensor | None:
        """Return the classes of items first..first+n-1, (n,): item k has class k mod C by default.

        Raises:
            UsageError: there is no such class.
        """
        if class_name is not None and class_name not in self.classes:
            if not self.classes:
                raise UsageError(
                    f"this model knows no classes, so there is no '{class_name}'; leave it out."
                )
            shown = ", ".join(self.classes[:40]) + (", ..." if len(self.classes) > 40 else "")
            raise UsageError(
                f"no class '{class_name}'.{near(class_name, self.classes)} There are: {shown}."
            )
        if not self.classes:
            return None
        if class_name is not None:
            return torch.full((n,), self.classes.index(class_name))
        return torch.arange(first, first + n) % len(self.classes)

    def denoiser(self, labels: Tensor | None = None, guidance: float = 1.0) -> Denoiser:
        """Bind classes, (B,) int64, where index C is "no class"; None leaves the class open.

        Args:
            labels: Class of each item.
            guidance: Scale of classifier-free guidance towards it; 1 is off.
        """
        if labels is None:
            return self.model.given({})
        cond = {"class": labels.to(self.device)}
        if guidance == 1:
            return self.model.given(cond)
        null = {"class": torch.full_like(cond["class"], len(self.classes))}
        return classifier_free(self.model, cond, null, guidance)

    def check_guidance(self, scale: float) -> None:
        """Refuse a scale of guidance that this model cannot follow.

        Raises:
            UsageError: the model has no classes, never saw an item without its class, or the
                scale is out of bounds.
        """
        if not 0 <= scale <= 100:
            raise UsageError(f"guidance is a number from 0 to 100, 1 is off; got {scale:g}.")
        if scale != 1 and not self.classes:
            raise UsageError("this model has no classes to be guided to; leave guidance at 1.")
        if scale != 1 and self.provenance.get("class_dropout") == 0:
            raise UsageError(
                "this model never saw an item without its class, so it cannot be guided. Train it "
                "with --set class_dropout=0.1."
            )

    def walk(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        class_name: str | None = None,
        sampler: Sampler | None = None,
    ) -> Walk:
        """Prepare the trajectory of items first..first+n-1, in one batch.

        Item k of a seed starts at the same noise, meets the same noise and has the same class in
        any batch. On a CPU the batch is filled up to a multiple of 16 rows (the rest are the items
        that come next, cut off again), so that its bits are the same too, on one kind of machine
        with one version of torch.

        Args:
            n: Number of items.
            seed: Where the noise comes from.
            first: Number of the first item.
            class_name: Class of all items; default each in turn.
            sampler: The way to go, see :meth:`how`.

        Raises:
            UsageError: an unknown name, no items, or guidance that the model cannot follow.
        """
        if n < 1 or first < 0:
            raise UsageError(
                f"sampling makes at least one item from item 0 on, not {n} at {first}."
            )
        sampler = sampler or self.how()
        self.check_guidance(sampler.guidance)
        solver = choose("solver", sampler.solver, SOLVERS)()
        levels = self.levels(sampler)
        rows = n if self.device.type != "cpu" else -(-n // ROWS) * ROWS
        noise = ItemNoise(seed, range(first, first + rows))
        labels = self.labels(rows, class_name, first)
        start = noise.start(self.shape).to(self.device) * float(levels.sigma[0])
        denoise = self.denoiser(labels, sampler.guidance)
        walked = walk_levels(denoise, start, levels, solver, noise)
        return Walk(
            start=start[:n],
            levels=levels,
            labels=None if labels is None else labels[:n],
            steps=(step._replace(x=step.x[:n], x0=step.x0[:n]) for step in walked),
            settings={
                **asdict(sampler),
                "schedule": sampler.schedule or self.process,
                **({"levels": levels.rho.tolist()} if sampler.grid == FREE else {}),
                "class": class_name,
                "model": self.fingerprint,
                "seed": seed,
            },
            evaluations=solver.evaluations * sampler.steps * (1 if sampler.guidance == 1 else 2),
        )

    def trace(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        class_name: str | None = None,
        sampler: Sampler | None = None,
    ) -> Iterator[Step]:
        """Walk from noise to data and yield every step; see :meth:`walk`."""
        return self.walk(n, seed=seed, first=first, class_name=class_name, sampler=sampler).steps

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        class_name: str | None = None,
        solver: str | None = None,
        grid: str | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        batch: int = 64,
        progress: Progress | None = None,
    ) -> Samples:
        """Make items first..first+n-1 of a seed, in pieces of ``batch``.

        The way is chosen as by :meth:`how`; the rest is as in :meth:`walk`.
        """
        if batch < 1:
            raise UsageError(f"a batch holds at least one item, not {batch}.")
        sampler = self.how(
            solver=solver, grid=grid, schedule=schedule, steps=steps, guidance=guidance
        )
        began = time.monotonic()
        sizes = [min(batch, n - k) for k in range(0, n, batch)] or [n]
        ends: list[Tensor] = []
        labels: list[int | None] = []
        done = 0
        for k, size in enumerate(sizes):
            walk = self.walk(
                size, seed=seed, first=first + k * batch, class_name=class_name, sampler=sampler
            )
            x = walk.start
            for step in walk.steps:
                x, done = step.x, done + 1
                if progress is not None:
                    progress(done, len(sizes) * sampler.steps)
            ends.append(x.cpu())
            labels += [None] * size if walk.labels is None else walk.labels.tolist()
        return Samples(
            items=self.coding.labelled(self.coding.decode(torch.cat(ends)), labels),
            coding=self.coding,
            seed=seed,
            numbers=tuple(range(first, first + n)),
            labels=tuple(None if c is None else self.classes[c] for c in labels),
            settings=walk.settings,
            evaluations=walk.evaluations,
            seconds=time.monotonic() - began,
        )
