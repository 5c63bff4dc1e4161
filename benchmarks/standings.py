"""What is told of a race of libraries: a table, a sentence on the machine, the docs' copy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.serving import Ask
from benchmarks.racing import Race, Runner
from ornstein.benching import summed_up

DOCS = Path(__file__).parent.parent / "docs" / "speed.md"
Column = Callable[[Runner, Race], str]


def per_picture(runner: Runner) -> list[float]:
    """Seconds of each round for one picture."""
    return [seconds / runner.facts["batch"] for seconds in runner.times]


def ratios(runner: Runner, race: Race) -> list[float]:
    """How many times faster than the first one, round by round."""
    base = next(iter(race.runners.values()))
    pairs = zip(per_picture(base), per_picture(runner), strict=True)
    return [theirs / own for theirs, own in pairs]


def spread(values: list[float], form: str) -> str:
    """The median, and the least and the greatest."""
    said = [format(v, form) for v in (median(values), min(values), max(values))]
    return f"{said[0]} ({said[1]}–{said[2]})"


def operations(runner: Runner, race: Race) -> float | None:
    """GFLOP of one picture; of a compiled network, those of the same one uncompiled."""
    same = [runner, *(r for r in race.runners.values() if _alike(r, runner))]
    counted = [r.facts["flops"] / r.facts["batch"] / 1e9 for r in same if r.facts["flops"]]
    return counted[0] if counted else None


def _alike(one: Runner, other: Runner) -> bool:
    return one.facts["parameters"] == other.facts["parameters"]


def _rate(runner: Runner, race: Race) -> str:
    work = operations(runner, race)
    return f"{work / median(per_picture(runner)):.0f}" if work else ""


def _work(runner: Runner, race: Race, evaluations: int = 1) -> str:
    work = operations(runner, race)
    return f"{work / evaluations:.2f}" if work else ""


STEPS = Ask().steps
FIRST: dict[str, Column] = {
    "": lambda r, _: r.variant.title + (f" ({r.facts['net']})" if _named(r) else ""),
    "weights": lambda r, _: f"{r.facts['parameters'] / 1e6:.2f} M",
}
COLUMNS: dict[str, dict[str, Column]] = {
    "train": {
        **FIRST,
        "GFLOP a picture": _work,
        "batch": lambda r, _: str(r.facts["batch"]),
        "ms a step": lambda r, _: spread([1e3 * t for t in r.times], ".0f"),
        "pictures/s": lambda r, _: f"{1 / median(per_picture(r)):.1f}",
        "GFLOP/s": _rate,
        "times the first": lambda r, race: spread(ratios(r, race), ".2f"),
        "MB a picture": lambda r, _: f"{r.grown / r.facts['batch'] / 1e6:.1f}",
        "first step": lambda r, _: f"{r.facts['first']:.1f} s",
    },
    "sample": {
        **FIRST,
        "GFLOP an evaluation": lambda r, race: _work(r, race, STEPS),
        "ms an evaluation": lambda r, _: spread([1e3 * t / STEPS for t in r.times], ".0f"),
        "GFLOP/s": _rate,
        "times the first": lambda r, race: spread(ratios(r, race), ".2f"),
        "evaluations by default": lambda r, _: str(r.facts["evaluations"]),
        "pictures/s by default": lambda r, _: f"{_pace(r):.3g}",
        "first walk": lambda r, _: f"{r.facts['first']:.1f} s",
    },
}


def _named(runner: Runner) -> bool:
    return not runner.variant.alike and "net" in runner.facts


def _pace(runner: Runner) -> float:
    """Pictures per second with as many evaluations as the library takes where nothing is said."""
    return STEPS / (median(per_picture(runner)) * runner.facts["evaluations"])


CLOCK = {"seconds": ".", "processor": ", in processor time of one thread."}


def table(task: str, race: Race) -> str:
    """Rows of all runners, and what the machine was like."""
    columns = COLUMNS[task]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += [
        "| " + " | ".join(cell(runner, race) for cell in columns.values()) + " |"
        for runner in race.runners.values()
    ]
    count = len(next(iter(race.runners.values())).times)
    clock = CLOCK[race.clock]
    return "\n".join([*lines, "", f"{count} rounds{clock} {summed_up(race.gauges, race.others)}"])


def kept(task: str, race: Race, out: Path) -> str:
    """Write the table and all figures into a folder; return the table."""
    text = table(task, race)
    (out / "table.md").write_text(text + "\n")
    figures: Mapping[str, Any] = {
        "gauges": [gauge._asdict() for gauge in race.gauges],
        "others": race.others,
        "clock": race.clock,
        "variants": {
            name: {
                "facts": r.facts,
                "seconds": r.times,
                "grown": r.grown,
            }
            for name, r in race.runners.items()
        },
    }
    (out / "results.json").write_text(json.dumps(figures, indent=1))
    return text


def into_docs(task: str, text: str, page: Path = DOCS) -> None:
    """Put a table where the page has the last one."""
    opening, closing = f"<!-- python -m benchmarks {task} -->\n", "<!-- end -->"
    before, _, rest = page.read_text().partition(opening)
    after = rest.partition(closing)[2]
    page.write_text(f"{before}{opening}{text}\n{closing}{after}")
