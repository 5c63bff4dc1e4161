"""The verbs and the front door: which command lives where, and what the process answers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from ornstein import __version__
from ornstein.cli.faults import guarded
from ornstein.cli.options import debug_option
from ornstein.errors import StoppedEarly, near

VERBS = {
    "train": "train a model on a data set, or go on with a run",
    "sample": "make new pictures, series or vectors with a trained model",
    "tune": "find solver and levels with which a model needs few steps",
    "edit": "change what is there: fill in, vary, mix, upscale, restore",
    "evaluate": "measure how good, varied and new its samples are",
    "leaderboard": "order the measured runs, one table for each protocol",
    "compare": "measure a GAN, a VAE and a flow beside diffusion",
    "likelihood": "tell how likely data are under a model, in bits or nats",
    "data": "look at a data set before training on it",
    "show": "show a model: settings, layers, parameters, cost, training",
    "viz": "draw the noising, the way back, or the schedules",
    "ema": "choose the width of the weights' average after the training",
    "doctor": "find what is wrong with data, a training or a model",
    "bench": "measure how fast this machine trains and samples",
    "runs": "list the runs that are here, compare two",
}
"""Verb to its line of help; verb ``x`` is ``command`` of the module ``ornstein.cli.x``."""

START = """\
Start here:
  ornstein train digits --minutes 2     a first model, from pictures that come with the package
  ornstein sample digits -n 64 --film   what it makes
  ornstein data PHOTOS/                 then your own folder: look, and 'ornstein train PHOTOS/'

'ornstein VERB --help' explains a verb.
"""


class Verbs(click.Group):
    """A group whose commands are imported when they are called, not to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order in which one meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in VERBS:
            return None
        command = import_module(f"ornstein.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one is near."""
        if args and args[0] not in VERBS:
            hint = near(args[0], VERBS) or f" There are: {', '.join(VERBS)}."
            raise click.UsageError(f"unknown command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all there is to say at the door, from the table alone."""
        formatter.write_usage("ornstein", "VERB ...")
        formatter.write_paragraph()
        formatter.write_text("Train and use your own diffusion models.")
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))
        with formatter.section("Options"):
            formatter.write_dl(
                [
                    ("--version", "the version"),
                    ("--debug", "show the traceback of an error"),
                    ("--help", "this text"),
                ]
            )
        formatter.write_paragraph()
        formatter.write(START)


@click.group(cls=Verbs, invoke_without_command=True)
@click.version_option(__version__, message="ornstein %(version)s")
@debug_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train and use your own diffusion models."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    code = guarded(cli, args)
    if code == StoppedEarly.exit_code:
        # Whoever asked to stop is waiting, and taking the interpreter down takes a second.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
    raise SystemExit(code)
