"""``ornstein bench``: how fast training and sampling are on this machine, with these data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons
from ornstein.cli.options import Amount, run_options

if TYPE_CHECKING:
    from ornstein.benching import Asked


@click.command("bench")
@click.argument("target", metavar="[DATA-OR-RUN]", default="digits")
@click.option(
    "--seconds",
    type=Amount(1, 86400, whole=False),
    default=60.0,
    show_default=True,
    help="Time for all measurements, about.",
)
@click.option("--size", type=Amount(4, 4096), help="Side of the pictures in pixels, for data.")
@click.option("--compile", "compiles", is_flag=True, help="Try torch.compile; takes minutes.")
@run_options
def command(
    target: str,
    seconds: float,
    size: int | None,
    compiles: bool,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure how fast this machine trains and samples, with your data or a run of yours.

    Steps of each size of network at several batches, the plan for 10 and for 60 minutes, what
    precision and threads are worth, seconds for each item sampled; and one line of advice.
    Nothing is kept.
    """
    from ornstein.benching import report

    asked = _asked(target, seconds, size, compiles, runs)
    if not as_json and not quiet:
        click.echo(f"measuring  {asked.data.name}, for about {seconds:g} s")
    for told in report(asked):
        if not as_json:
            click.echo(told.line)
        elif told.facts:
            click.echo(jsons.dumps({"kind": told.kind, **told.facts}))


def _asked(target: str, seconds: float, size: int | None, compiles: bool, runs: Path) -> Asked:
    """Open what is named: a run with its data and its model, or data alone.

    Raises:
        UsageError: --size of a run, whose data have a size already.
    """
    from ornstein.benching import Asked
    from ornstein.bundle import Bundle, load_any
    from ornstein.cli.places import run_or_data
    from ornstein.config import resolve
    from ornstein.data import open_data
    from ornstein.errors import UsageError
    from ornstein.run import Run

    folder = run_or_data(target, runs)
    if folder is None:
        config = resolve(flags={"data.source": target, "data.size": size}).config
        data = open_data(**config.data.opening())
        return Asked(config, data, seconds=seconds, compiles=compiles)
    if size is not None:
        raise UsageError(f"{target} is a run, whose data have a size; --size is for data.")
    config = Run(folder).config
    data = open_data(**config.data.opening())
    model = load_any(folder) if (folder / "model.safetensors").is_file() else None
    run = model if isinstance(model, Bundle) else None
    return Asked(config, data, run, fixed=True, seconds=seconds, compiles=compiles)
