"""``ornstein data``: look at a data set before training on it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein.cli.options import Amount, debug_option, json_option, quiet_option

if TYPE_CHECKING:
    import numpy as np

    from ornstein.data import Dataset

SHEET_ITEMS = 64
CLOUD_ITEMS = 10_000
SHOWN = 8  # refused files, classes and notes named on the screen; the JSON report has all


@click.command("data")
@click.argument("source", metavar="DATA")
@click.option("--size", type=Amount(1, 4096), help="Side of the pictures in pixels.")
@click.option("--limit", type=Amount(1, 10**9), help="Use at most so many items.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for the contact sheet and the report; default here.",
)
@json_option
@quiet_option
@debug_option
def command(
    source: str, size: int | None, limit: int | None, out: Path, as_json: bool, quiet: bool
) -> None:
    """Look at DATA before training on it.

    DATA is a built-in name (digits, emoji, ecg, two-moons, ...), a folder of pictures whose
    sub-folders become classes, or an .npy or .npz file. Prints what is in it and what was left
    out, and writes NAME.sheet.png and NAME.report.json.
    """
    from ornstein.data import open_data

    data = open_data(source, size=size, limit=limit)
    facts = facts_of(data)
    out.mkdir(parents=True, exist_ok=True)
    sheet_path, report_path = out / f"{data.name}.sheet.png", out / f"{data.name}.report.json"
    draw_sheet(data).save(sheet_path)
    report_path.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    if as_json:
        files = {"sheet": str(sheet_path), "report": str(report_path)}
        click.echo(json.dumps({**facts, "files": files}))
    elif not quiet:
        for line in told(facts):
            click.echo(line)
        click.echo(f"pictures   {sheet_path}")
        click.echo(f"details    {report_path}")


def facts_of(data: Dataset) -> dict[str, Any]:
    """Everything worth knowing about a data set, as JSON values."""
    counts: dict[str, int] = {}
    if data.labels is not None:
        found = Counter(data.labels.tolist())
        counts = {name: found[k] for k, name in enumerate(data.classes)}
    return {
        "name": data.name,
        "kind": data.kind,
        "items": len(data),
        "shape": list(data.shape),
        "dtype": str(data.items.dtype),
        "train": len(data.train),
        "heldout": len(data.heldout),
        "classes": counts,
        "coding": data.coding.to_json(),
        "source": data.source.text,
        "licence": data.source.licence,
        "citation": data.source.citation,
        "refused": [{"path": r.path, "reason": r.reason} for r in data.refused],
        "notes": list(data.notes),
        "fingerprint": data.fingerprint,
    }


def told(facts: dict[str, Any]) -> list[str]:
    """The facts as lines for a person."""
    shape = "x".join(str(n) for n in facts["shape"])
    noun = {"image": "pictures", "series": "series", "vector": "vectors"}[facts["kind"]]
    head = f"{facts['name']:<10} {facts['items']:,} {noun} of {shape}, {facts['dtype']}: "
    lines = [f"{head}{facts['train']:,} to train on, {facts['heldout']:,} held out"]
    if facts["classes"]:
        named = [f"{name}: {count:,}" for name, count in facts["classes"].items()]
        lines.append(f"classes    {len(named)}: {_some(named)}")
    coding = facts["coding"]
    mean = ", ".join(f"{m:.4g}" for m in coding["mean"][:SHOWN])
    std = ", ".join(f"{s:.4g}" for s in coding["std"][:SHOWN])
    lines.append(f"values     mean {mean}; standard deviation {std} (per channel)")
    lines.append(f"source     {facts['source']}; licence: {facts['licence']}")
    lines += [f"note       {note}" for note in facts["notes"][:SHOWN]]
    if facts["refused"]:
        reasons = Counter(r["reason"] for r in facts["refused"]).most_common()
        lines.append(
            f"left out   {len(facts['refused']):,}: "
            + _some([f"{count:,} {reason}" for reason, count in reasons])
        )
        lines += [f"           {r['path']}: {r['reason']}" for r in facts["refused"][:SHOWN]]
    return lines


def _some(parts: list[str]) -> str:
    more = len(parts) - SHOWN
    return ", ".join(parts[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def draw_sheet(data: Dataset) -> Any:  # noqa: ANN401 - a PIL image; PIL is imported late
    """A contact sheet: items spread over the whole set, by class where there are classes."""
    import numpy as np

    from ornstein.viz import sheet

    most = CLOUD_ITEMS if data.kind == "vector" else SHEET_ITEMS
    order = np.arange(len(data)) if data.labels is None else np.argsort(data.labels, kind="stable")
    picked = order[
        np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))
    ]
    labels = None
    if data.labels is not None and data.kind != "vector":
        labels = [data.classes[k] for k in data.labels[picked]]
    return sheet(shown(data, data.raw(picked)), data.kind, labels=labels)


def shown(data: Dataset, raw: np.ndarray) -> np.ndarray:
    """Raw items as what a sheet draws: 8-bit pictures, or the values themselves."""
    return data.coding.show(raw) if data.kind == "image" else raw
