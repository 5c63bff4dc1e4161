"""``ornstein doctor``: what is wrong with data, a training or a model, and what mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons
from ornstein.cli.options import Amount, run_options
from ornstein.errors import UsageError

if TYPE_CHECKING:
    from ornstein.doctor import Answer

WRONG = 1


@click.command("doctor")
@click.argument("target", metavar="[DATA-RUN-OR-FILE]", required=False)
@click.option(
    "--seconds",
    type=Amount(1, 86400, whole=False),
    default=60.0,
    show_default=True,
    help="Time for all checks; what is left then is named.",
)
@click.option("--size", type=Amount(4, 4096), help="Side of the pictures in pixels, for data.")
@run_options
def command(
    target: str | None, seconds: float, size: int | None, runs: Path, as_json: bool, quiet: bool
) -> int:
    """Find what is wrong with data, a training or a model, by measuring.

    Each finding says what was measured, what is normal, and the command or setting that mends it.
    The exit code is 0 if nothing is wrong, else 1. Nothing is changed.

    Without a name it tells of the machine: versions, devices, memory, speed, room on the disks.
    """
    if target is None:
        tell_machine(runs, size, as_json)
        return 0
    from ornstein.cli.places import run_or_data

    folder = run_or_data(target, runs)
    from ornstein.doctor import CHECKS, admit, examine

    if not (as_json or quiet):
        click.echo(f"examining {target}, for at most about {seconds:g} s")
    answers = []
    for answer in examine(admit(target, runs, seconds, folder, size)):
        answers.append(answer)
        for line in _json(answer) if as_json else told(answer, CHECKS[answer.check].asks):
            click.echo(line)
    if not any(answer.made for answer in answers):
        raise UsageError(
            f"opening {target} took all of {seconds:g} s, so nothing was checked; give more with "
            "--seconds."
        )
    if not as_json and not quiet:
        click.echo(summary(answers))
    return WRONG if any(answer.findings for answer in answers) else 0


def tell_machine(runs: Path, size: int | None, as_json: bool) -> None:
    """Print what the machine is.

    Raises:
        UsageError: a size, of no data.
    """
    if size is not None:
        raise UsageError("--size is for data; name them: ornstein doctor DATA --size 64")
    from ornstein.doctor import machine

    for found in machine(runs):
        click.echo(jsons.dumps({"kind": found.kind, **found.facts}) if as_json else found.line)


def told(answer: Answer, asks: str) -> list[str]:
    """Lines for people; none for a check that found nothing."""
    lines = [] if answer.made else [f"{answer.check:<11} not checked: no time left ({asks})"]
    for finding in answer.findings:
        lines += [
            f"{answer.check:<11} {finding.measured}",
            f"{'':<11} normal: {finding.normal}",
            f"{'':<11} mend:   {finding.mend}",
        ]
    return lines


def summary(answers: list[Answer]) -> str:
    """The last line."""
    made = [answer for answer in answers if answer.made]
    wrong = [answer.check for answer in made if answer.findings]
    named = f"{len(wrong)} of {len(made)} checks found something: {', '.join(wrong)}"
    late = len(answers) - len(made)
    rest = f"; {late} not made, give --seconds" if late else ""
    return (named if wrong else f"nothing wrong found by {len(made)} checks") + rest


def _json(answer: Answer) -> list[str]:
    found = [finding._asdict() for finding in answer.findings]
    return [jsons.dumps({"check": answer.check, "made": answer.made, "findings": found})]
