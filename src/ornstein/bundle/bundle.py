"""A trained model together with its process, its data coding and the way it is sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ornstein.bundle.asking import Said, heard, joined, turns
from ornstein.bundle.guiding import Leads, guided, led
from ornstein.bundle.parts import Progress, Sampler, TunedGrid, Walk
from ornstein.bundle.recogniser import Recogniser
from ornstein.bundle.trained import Trained
from ornstein.bundle.walking import sample, walk
from ornstein.core import GRIDS, Denoiser, Level
from ornstein.data.conditions import CLASS, Declared, class_of
from ornstein.data.lowered import NOISED, noised
from ornstein.errors import UsageError, look_up
from ornstein.guide import Guide
from ornstein.samples import Samples
from ornstein.solvers import Step
from ornstein.tune import FREE

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class Bundle(Trained):
    """A model and all that is needed to sample it; on disk it is one file.

    Attributes:
        leads: What guidance leads by beside the model itself, see :meth:`led`; not on disk.
    """

    leads: Leads = field(default_factory=Leads)

    @property
    def own(self) -> tuple[Declared, ...]:
        """What its network knows: its conditions without classes that a classifier lends it."""
        return self.conditions[:-1] if self.leads.lent else self.conditions

    def save(self, path: str | Path) -> Path:
        """Write the one-file model; see :func:`ornstein.bundle.file.save`."""
        from ornstein.bundle.file import save

        return save(self, path)

    def led(
        self, *, negative: Said | None = None, by: Bundle | Recogniser | None = None
    ) -> Bundle:
        """Return the model with something else that its guidance leads by.

        Args:
            negative: Conditions to go away from, as in :meth:`cond`.
            by: A smaller or less trained model of the same data, to go away from
                (autoguidance); or a classifier of noisy items, to lead towards the class.

        Raises:
            UsageError: it is of other data, or the model does not know what is said.
        """
        plain = replace(self, conditions=self.own, leads=Leads())
        leads = led(plain, negative, by)
        lent = (class_of(leads.judge.classes),) if leads.lent and leads.judge else ()
        return replace(plain, conditions=(*plain.conditions, *lent), leads=leads)

    def how(
        self,
        *,
        solver: str | None = None,
        grid: str | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        guide: Guide | None = None,
    ) -> Sampler:
        """Return the way to sample: what is asked for, and the model's own defaults for the rest.

        Where neither solver nor grid is asked for and the model was tuned for such steps, the
        tuned solver and grid are the defaults; untuned, fewer steps than the model's own have
        defaults that are better with few.

        Args:
            solver: Key of ``SOLVERS``.
            grid: Key of ``GRIDS``, or "tuned".
            schedule: Key of ``PROCESSES``; by default the process of training.
            steps: Steps of the solver.
            guidance: Scale of guidance, 1 is off; else twice the evaluations at the guided
                levels.
            guide: Manner of guidance: kind, levels, rescaling.
        """
        own = self.sampler
        if steps is not None and solver is None and grid is None:
            own = own.fewer(steps)
        way = Sampler(
            solver=own.solver if solver is None else solver,
            grid=own.grid if grid is None else grid,
            schedule=(own.schedule or self.process) if schedule is None else schedule,
            steps=own.steps if steps is None else steps,
            guidance=own.guidance if guidance is None else guidance,
            guide=own.guide if guide is None else guide,
        )
        found = self.tuned_grid(way)
        if found is None or solver is not None or grid not in (None, FREE):
            return way
        return replace(way, solver=found.solver, grid=FREE)

    def tuned_grid(self, sampler: Sampler) -> TunedGrid | None:
        """What was found for this schedule, number of steps and guidance; None if nothing was."""
        schedule = sampler.schedule or self.process
        asked = (schedule, sampler.steps, sampler.guidance, sampler.manner)
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
            levels = look_up("grid", sampler.grid, GRIDS)(process, sampler.steps)
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

    def cond(self, n: int, said: Said | None = None, first: int | None = 0) -> dict[str, Tensor]:
        """Return the conditions of items first..first+n-1, (n, ...) each, by name.

        What is not said is left out. Where no class is said, item k of pictures has class k mod C,
        and rows of a table have each class as often as the data; see :func:`turns`. A class of
        None or "" is not said on purpose. A picture that may have noise on it has none, where
        nothing is said of it.

        Args:
            n: Number of items.
            said: What is said of all of them, by name: a class, tags ("red|round" or a list),
                numbers, a picture (a path or an array in raw units).
            first: Number of the first item; None leaves a class that is not said open.

        Raises:
            UsageError: a condition that the model does not know, or a value that cannot be.
        """
        asked = joined(said, None)
        told = {name: found.value for name, found in heard(self.conditions, asked).items()}
        cond = {name: value.expand(n, *value.shape[1:]) for name, value in told.items()}
        if self.classes and CLASS not in asked and first is not None:
            numbers = torch.arange(first, first + n)
            cond[CLASS] = turns(numbers, self.coding.shares or (1,) * len(self.classes))
        for name in noised(self.conditions):
            if name in cond:
                cond.setdefault(NOISED.format(name), torch.zeros(n, 1))
        return cond

    def null(self, cond: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what stands for "nothing said" under the same names, for as many items."""
        known = {declared.name: declared for declared in self.conditions}
        return {name: known[name].null(len(value)).to(value) for name, value in cond.items()}

    def denoiser(
        self, cond: Mapping[str, Tensor] | None = None, sampler: Sampler | None = None
    ) -> Denoiser:
        """Bind conditions, as :meth:`cond` returns them; without any, none is said.

        Args:
            cond: What is said of each item.
            sampler: The way that is walked, which says how to guide; None does not guide.
        """
        if sampler is not None:
            return guided(self, cond or {}, sampler)
        own = dict(cond or {})
        if self.leads.lent:
            own.pop(CLASS, None)
        return self.model.given({name: value.to(self.device) for name, value in own.items()})

    def check_guidance(self, scale: float, guide: Guide | None = None) -> None:
        """Refuse guidance that this model cannot follow.

        Args:
            scale: Its strength.
            guide: Its manner; None for the plainest.

        Raises:
            UsageError: the model has no conditions, never saw an item without them, or the scale
                is out of bounds.
        """
        guide = guide or Guide()
        elsewhere = self.leads.weak or self.leads.judge
        if not 0 <= scale <= 100:
            raise UsageError(f"guidance is a number from 0 to 100, 1 is off; got {scale:g}.")
        if guide.kind == "cfg++" and scale > 1:
            raise UsageError(
                f"a scale of cfg++ is a number from 0 to 1, such as 0.6; got {scale:g}. Scales "
                "above 1 are for cfg and apg."
            )
        on = not guide.off(scale)
        if on and not (self.conditions or elsewhere):
            raise UsageError(
                "this model has no classes to be guided to, nor other conditions; leave "
                f"{'guidance at 1' if guide.kind != 'cfg++' else 'cfg++ out'}."
            )
        hidden = self.provenance.get("condition_dropout", self.provenance.get("class_dropout"))
        if on and hidden == 0 and not elsewhere:
            raise UsageError(
                "this model never saw an item without its class or other conditions, so it cannot "
                "be guided. Train it with --set condition_dropout=0.1."
            )

    def walk(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        class_name: str | None = None,
        cond: Said | None = None,
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
            class_name: Class of all items; default each in turn, see :meth:`cond`.
            cond: What else is said of all items, see :meth:`cond`; default nothing.
            sampler: The way to go, see :meth:`how`.

        Raises:
            UsageError: an unknown name, no items, or guidance that the model cannot follow.
        """
        asked = joined(cond, class_name)
        return walk(self, n, seed=seed, first=first, said=asked, sampler=sampler or self.how())

    def trace(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        class_name: str | None = None,
        cond: Said | None = None,
        sampler: Sampler | None = None,
    ) -> Iterator[Step]:
        """Walk from noise to data and yield every step; see :meth:`walk`."""
        return self.walk(
            n, seed=seed, first=first, class_name=class_name, cond=cond, sampler=sampler
        ).steps

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        class_name: str | None = None,
        cond: Said | None = None,
        solver: str | None = None,
        grid: str | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        guide: Guide | None = None,
        batch: int = 64,
        progress: Progress | None = None,
    ) -> Samples:
        """Make items first..first+n-1 of a seed, in pieces of ``batch``.

        The way is chosen as by :meth:`how`; the rest is as in :meth:`walk`.
        """
        sampler = self.how(
            solver=solver,
            grid=grid,
            schedule=schedule,
            steps=steps,
            guidance=guidance,
            guide=guide,
        )
        return sample(
            self,
            n,
            seed=seed,
            first=first,
            said=joined(cond, class_name),
            sampler=sampler,
            batch=batch,
            progress=progress,
        )
