"""``ornstein ema``: an average of the weights of another width, made afterwards."""

from __future__ import annotations

from pathlib import Path

import click

from ornstein.cli.options import Amount, Place, run_options


@click.command("ema")
@click.argument("name", metavar="RUN")
@click.option(
    "--width",
    type=Amount(0.02, 0.25, whole=False),
    required=True,
    help="Relative width of the average: about this last share of the training counts.",
)
@click.option(
    "--out",
    type=Place(file=True),
    help="The model file; default model-WIDTH.safetensors in the run.",
)
@run_options
def command(
    name: str, width: float, out: Path | None, runs: Path, as_json: bool, quiet: bool
) -> None:
    """Make a model file with another average of the weights of RUN.

    The run must have been trained with --set snapshots=16 or so.
    """
    from ornstein.cli.drawing import report
    from ornstein.run import open_run
    from ornstein.run.averages import averaged

    run = open_run(name, runs)
    path = out or run.folder / f"model-{width:g}.safetensors"
    report({"model": averaged(run, width).save(path)}, as_json, quiet)
