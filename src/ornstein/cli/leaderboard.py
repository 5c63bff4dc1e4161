"""``ornstein leaderboard``: the runs that were measured, in order, by protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import click

from ornstein.cli.options import run_options


@click.command("leaderboard")
@click.option("--metric", default="frechet_train", show_default=True, help="What orders the runs.")
@click.option(
    "--free", multiple=True,
    help="Part of the protocol that may differ, such as steps; may be repeated.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="Tables to paste into a page.")
@run_options
def command(
    metric: str, free: tuple[str, ...], markdown: bool, runs: Path, as_json: bool, quiet: bool
) -> None:
    """Order the runs by what 'ornstein evaluate' measured of them, one table for each protocol.

    Numbers compare only if data, features, number of samples and way of sampling are the same;
    what may differ all the same is named with --free, and then stands in the table.
    """
    from ornstein.judging.board import SHOWN, board, cells, protocol_of, to_json

    found = board(runs, metric, free)
    if as_json:
        click.echo(to_json(found))
        return
    if not found.tables and not quiet:
        where = "" if runs == Path("runs") else f" --runs {quote(str(runs))}"
        click.echo(f"nothing was measured in {runs}/ yet: ornstein evaluate RUN{where}")
    columns = [metric, *(name for name in SHOWN if name != metric)]
    for table in found.tables:
        lines = cells(table, found.free, columns)
        click.echo(
            f"{'**' if markdown else ''}{protocol_of(table, free)}{'**' if markdown else ''}"
        )
        for line in (markdown_of if markdown else plain_of)(lines):
            click.echo(line)
        click.echo("")
    for name, why in {} if quiet else found.left_out.items():
        click.echo(f"not here: {name} {why}")


def plain_of(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, numbers to the right."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k == 1 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _escaped(cell: str) -> str:
    """A cell on one line, its strokes and what escapes them escaped."""
    return " ".join(cell.splitlines()).replace("\\", "\\\\").replace("|", "\\|")


def markdown_of(lines: Sequence[Sequence[str]]) -> list[str]:
    """The same as a Markdown table, in which a stroke of a name ends no cell."""
    rows = ["", *(f"| {' | '.join(map(_escaped, line))} |" for line in lines), ""]
    return [*rows[:2], "|" + "---|" * len(lines[0]), *rows[2:]]
