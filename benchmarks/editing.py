"""Holes filled and small pictures enlarged, held out: every method beside what needs no model.

PSNR is of what had to be made alone. Features are the judge's (ornstein.evaluate): their distance
to the original's in units of that between two different originals, so that 0 is the same picture
and 1 a stranger. A sharp answer that is right about the law has less PSNR than a blurred one,
which the features see; so each says what the other cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import ornstein
from ornstein.bundle import Bundle
from ornstein.data import open_data
from ornstein.data.lowered import smaller
from ornstein.edit import Mask, Measurement, Shrink
from ornstein.editing import METHODS, Ask, Workbench, bicubic, misfit, posed, upscale
from ornstein.errors import UsageError
from ornstein.evaluate.extractors import extractor
from ornstein.evaluate.features import Reading
from ornstein.viz import pictures

FACTOR = 4
SHOWN = 8  # pictures on the sheet
TASKS = ("middle", "lower", "scattered", f"x{FACTOR}")


@dataclass(frozen=True, eq=False)
class Trial:
    """What is made again, and what judges it.

    Attributes:
        task: One of TASKS.
        items: Held-out pictures, raw, (n, C, H, W).
        labels: Their classes; None without.
        read: The judge.
    """

    task: str
    items: np.ndarray
    labels: np.ndarray | None
    read: Callable[[np.ndarray], Reading]

    @property
    def small(self) -> np.ndarray | None:
        """What is told of the pictures, if it is a smaller version of them."""
        return smaller(self.items, FACTOR) if self.task == TASKS[-1] else None

    @property
    def hole(self) -> np.ndarray:
        """What is to be made, (1, H, W): the middle, the lower half, three of four pixels, all."""
        high, wide = self.items.shape[2:]
        found = np.zeros((1, high, wide), dtype=bool)
        if self.task == "middle":
            found[:, high // 4 : high - high // 4, wide // 4 : wide - wide // 4] = True
        elif self.task == "lower":
            found[:, high // 2 :] = True
        elif self.task == "scattered":
            found = np.random.default_rng(0).random(found.shape) < 0.75
        return found if self.small is None else ~found

    @cached_property
    def original(self) -> Tensor:
        """Features of the originals."""
        return self.read(self.items).features

    @property
    def head(self) -> str:
        """The first two lines of the table."""
        names = ["way", "PSNR, dB", "of the mean", "features"]
        names += ["seen as its class"] if self.labels is not None else []
        names += ["misfit of 255"] if self.small is not None else []
        return f"| {' | '.join([*names, 's'])} |\n{'|---' * (len(names) + 1)}|"

    def row(self, name: str, made: np.ndarray, seconds: float) -> str:
        """Measure versions, (V, n, C, H, W), and write a row of the table."""
        first = np.clip(np.rint(made[0]), 0, 255).astype(self.items.dtype)
        reading = self.read(first)
        # Two different originals lie apart as the features of this picture and of that.
        apart = float(torch.pdist(self.original).mean())
        far = float((reading.features - self.original).norm(dim=1).mean()) / apart
        several = f"{self.psnr(made.mean(0)):.2f}" if len(made) > 1 else ""
        cells = [name, f"{self.psnr(made[0]):.2f}", several, f"{far:.2f}"]
        if reading.classes is not None and self.labels is not None:
            cells.append(f"{float((reading.classes.numpy() == self.labels).mean()):.0%}")
        if self.small is not None:
            cells.append(f"{misfit(first, self.small):.1f}")
        return f"| {' | '.join(cells)} | {seconds:.0f} |"

    def psnr(self, made: np.ndarray) -> float:
        """Mean over the pictures of the PSNR within what was to be made, in dB."""
        off = np.where(self.hole, made - self.items.astype(np.float64), 0)
        error = (off**2).sum((1, 2, 3)) / (self.hole.sum() * len(off[0]))
        return float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-12))))

    def shown(self) -> np.ndarray:
        """What a method is told, as pictures: grey where nothing is."""
        if self.small is None:
            return np.where(self.hole, 128.0, self.items)
        return self.small.repeat(FACTOR, 2).repeat(FACTOR, 3)

    def smooth(self) -> tuple[str, np.ndarray]:
        """What needs no model."""
        if self.small is not None:
            return "bicubic", bicubic(self.small, FACTOR).clip(0, 255)
        return "smooth fill", harmonic(self.items, self.hole)


def harmonic(items: np.ndarray, hole: np.ndarray, rounds: int = 3000) -> np.ndarray:
    """Fill holes smoothly: each pixel the mean of its neighbours (Laplace's equation)."""
    cross = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=torch.float64) / 4
    given = torch.as_tensor(items, dtype=torch.float64).flatten(0, 1)[:, None]
    open_ = torch.as_tensor(hole).expand(given.shape)
    filled = torch.where(open_, given[~open_].mean(), given)
    for _ in range(rounds):
        around = functional.pad(filled, (1, 1, 1, 1), "replicate")
        filled = torch.where(open_, functional.conv2d(around, cross[None, None]), given)
    return filled.reshape(items.shape).numpy()


def made_by(bundle: Bundle, trial: Trial, ask: Ask) -> np.ndarray:
    """Draw one version of each picture by the method that is asked for."""
    bench = Workbench(bundle, replace(ask, n=len(trial.items)))
    rows = np.arange(bench.rows) % len(trial.items)
    if trial.small is not None:
        x = bench.drawn(posed(bench, trial.small[rows], Shrink(FACTOR)), None)
    else:
        seen = torch.as_tensor(~trial.hole).to(bench.device)
        kept = bundle.coding.encode(trial.items[rows]).to(bench.device) * seen
        x = bench.drawn(Measurement(Mask(seen), kept), (kept, seen))
    made = bundle.coding.decode(x[: len(trial.items)])
    return np.where(trial.hole, made, trial.items).astype(np.float64)


def answers(
    trial: Trial, bundle: Bundle, sharper: Bundle | None, ask: Ask, methods: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, float]]:
    """Every way's name, its ``ask.n`` versions, and the seconds of one."""
    name, smooth = trial.smooth()
    yield name, smooth[None], 0.0
    seeds = range(ask.n)
    for method in methods:
        if trial.small is None or method not in ("replace", "repaint"):
            began, how = time.monotonic(), replace(ask, method=method)
            drawn = [made_by(bundle, trial, replace(how, seed=seed)) for seed in seeds]
            yield method, np.stack(drawn), (time.monotonic() - began) / ask.n
    if trial.small is None or sharper is None:
        return
    # One step from pure noise is the mean of all that the small picture could be of.
    for name, steps, tries in (("trained for it", None, seeds), ("the same, 1 step", 1, (0,))):
        began, way = time.monotonic(), sharper.how(steps=steps)
        many = [upscale(sharper, trial.small, seed=seed, sampler=way).items for seed in tries]
        yield name, np.stack(many).astype(np.float64), (time.monotonic() - began) / len(many)


def compare(
    run: Path, sharper: Path | None, tasks: Sequence[str], methods: Sequence[str],
    n: int, versions: int, steps: int | None, out: Path,
) -> Iterator[str]:  # fmt: skip
    """Fill holes in held-out pictures and enlarge small ones; yield a table for each task.

    Raises:
        UsageError: an unknown task or method.
    """
    for what, names, table in (("task", tasks, TASKS), ("method", methods, METHODS)):
        if unknown := [name for name in names if name not in table]:
            raise UsageError(f"unknown {what} '{unknown[0]}'; there are: {', '.join(table)}.")
    bundle = ornstein.load(run)
    above = None if sharper is None else ornstein.load(sharper)
    data = open_data(str(bundle.provenance["data"]))
    read = extractor(data).read
    index = data.heldout[np.linspace(0, len(data.heldout) - 1, n).astype(int)]
    labels = None if data.labels is None else data.labels[index]
    ask = Ask(versions, sampler=bundle.how(steps=steps))
    for task in tasks:
        trial = Trial(task, data.raw(index), labels, read)
        yield f"\n{task}: {n} held-out pictures, {versions} versions of each\n\n{trial.head}"
        rows = [trial.shown()[:SHOWN]]
        for name, made, seconds in answers(trial, bundle, above, ask, methods):
            rows.append(made[0, :SHOWN])
            yield trial.row(name, made, seconds)
        rows.append(trial.items[:SHOWN])
        sheet = np.clip(np.rint(np.concatenate(rows)), 0, 255).astype(np.uint8)
        out.mkdir(parents=True, exist_ok=True)
        pictures.grid(sheet, columns=SHOWN).save(out / f"{task}.png")
        yield f"\n{out / task}.png, from above: what is told, each row of the table, the originals"
