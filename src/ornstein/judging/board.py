"""The leaderboard: measured runs in order, one table for each protocol, never two in one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ornstein import jsons
from ornstein.errors import OrnsteinError, UsageError, look_up, near
from ornstein.evaluate import METRICS, Number, Quality, Row, Stamp
from ornstein.evaluate.stamp import told
from ornstein.judging.records import Kept, measurements
from ornstein.run import Run

SHOWN = ("frechet_train", "kernel_train", "precision", "recall", "coverage")


@dataclass(frozen=True)
class Standing:
    """One model in a table: its best measurement by this protocol.

    Attributes:
        run: Name of the run, and after a stroke of its file where that is not the run's own.
        step: Of its training.
        quality: The numbers.
    """

    run: str
    step: int
    quality: Quality


@dataclass(frozen=True)
class Table:
    """Runs measured by one protocol, best first."""

    stamp: Stamp
    data: str
    rows: tuple[Standing, ...]


@dataclass(frozen=True)
class Board:
    """All tables, the largest first, and who is in none.

    Attributes:
        metric: What orders them.
        free: What may differ within a table.
        tables: One for each protocol.
        left_out: Run to the reason why it is in no table.
    """

    metric: str
    free: tuple[str, ...]
    tables: tuple[Table, ...]
    left_out: Mapping[str, str]


def board(runs: Path, metric: str = SHOWN[0], free: Iterable[str] = ()) -> Board:
    """Put the measured runs of a directory in order.

    Args:
        runs: Directory that holds the runs.
        metric: Key of METRICS that orders them.
        free: Parts of the protocol that may differ, such as "steps" or "guidance".

    Raises:
        UsageError: an unknown metric, or a name in ``free`` that is no part of a protocol.
    """
    look_up("metric", metric, METRICS)
    folders = [path.parent for path in sorted(runs.glob("*/config.toml")) if _makes(path.parent)]
    places = {name: place for folder in folders for name, place in _places(folder).items()}
    found = {name: measurements(place) for name, place in places.items()}
    free = tuple(free)
    _check(free, list(found.values()))
    tables: list[tuple[Stamp, list[tuple[str, Kept]]]] = []
    for name, kept in found.items():
        for each in (each for each in kept if metric in each.quality.rows):
            for stamp, rows in tables:
                if not stamp.differences(each.quality.stamp, free):
                    rows.append((name, each))
                    break
            else:
                tables.append((each.quality.stamp, [(name, each)]))
    made = [_table(stamp, rows, metric) for stamp, rows in tables]
    made.sort(key=lambda table: (-len(table.rows), -table.stamp.n))
    missing = "was never measured: ornstein evaluate {}"
    torn = f"has no number '{metric}' that this version can read: ornstein evaluate {{}}"
    return Board(
        metric,
        free,
        tuple(made),
        {
            folder.name: (torn if any((folder / "eval").glob("step-*.json")) else missing).format(
                folder.name
            )
            for folder in folders
            if not any(metric in each.quality.rows for each in found[folder.name])
        },
    )


def _places(run: Path) -> dict[str, Path]:
    """Where a run and other files of it are measured, by what they are called."""
    others = sorted({path.parent for path in (run / "eval").glob("*/step-*.json")})
    return {run.name: run / "eval", **{f"{run.name}/{path.name}": path for path in others}}


def _makes(folder: Path) -> bool:
    """Whether a run is of a model that makes items by itself, as far as can be told."""
    try:
        config = Run(folder).config
    except OrnsteinError:
        return True
    return config.model.kind == "denoiser" and config.data.upscale is None


def _check(free: Sequence[str], found: Sequence[list[Kept]]) -> None:
    """Refuse a name that no protocol has, and those without which no number means anything."""
    known = {name for kept in found for each in kept for name in each.quality.stamp.way}
    for name in free:
        if name not in known and any(found):
            raise UsageError(
                f"'{name}' cannot be left free.{near(name, known)} These can: "
                f"{', '.join(sorted(known))}."
            )


def _table(stamp: Stamp, rows: list[tuple[str, Kept]], metric: str) -> Table:
    """Keep the best measurement of each run."""
    sign = -1 if METRICS[metric].better == "more" else 1

    def place(standing: Standing) -> float:
        row = standing.quality.rows[metric]
        near = METRICS[metric].better == "near"
        found = abs(row.value - row.floor) if near else sign * row.value
        return math.inf if math.isnan(found) else found

    standings = sorted((Standing(name, k.step, k.quality) for name, k in rows), key=place)
    best: dict[str, Standing] = {}
    for standing in standings:
        best.setdefault(standing.run, standing)
    data = next(iter(best.values())).quality.beside.get("data", stamp.reference[:12])
    return Table(stamp, str(data), tuple(best.values()))


def protocol_of(table: Table, free: Iterable[str]) -> str:
    """The protocol of a table on one line."""
    stamp, way = table.stamp, table.stamp.told_way(tuple(free))
    head = f"{table.data} ({stamp.reference[:12]}), {stamp.n:,} samples, "
    head += f"{stamp.extractor} {stamp.digest}"
    return f"{head}, resize {stamp.resize}; {way or 'any way of sampling'}; {stamp.rules}"


def cells(table: Table, free: Sequence[str], metrics: Sequence[str]) -> list[list[str]]:
    """The table as text: a head, the runs, and the floor of real data."""
    metrics = [name for name in metrics if name in table.rows[0].quality.rows]
    lines = [["", "run", "step", *free, *(METRICS[m].title for m in metrics)]]
    for place, one in enumerate(table.rows, 1):
        flat, rows = one.quality.stamp.flat(), one.quality.rows
        numbers = [str(Number(rows[m].value, rows[m].error)) if m in rows else "" for m in metrics]
        own = [told(key, flat.get(key, "")) for key in free]
        lines.append([str(place), one.run, f"{one.step:,}", *own, *numbers])
    first = [table.rows[0].quality.rows[m] for m in metrics]
    floors = [f"{row.floor:.4g}" + few(row) for row in first]
    lines.append(["", "real data", "", *[""] * len(free), *floors])
    return lines


def few(row: Row) -> str:
    """How many real items made the floor, if fewer than samples."""
    return f" (n {row.floor_n:,})" if row.floor_n < row.n else ""


def to_json(found: Board) -> str:
    """Everything on the board as JSON."""
    tables = [
        {
            "protocol": table.stamp.flat(),
            "data": table.data,
            "runs": [
                {"run": s.run, "step": s.step, **json.loads(s.quality.to_json())}
                for s in table.rows
            ],
        }
        for table in found.tables
    ]
    fields: dict[str, Any] = {"metric": found.metric, "free": list(found.free)}
    return jsons.dumps({**fields, "tables": tables, "left_out": dict(found.left_out)})
