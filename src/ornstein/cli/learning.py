"""``ornstein viz learning``: whether a training learns, level by level."""

from __future__ import annotations

from pathlib import Path

import click

from ornstein.cli.options import Place, run_options


@click.command("learning")
@click.argument("name", metavar="RUN")
@click.option(
    "--out",
    type=Place(),
    help="Folder for the picture; default that of the run.",
)
@run_options
def learning(name: str, out: Path | None, runs: Path, as_json: bool, quiet: bool) -> None:
    """Draw the errors of RUN by noise level, against what its data allow (needs matplotlib).

    1 is the best linear denoiser, which knows mean and covariance only; below it the model knows
    more. Where training items are denoised better than held-out ones, it begins to memorise.
    """
    from ornstein.cli.drawing import report
    from ornstein.run import open_run
    from ornstein.viz.learning import draw_learning

    run = open_run(name, runs)
    folder = run.folder if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    report({"learning": draw_learning(run.log, folder / "learning.png")}, as_json, quiet)
