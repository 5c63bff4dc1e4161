"""``ornstein runs``: list the runs that are here, look at one, and compare two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ornstein import jsons
from ornstein.cli.options import run_options
from ornstein.training.journal import read_record


class _NamesToo(click.Group):
    """A group to which the name of a run is the command that shows it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self.commands["show"]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["show", *args])


@click.group("runs", cls=_NamesToo, invoke_without_command=True)
@run_options
@click.pass_context
def command(ctx: click.Context, runs: Path, as_json: bool, quiet: bool) -> None:
    """List the runs in a directory: state, steps, time.

    'runs RUN' shows one: losses, errors by noise level beside their floors, gradient, speed,
    memory. 'runs diff A B' compares two.
    """
    # Options may stand before the name, too.
    both = {"runs": runs, "as_json": as_json, "quiet": quiet}
    ctx.default_map = dict.fromkeys(("show", "diff"), both)
    if ctx.invoked_subcommand is None:
        listed(runs, as_json, quiet)


def listed(runs: Path, as_json: bool, quiet: bool) -> None:
    """Print a line for each run."""
    # run.json is read here, not through ornstein.run, so that listing needs no torch.
    rows = [record_of(path.parent) for path in sorted(runs.glob("*/config.toml"))]
    if as_json:
        for row in rows:
            click.echo(jsons.dumps(row))
    elif not rows:
        if not quiet:
            click.echo(f"no runs in {runs}/ yet. Make one: ornstein train digits --minutes 2")
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            click.echo(f"{row['name']:<{width}}  {told(row)}")


@command.command("show")
@click.argument("name", metavar="RUN")
@run_options
def show(name: str, runs: Path, as_json: bool, quiet: bool) -> None:
    """Show how far a training came, and whether it learns."""
    from ornstein.cli.one_run import facts_of, lines_of
    from ornstein.run import open_run

    run = open_run(name, runs)
    row, facts = record_of(run.folder), facts_of(run)
    if as_json:
        click.echo(jsons.dumps({**row, **facts}))
        return
    click.echo(f"{run.name:<10} {told(row)}")
    for line in lines_of(run.typed, facts):
        click.echo(line)


@command.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@run_options
def diff(first: str, second: str, runs: Path, as_json: bool, quiet: bool) -> None:
    """Compare two runs: the settings that differ, and how far each came.

    Losses of runs with other data, objective or process are of another kind and say nothing about
    each other; then only the settings are compared.
    """
    from ornstein.config import settings_in
    from ornstein.run import open_run

    pair = open_run(first, runs), open_run(second, runs)
    mine, theirs = (settings_in(run.folder / "config.toml") for run in pair)
    changes = {
        name: [mine.get(name), theirs.get(name)]
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    }
    # A setting that only the newer run knows says nothing of the other.
    alike = not any(
        name.split(".")[0] in KINDRED for name in changes if name in mine.keys() & theirs
    )
    marks = [progress_of(run.log) for run in pair]
    common = sorted(set(marks[0]) & set(marks[1]))
    last = [max(mark, default=0) for mark in marks]
    facts = {
        "runs": [run.name for run in pair],
        "settings": changes,
        "steps": [run.record.get("step", 0) for run in pair],
        "git": [run.record.get("git") for run in pair],
        "heldout": [mark.get(step) for mark, step in zip(marks, last, strict=True)],
        "common_step": common[-1] if common and alike else None,
        "heldout_at_common_step": [m[common[-1]] for m in marks] if common and alike else None,
        "comparable": alike,
    }
    if as_json:
        click.echo(jsons.dumps(facts, default=str))
        return
    for line in table(facts):
        click.echo(line)


KINDRED = ("data", "objective", "model")
"""Sections of settings on which the meaning of a loss depends."""


def progress_of(log: list[dict[str, Any]]) -> dict[int, float]:
    """Held-out loss at the steps where it was measured."""
    return {entry["step"]: entry["heldout"] for entry in log if entry.get("heldout") is not None}


def table(facts: dict[str, Any]) -> list[str]:
    """Rows of three columns: what, the first run's, the second's."""
    rows = [("", *facts["runs"])]
    rows += [(name, *map(_shown, values)) for name, values in facts["settings"].items()]
    rows += [("steps done", *(f"{step:,}" for step in facts["steps"]))]
    if any(facts["git"]):
        rows += [("git commit", *map(_commit, facts["git"]))]
    if facts["comparable"]:
        rows += [("held-out loss", *map(_shown, facts["heldout"]))]
        if facts["common_step"]:
            name = f"held-out loss at step {facts['common_step']:,}"
            rows += [(name, *map(_shown, facts["heldout_at_common_step"]))]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if not facts["settings"]:
        lines.append("all settings are the same.")
    if not facts["comparable"]:
        lines.append("losses are not compared: data, objective or process differ.")
    return lines


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _commit(git: dict[str, Any] | None) -> str:
    if not git:
        return "-"
    return str(git.get("commit"))[:12] + (" and changes" if git.get("dirty") else "")


def record_of(folder: Path) -> dict[str, Any]:
    """Name, state and progress of a run; a torn record reads as no record."""
    record = read_record(folder)
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
    from ornstein.displays import duration

    parts = [str(row["state"])]
    if row["steps"]:
        parts.append(f"step {row['step']:,} of {row['steps']:,}")
    if row["seconds"]:
        parts.append(f"in {duration(row['seconds'])}")
    return "  ".join(parts)
