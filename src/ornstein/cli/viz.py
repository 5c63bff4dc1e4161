"""``ornstein viz``: the figures of the forward and reverse process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein.cli.guiding import asked_of, guide_options
from ornstein.cli.learning import learning
from ornstein.cli.options import (
    SEED,
    Amount,
    Place,
    chosen,
    common_options,
    condition_options,
    debug_option,
    run_options,
    said,
    sampler_options,
    target_argument,
)
from ornstein.cli.tradeoff import guidance
from ornstein.cli.walks import opened, walked

if TYPE_CHECKING:
    from ornstein.core import Level

FILM_MOMENTS = 49
CLOUD = 1000  # vectors are shown as a cloud of so many

_items = click.option(
    "-n", "--items", type=Amount(1, 64), default=5, show_default=True, help="Items shown."
)
_columns = click.option(
    "--columns", type=Amount(2, 40), default=9, show_default=True, help="Moments in the strip."
)
_seed = click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise.")
_out = click.option(
    "--out",
    type=Place(),
    default=Path(),
    help="Folder for the pictures; default here.",
)


@click.group("viz", no_args_is_help=True)
@debug_option
def command() -> None:
    """Draw the noising, the way back, or the schedules."""


@command.command("forward")
@click.argument("source", metavar="DATA")
@click.option("--schedule", default="linear", show_default=True, help="Process that noises.")
@click.option("--raw", is_flag=True, help="Show x on the process's own scale.")
@click.option("--size", type=Amount(4, 4096), help="Side of the pictures in pixels.")
@_items
@_columns
@_seed
@_out
@common_options
def forward(
    source: str,
    schedule: str,
    raw: bool,
    size: int | None,
    items: int,
    columns: int,
    seed: int,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Noise items of DATA along one joint path each: a strip and a film.

    The noise at one moment is that of the moment before and a little more, as the forward process
    says. By default x is shown at unit variance, as a network sees it.
    """
    from ornstein.core import PROCESSES

    chosen("schedule", schedule, PROCESSES)
    from ornstein.cli.drawing import displayed, write
    from ornstein.data import open_data
    from ornstein.viz import ascent, joint_path
    from ornstein.viz.forward import unit
    from ornstein.viz.pictures import thin

    data = open_data(source, size=size)
    count = min(CLOUD if data.kind in ("vector", "table") else items, len(data))
    picked = [k * len(data) // count for k in range(count)]
    levels = ascent(PROCESSES[schedule](), max(FILM_MOMENTS, columns))
    path = joint_path(data.batch(picked), levels, seed, picked)
    seen = [x if raw else unit(x, levels[k]) for k, x in enumerate(path)]
    frames = [displayed(x, data.coding) for x in seen]
    at = thin(len(frames), columns)
    heads = [f"t {k / (len(frames) - 1):.2f}" for k in at]
    label = f"{data.name}-forward-{schedule}" + ("-raw" if raw else "")
    write([[frames[k] for k in at]], [frames], data.kind, out / label, heads, (), as_json, quiet)


@command.command("reverse")
@target_argument
@sampler_options
@condition_options
@guide_options
@_items
@_columns
@_seed
@_out
@run_options
def reverse(
    target: str,
    items: int,
    columns: int,
    seed: int,
    out: Path,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the way from noise to data: x, and the x0 that the model sees in it.

    Writes a strip with two rows for each item and a film of both side by side.
    """
    from ornstein.cli.drawing import displayed, write
    from ornstein.cli.places import stem_of
    from ornstein.viz.pictures import thin

    bundle = opened(target, runs)
    count = CLOUD if bundle.coding.kind in ("vector", "table") else items
    way = bundle.how(**asked_of(bundle))
    seen = walked(bundle, count, FILM_MOMENTS, seed=seed, cond=said(), sampler=way)
    points = [displayed(x, bundle.coding) for x in seen.x]
    guesses = [displayed(x, bundle.coding) for x in seen.x0]
    at = thin(len(points), columns)
    heads = [_level_text(seen.levels, k) for k in at]
    write(
        [[points[k] for k in at], [guesses[k] for k in at]],
        [points, guesses],
        bundle.coding.kind,
        out / f"{stem_of(target, runs)}-reverse",
        heads,
        ("x", "x0 seen"),
        as_json,
        quiet,
    )


@command.command("schedule")
@click.argument("names", metavar="[SCHEDULE]...", nargs=-1)
@click.option("--data", "source", default="digits", show_default=True, help="Item in the rows.")
@click.option("--raw", is_flag=True, help="Show x on the process's own scale.")
@click.option("--item", type=Amount(0, 10**9), default=0, show_default=True, help="Which item.")
@_columns
@_seed
@_out
@common_options
def schedule_command(
    names: tuple[str, ...],
    source: str,
    raw: bool,
    item: int,
    columns: int,
    seed: int,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare schedules, default linear and cosine: curves, and one item noised by each.

    Draws beta, √(1 − beta), the signal that is left, log-SNR and the growth of x against time
    (this needs matplotlib), and a row of the item at equal times for each schedule.
    """
    from ornstein.core import PROCESSES
    from ornstein.errors import UsageError

    names = names or ("linear", "cosine")
    for name in names:
        chosen("schedule", name, PROCESSES)
    from ornstein.cli.drawing import displayed, report, strip_of
    from ornstein.data import open_data
    from ornstein.viz import ascent, joint_path
    from ornstein.viz.forward import unit
    from ornstein.viz.schedule import compare

    data = open_data(source)
    if item >= len(data):
        raise UsageError(f"there is no item {item:,}; {data.name} has {len(data):,}, from 0.")
    picked = list(range(min(CLOUD, len(data)))) if data.kind in ("vector", "table") else [item]
    out.mkdir(parents=True, exist_ok=True)
    frames = []
    for name in names:
        levels = ascent(PROCESSES[name](), columns)
        path = joint_path(data.batch(picked), levels, seed, picked)
        seen = [x if raw else unit(x, levels[k]) for k, x in enumerate(path)]
        frames.append([displayed(x, data.coding) for x in seen])
    heads = [f"t {k / (columns - 1):.2f}" for k in range(columns)]
    label = out / ("schedules-" + "-".join(names) + ("-raw" if raw else ""))
    curves = compare({name: PROCESSES[name]() for name in names}, label.with_suffix(".png"))
    rows = label.with_name(f"{label.name}-{data.name}.png")
    strip_of(frames, data.kind, heads, names).save(rows)
    report({"curves": curves, "rows": rows}, as_json, quiet)


@command.command("paths1d")
@click.option("--schedule", default="linear", show_default=True, help="Process of the paths.")
@_seed
@_out
@common_options
def paths1d(schedule: str, seed: int, out: Path, as_json: bool, quiet: bool) -> None:
    """Draw paths in one dimension: noising, and both ways back (needs matplotlib).

    The law has two peaks and is known exactly; its density at each time lies behind the paths.
    Writes a picture and a film in which the paths grow.
    """
    from ornstein.core import PROCESSES

    chosen("schedule", schedule, PROCESSES)
    from ornstein.cli.drawing import report
    from ornstein.viz.paths1d import draw_paths

    out.mkdir(parents=True, exist_ok=True)
    picture, moving = draw_paths(PROCESSES[schedule](), out / f"paths1d-{schedule}.png", seed=seed)
    report({"paths": picture, "film": moving}, as_json, quiet)


@command.command("paths2d")
@click.argument("source", metavar="[DATA]", default="swiss-roll")
@click.option("--schedule", default="linear", show_default=True, help="Process of the paths.")
@_columns
@_seed
@_out
@common_options
def paths2d(
    source: str, schedule: str, columns: int, seed: int, out: Path, as_json: bool, quiet: bool
) -> None:
    """Draw points in the plane, such as swiss-roll: noising, density, and both ways back.

    DATA are vectors of two numbers; the score that leads back is that of the points themselves.
    Writes a strip with data at the left and noise at the right, and a film.
    """
    from ornstein.core import PROCESSES

    chosen("schedule", schedule, PROCESSES)
    from ornstein.cli.drawing import report
    from ornstein.data import open_data
    from ornstein.viz import film
    from ornstein.viz.paths2d import frames_of, planes, sheet_of

    data = open_data(source)
    seen = planes(PROCESSES[schedule](), data.batch(range(len(data))), seed)
    out.mkdir(parents=True, exist_ok=True)
    label = f"paths2d-{data.name}-{schedule}"
    picture, moving = out / f"{label}.png", out / f"{label}.webp"
    sheet_of(seen, columns).save(picture)
    report({"paths": picture, "film": film(frames_of(seen, FILM_MOMENTS), moving)}, as_json, quiet)


command.add_command(learning)
command.add_command(guidance)


def _level_text(levels: Level, k: int) -> str:
    value = float(levels.log_snr[k])
    return "clean" if value == float("inf") else f"log-SNR {value:.1f}"
