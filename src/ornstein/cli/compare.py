"""``ornstein compare``: diffusion beside the other families of models, on the same data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons
from ornstein.cli.options import Amount, Place, chosen, common_options
from ornstein.errors import UsageError

if TYPE_CHECKING:
    from ornstein.comparing import Budget, Comparison, Part, Task
    from ornstein.data import Dataset

MINUTES = 1.0
LEAST = 50  # samples, of which a quality can be said at all


@click.command("compare")
@click.argument("source", metavar="DATA")
@click.argument("families", metavar="[FAMILY]...", nargs=-1)
@click.option("--seeds", type=Amount(1, 1000), default=5, show_default=True,
              help="Trainings of each family.")  # fmt: skip
@click.option("--minutes", type=Amount(0.01, 1e5, whole=False),
              help="Of each training; default 1.")  # fmt: skip
@click.option("--steps", type=Amount(1, 10**9), help="Train so many steps instead.")
@click.option("-n", "--count", type=Amount(LEAST, 100_000), default=1000, show_default=True,
              help="Samples of each model.")  # fmt: skip
@click.option("--features", default="auto", help="What judges: classifier, encoder, values, ...")
@click.option("--size", type=Amount(4, 4096), help="Side of the pictures in pixels.")
@click.option("--out", type=Place(),
              help="Folder; default NAME-compare here.")  # fmt: skip
@click.option("--markdown", is_flag=True, help="A table to paste into a page.")
@common_options
def command(
    source: str,
    families: tuple[str, ...],
    seeds: int,
    minutes: float | None,
    steps: int | None,
    count: int,
    features: str,
    size: int | None,
    out: Path | None,
    markdown: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a GAN, a VAE, a flow and a diffusion model on DATA alike, and measure them alike.

    FAMILY is gan, vae, flow or diffusion; default all. Each gets the same time and no word of the
    classes, with several seeds: quality, diversity, spread, likelihood and cost in one table and
    one figure. Ctrl-C keeps the parts that are done; the same command goes on.
    """
    if minutes is not None and steps is not None:
        raise UsageError("give --minutes or --steps, not both: each decides how long to train.")
    from ornstein.cli.evaluate import check_features, judged
    from ornstein.comparing import FAMILIES, Budget, check_needs, compare

    for name in families:
        chosen("family", name, FAMILIES)
    check_features(features)
    names = tuple(name for name in FAMILIES if name in families or not families)
    check_needs(names)
    talks = not (as_json or quiet or markdown)
    task, data = _task(source, size, out)
    budget = Budget(steps=steps) if steps else Budget(seconds=60 * (minutes or MINUTES))
    reference = judged(data, features, talks)
    if talks:
        for line in announced(task, names, seeds, budget):
            click.echo(line)
    found = compare(
        task, budget, reference, families=names, seeds=seeds, n=count,
        say=_tell if talks else None,
    )  # fmt: skip
    files = write(found, task)
    if as_json:
        paths = {kind: str(path) for kind, path in files.items()}
        click.echo(jsons.dumps({**found.to_json(), "files": paths}))
        return
    tell(found, markdown)
    if talks:
        for kind, path in files.items():
            click.echo(f"{kind:<10} {path}")


def _task(source: str, size: int | None, out: Path | None) -> tuple[Task, Dataset]:
    """The data without what is said of them, as every family sees them, and with it."""
    from dataclasses import replace

    from ornstein.comparing import Task
    from ornstein.data import open_data
    from ornstein.run import run_name

    data = open_data(source, size=size)
    folder = out or Path(f"{run_name(source)}-compare")
    return Task(source, replace(data, conditions=()), folder, size), data


def announced(task: Task, names: tuple[str, ...], seeds: int, budget: Budget) -> list[str]:
    """What will be done, and what it costs."""
    from ornstein.comparing import done
    from ornstein.displays import duration

    data, many = task.data, seeds * len(names)
    ready = done(task, names, seeds)
    shape = "x".join(map(str, data.shape))
    each = f"{budget.steps:,} steps" if budget.steps else duration(budget.seconds or 0)
    whole = f" = about {duration((many - ready) * budget.seconds)}" if budget.seconds else ""
    known = f" ({ready} of {many} are done)" if ready else ""
    often = f"{seeds} seed{'s' * (seeds > 1)} x {len(names)} families"
    sizes = f"{len(data.train):,} {data.coding.noun} of {shape}, {len(data.heldout):,} held out"
    return [
        f"data       {data.name}: {sizes}; nobody is told their classes",
        f"cost       {often} x {each}{whole}{known}",
        f"folder     {task.folder}; the same command later goes on with it",
    ]


def _tell(part: Part, ready: int, total: int) -> None:
    """A line for each part that is done."""
    head = f"{ready:>3}/{total}  {part.family:<10} seed {part.seed}"
    if part.trouble is not None:
        click.echo(f"{head}  diverged: {part.trouble}")
        return
    shown = "Fréchet {frechet:.4g}, precision {precision:.3f}, recall {recall:.3f}"
    worse = [name for name, value in part.numbers.items() if not math.isfinite(value)]
    rest = f"; not finite: {', '.join(worse)}" if worse else ""
    told = f"{shown}; {{steps:,}} steps in {{seconds:.1f}} s".format(**part.numbers)
    click.echo(f"{head}  {told}{rest}")


def write(found: Comparison, task: Task) -> dict[str, Path]:
    """Write the table for people and for programs, and the figure where it can be drawn."""
    from ornstein.cli.leaderboard import markdown_of
    from ornstein.comparing.showing import draw
    from ornstein.training.disk import write_atomically

    files = {"numbers": task.folder / "compare.json", "table": task.folder / "compare.md"}
    write_atomically(files["numbers"], jsons.dumps(found.to_json(), indent=1).encode())
    write_atomically(files["table"], "\n".join(markdown_of(found.cells())[1:]).encode())
    try:
        files["figure"] = draw(found, task.data, task.folder)
    except UsageError as error:  # the numbers do not wait for a picture
        click.echo(f"warning: {error}", err=True)
    return files


def tell(found: Comparison, markdown: bool) -> None:
    """Print the table."""
    from ornstein.cli.leaderboard import markdown_of, plain_of

    for line in (markdown_of if markdown else plain_of)(found.cells()):
        click.echo(line)
