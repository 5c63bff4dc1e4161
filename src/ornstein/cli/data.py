"""``ornstein data``: look at a data set before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons
from ornstein.cli.options import Amount, Place, bad_option, chosen, common_options

if TYPE_CHECKING:
    from PIL.Image import Image

    from ornstein.data import Dataset

SHEET_ITEMS = 64
CLOUD_ITEMS = 10_000
SHOWN = 8  # files left out that are named on the screen; the JSON report has all


@click.command("data")
@click.argument("source", metavar="DATA")
@click.option(
    "--size",
    type=Amount(4, 4096),
    help="Side of the pictures in pixels; of a folder at most 64 if not said.",
)
@click.option("--limit", type=Amount(1, 10**9), help="Use at most so many items.")
@bad_option
@click.option("--set", "sets", multiple=True, help="A setting of the data: data.label=COLUMN.")
@click.option("--schedule", help="Say what this process leaves of the data in its noisiest level.")
@click.option(
    "--out",
    type=Place(),
    default=Path(),
    help="Folder for the contact sheet and the report; default here.",
)
@common_options
def command(
    source: str,
    size: int | None,
    limit: int | None,
    allow_bad: bool | None,
    sets: tuple[str, ...],
    schedule: str | None,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look at DATA before training on it.

    DATA is a built-in name (digits, emoji, ecg, penguins, two-moons, ...), a folder of pictures or
    sounds whose sub-folders become classes, an array (.npy, .npz), or a table (.csv). Prints
    what is in it and what was left out, and writes NAME.sheet.png and NAME.report.json.
    """
    from ornstein.config import resolve
    from ornstein.core import PROCESSES
    from ornstein.data import details, left_in_noise, open_data, prior_report, report

    chosen("schedule", schedule, PROCESSES)
    flags = {"data.source": source, "data.size": size, "data.limit": limit}
    flags["data.allow_bad"] = allow_bad
    data = open_data(**resolve(sets=sets, flags=flags).config.data.opening())
    facts, prior = details(data), []
    if schedule is not None:
        left = left_in_noise(data, PROCESSES[schedule]())
        prior = prior_report(schedule, left, data.dims)
        facts["left_in_noise"] = {"schedule": schedule, "nats_per_dimension": left}
    out.mkdir(parents=True, exist_ok=True)
    sheet_path, report_path = out / f"{data.name}.sheet.png", out / f"{data.name}.report.json"
    draw_sheet(data).save(sheet_path)
    report_path.write_text(jsons.dumps(facts, indent=1) + "\n", "utf-8")
    if as_json:
        files = {"sheet": str(sheet_path), "report": str(report_path)}
        click.echo(jsons.dumps({**facts, "files": files}))
    elif not quiet:
        refused = [f"  {r.path}: {r.reason}" for r in data.refused[:SHOWN]]
        more = len(data.refused) - len(refused)
        for line in [*report(data), *prior, *refused, *([f"  and {more:,} more"] if more else [])]:
            click.echo(line)
        click.echo(f"contact sheet: {sheet_path}")
        click.echo(f"details: {report_path}")


def draw_sheet(data: Dataset) -> Image:
    """A contact sheet: items spread over the whole set, by class where there are classes."""
    import numpy as np

    from ornstein.viz import sheet

    most = CLOUD_ITEMS if data.kind in ("vector", "table") else SHEET_ITEMS
    order = np.arange(len(data)) if data.labels is None else np.argsort(data.labels, kind="stable")
    places = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)
    picked = order[np.unique(places)]
    labels = data.coding.captions
    if data.labels is not None and data.kind in ("image", "series"):
        labels = tuple(data.classes[k] for k in data.labels[picked])
    raw = data.raw(picked)
    shown = data.coding.show(raw) if data.kind == "image" else raw
    return sheet(shown, data.kind, labels=labels)
