"""What ``ornstein runs RUN`` says: how far a training came, and whether it learns."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from ornstein.displays import amount
from ornstein.run import Run
from ornstein.run.averages import stored
from ornstein.training.ema import PROFILES
from ornstein.training.panel import memorises, readings

LAST = 100  # logged steps that a middle value is taken of
EVENTS = 3


def facts_of(run: Run) -> dict[str, Any]:
    """Numbers of a run, from its log; None for what it does not say."""
    log = run.log
    steps = [line for line in log if "loss" in line][-LAST:]
    held = [line["heldout"] for line in log if line.get("heldout") is not None]
    reading = ([None, *readings(log)])[-1]
    snapshots = list(stored(run.folder))
    events = run.folder / "events.log"
    levels = None
    if reading is not None:
        levels = {
            "log_snr": list(reading.log_snr),
            "of": reading.part,
            "model": reading.ratio(reading.part),
            "memory": reading.ratio(reading.part, "memory"),
        }
    return {
        "loss": _middle(steps, "loss"),
        "heldout": held[-1] if held else None,
        "grad_norm": _middle(steps, "grad_norm"),
        "items_per_s": _middle(steps, "items_per_s"),
        "memory_mb": max((line.get("memory_mb") or 0 for line in steps), default=0) or None,
        "left_out": steps[-1].get("left_out") if steps else None,
        "levels": levels,
        "remembered": None if reading is None else reading.memory,
        "doubt": None if reading is None else reading.doubt,
        "memorises": reading is not None and memorises(reading),
        "averages": {"widths": list(PROFILES), "steps": snapshots} if snapshots else None,
        "events": events.read_text("utf-8").splitlines()[-EVENTS:] if events.is_file() else [],
    }


def lines_of(name: str, facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    found = [
        ("loss", facts["loss"], "{:.4f}, middle of the last logged steps"),
        ("held out", facts["heldout"], "{:.4f}, by averaged weights"),
        ("gradient", facts["grad_norm"], "norm {:.3g} before clipping"),
        ("left out", facts["left_out"] or None, "{:,} steps that were not finite"),
        ("speed", facts["items_per_s"] and amount(facts["items_per_s"]), "{} items a second"),
        ("memory", facts["memory_mb"], "{:,} MB at most"),
    ]
    lines = [
        f"{word:<10} {text.format(value)}" for word, value, text in found if value is not None
    ]
    if (levels := facts["levels"]) is not None:
        part = {"heldout": "held-out", "train": "training"}[levels["of"]]
        rows = {
            "log-SNR": [f"{v:.1f}" for v in levels["log_snr"]],
            "model": [_short(v) for v in levels["model"]],
            "memory": [_short(v) for v in levels["memory"]],
        }
        lines.append(f"levels     error on {part} items over that of the best linear denoiser")
        lines += [f"  {word:<8}" + "".join(f"{c:>7}" for c in row) for word, row in rows.items()]
    if facts["remembered"] is not None:
        advice = "; it memorises: more items, a smaller net.size, or flip=true for pictures"
        lines.append(
            f"remembers  {facts['remembered']:.0%} (+- {facts['doubt']:.0%}) of the way to "
            "perfect memory" + (advice if facts["memorises"] else "")
        )
    if facts["averages"]:
        widths = " and ".join(f"{width:g}" for width in facts["averages"]["widths"])
        lines.append(
            f"averages   {len(facts['averages']['steps'])} snapshots of widths {widths}: "
            f"ornstein ema {name} --width 0.07"
        )
    return [*lines, *(f"event      {event}" for event in facts["events"])]


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else "> 10"


def _middle(steps: Sequence[dict[str, Any]], name: str) -> float | None:
    """Median of a logged number over some steps."""
    values = [line[name] for line in steps if line.get(name) is not None]
    return median(values) if values else None
