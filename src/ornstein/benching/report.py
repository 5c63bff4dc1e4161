"""All that is measured for a user, told one after another, and what to make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from ornstein import build
from ornstein.benching.gauge import Gauge, Watch, gauge
from ornstein.benching.machine import Bench, Foreseen, for_minutes, foreseen, sampling
from ornstein.benching.steps import Cell, table
from ornstein.bundle import Bundle
from ornstein.config import Config
from ornstein.data import Dataset
from ornstein.errors import OutOfMemoryError
from ornstein.nets.sizes import SIZES

BUDGETS = (10.0, 60.0)  # minutes that are planned for
SHARES = {"steps": 0.5, "threads": 0.1, "precision": 0.1, "sampling": 0.1}  # of the time
GAIN = 1.15  # times faster, below which nothing is advised
SAMPLED = 64  # items at a time, at most
COMPARED = 12  # steps of a comparison
PASSES = 3  # a step of training is worth so many evaluations


class Told(NamedTuple):
    """One thing that was measured: its kind, its numbers, and what a person reads."""

    kind: str
    facts: dict[str, Any]
    line: str


@dataclass
class Asked:
    """What is measured.

    Attributes:
        config: Settings of a training, open where the plan is to choose.
        data: What is trained on.
        run: The trained model whose sampling is timed; None times an untrained one.
        fixed: Whether the network is given, as that of a run is.
        seconds: Time for all, about.
        compiles: Whether torch.compile is tried.
        device: Which is measured; default the fastest.
    """

    config: Config
    data: Dataset
    run: Bundle | None = None
    fixed: bool = False
    seconds: float = 60.0
    compiles: bool = False
    device: torch.device = field(default_factory=build.fastest_device)

    def time(self, kind: str) -> float:
        """Seconds for one kind of measurement."""
        return SHARES[kind] * self.seconds


def report(asked: Asked) -> Iterator[Told]:
    """Measure everything in turn; the last thing told is the advice.

    Raises:
        OutOfMemoryError: the network does not fit into memory with any of the batches.
    """
    seen: dict[str, dict[str, Any]] = {}
    for told in _measured(asked):
        if not seen.get(told.kind, {}).get("noisy"):
            seen[told.kind] = told.facts
        yield told
    yield Told("advice", {"text": advice(seen)}, f"advice     {advice(seen)}")


def _measured(asked: Asked) -> Iterator[Told]:
    config, data, device = asked.config, asked.data, asked.device
    watch, first = Watch(), gauge()
    yield _machine(first, device)
    for minutes in () if asked.fixed else BUDGETS[::-1]:
        made = for_minutes(asked.config, data, device, minutes)
        config = made.config
        yield _planned(foreseen(made, minutes), data)
    bench = Bench(config, data, device)
    batch = config.train.batch or SAMPLED
    sizes = [""] if asked.fixed or not config.net.size else list(SIZES[config.net.name or ""])
    batches = [max(1, batch // 4), batch, 4 * batch]
    yield Told("head", {}, HEAD)
    cells = []
    for cell in table(sizes, batches, asked.time("steps"), bench.trial):
        cells.append(cell)
        yield _step(cell, config)
    own = [c for c in cells if c.fits and c.size in ("", config.net.size)]
    if not own:
        raise OutOfMemoryError(_no_room(config, asked, batches[0]))
    light = lightest(own, asked.time("precision"))
    bench = replace(bench, config=config.changed("train", batch=light.batch))
    if device.type == "cpu" and first.threads > 1:
        times = bench.threads(asked.time("threads"))
        line = (
            f"threads    {first.threads} are {times:.2f} times as fast as 1, batch {light.batch}"
        )
        yield Told("threads", {"threads": first.threads, "times": times}, line)
    times = bench.half(asked.time("precision"))
    taken = config.train.precision or "float32"
    facts = {"times": times, "batch": light.batch, "taken": taken}
    line = f"precision  {_faster('bfloat16', times)}, batch {light.batch}; training takes {taken}"
    yield Told("precision", facts, line)
    yield _compiled(bench, asked)
    yield from _sampled(asked, bench, light.seconds / light.batch)
    yield _machine(gauge()._replace(others=watch.others()), device)


def lightest(cells: Sequence[Cell], seconds: float) -> Cell:
    """The largest batch of which enough steps for a comparison fit into so many seconds.

    The smallest, where none does.
    """
    fitting = [cell for cell in cells if cell.tried and COMPARED * cell.seconds <= seconds]
    return max(fitting or cells[:1], key=lambda cell: cell.batch)


def _no_room(config: Config, asked: Asked, batch: int) -> str:
    """Why nothing else can be measured, and what to do."""
    net = f"{config.net.name} {config.net.size}" if config.net.size else config.net.name
    pictures = asked.data.kind == "image" and not asked.fixed
    return (
        f"out of memory: a step of {net} does not fit on {asked.device.type} even with {batch} "
        f"{'items' if batch > 1 else 'item'}, so nothing else is measured. End other programs"
        f"{', or measure smaller pictures (--size)' if pictures else ''}; a training takes fewer "
        "at a time with accumulate=2 or more."
    )


def _machine(found: Gauge, device: torch.device) -> Told:
    facts = {**found._asdict(), "noisy": found.noisy, "device": device.type}
    name = torch.cuda.get_device_name() + "; " if device.type == "cuda" else ""
    return Told("machine", facts, f"machine    {name}{found}")


def _planned(made: Foreseen, data: Dataset) -> Told:
    epochs = made.steps * made.batch / len(data.train)
    line = (
        f"plan       {made.minutes:g} minutes: {made.net}, {made.weights / 1e6:.2f} M weights, "
        f"batch {made.batch}, about {made.steps:,} steps, {epochs:.3g} epochs"
    )
    return Told("plan", made._asdict(), line)


HEAD = f"{'':<10} {'size':<8} {'batch':>6} {'ms/step':>9} {'items/s':>9} {'MB':>7}"


def _step(cell: Cell, config: Config) -> Told:
    size = cell.size or config.net.size or config.net.name
    facts = {**cell._asdict(), "size": size, "items_per_second": cell.rate}
    row = f"{'step':<10} {size:<8} {cell.batch:>6} "
    if not cell.fits:
        return Told("step", facts, row + "does not fit into memory")
    known = f"{cell.mb:>7,}" if cell.mb else f"{'?':>7}"
    mb = known if cell.tried else "  not tried, expected from the others"
    return Told("step", facts, row + f"{1e3 * cell.seconds:>9,.1f} {cell.rate:>9,.4g} {mb}")


def _faster(what: str, times: float) -> str:
    return (
        f"{what} is {times:.2f} times as fast"
        if times >= 1
        else f"{what} takes {1 / times:.2f} times as long"
    )


def _compiled(bench: Bench, asked: Asked) -> Told:
    if not asked.compiles:
        line = "compile    not tried; the first step can take minutes. --compile tries it"
        return Told("compile", {"tried": False}, line)
    first, times = bench.compiled(asked.time("precision"))
    facts = {"tried": True, "first": first, "times": times, "taken": bench.config.train.compile}
    line = f"compile    the first step takes {first:.0f} s; then {_faster('a step', times)}"
    return Told("compile", facts, line)


def _sampled(asked: Asked, bench: Bench, each: float) -> Iterator[Told]:
    """Sampling, of as many items at a time as there is time for; a step takes ``each`` of one."""
    model = asked.run or build.bundle(bench.config, bench.trainer().model, asked.data, {})
    if not isinstance(model, Bundle):  # a classifier makes nothing
        return
    made = sampling(model.to(asked.device), SAMPLED, asked.time("sampling"), each / PASSES)
    line = (
        f"sampling   {made.seconds:.3g} s an item, {made.evaluations} evaluations of "
        f"{made.solver}, {made.batch} at a time"
    )
    yield Told("sampling", made._asdict(), line)


def _compiling(facts: dict[str, Any]) -> float:
    """How many times faster it is; 1 where it was not tried or is done anyway."""
    return 1.0 if facts.get("taken", True) else float(facts["times"])


def advice(seen: dict[str, dict[str, Any]]) -> str:
    """The one thing that gains most here."""
    half, taken = seen["precision"]["times"], seen["precision"]["taken"]
    alone = 1 / seen.get("threads", {"times": 1.0})["times"]
    if seen["machine"]["noisy"]:
        cores = seen["machine"]["others"]
        return f"other work keeps {cores:.1f} cores busy; end it, or all of this takes longer."
    gains = {
        "train with OMP_NUM_THREADS=1": alone,
        "train with --set train.compile=true": _compiling(seen.get("compile", {})),
        "train with --set precision=bfloat16": half if taken == "float32" else 1.0,
    }
    most = max(gains, key=gains.__getitem__)
    if gains[most] > GAIN:
        return f"{most}, which is {gains[most]:.1f} times as fast here."
    return "the defaults are the fastest that was found here: ornstein train DATA."
