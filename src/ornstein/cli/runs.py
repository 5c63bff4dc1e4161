"""``ornstein runs``: list the runs that are here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ornstein.cli.options import debug_option, json_option, runs_option


@click.command("runs")
@runs_option
@json_option
@debug_option
def command(runs: Path, as_json: bool) -> None:
    """List the runs in a directory: state, steps, last losses, age."""
    # run.json is read here, not through ornstein.run, so that listing needs no torch.
    rows = [record_of(path.parent) for path in sorted(runs.glob("*/config.toml"))]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif not rows:
        click.echo(f"no runs in {runs}/ yet. Make one: ornstein train digits --minutes 2")
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            click.echo(f"{row['name']:<{width}}  {told(row)}")


def record_of(folder: Path) -> dict[str, Any]:
    """Name, state and progress of a run; a torn record reads as no record."""
    try:
        found = json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        found = {}
    record = found if isinstance(found, dict) else {}
    return {
        "name": folder.name,
        "folder": str(folder),
        "state": record.get("state", "new"),
        "step": record.get("step", 0),
        "steps": record.get("steps"),
        "seconds": record.get("seconds"),
    }


def told(row: dict[str, Any]) -> str:
    """A run on one line."""
    from ornstein.cli.progress import duration

    parts = [str(row["state"])]
    if row["steps"]:
        parts.append(f"step {row['step']:,} of {row['steps']:,}")
    if row["seconds"]:
        parts.append(f"in {duration(row['seconds'])}")
    return "  ".join(parts)
