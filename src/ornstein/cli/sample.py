"""``ornstein sample``: new items from a trained model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein import jsons
from ornstein.cli.guiding import asked_of, guide_options, led_text, said_of
from ornstein.cli.options import (
    ITEMS,
    SEED,
    Amount,
    Place,
    condition_options,
    run_options,
    said,
    sampler_options,
    target_argument,
)
from ornstein.cli.walks import opened, placed, walked
from ornstein.errors import OrnsteinWarning, UsageError

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.samples import Samples

NOISE = 0.1  # on what is made larger
FILM_ITEMS = 16  # more would make each picture of the film too small
FILM_POINTS = 1000
FILM_MOMENTS = 60


@click.command("sample")
@target_argument
@click.option("-n", "--count", type=ITEMS, default=16, show_default=True, help="How many.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Another seed, other items.")
@sampler_options
@condition_options
@guide_options
@click.option("--then", "larger", help="Make them larger with this model, trained to upscale.")
@click.option(
    "--then-steps", type=Amount(1, 10_000), help="Steps of that model; --steps are the first's."
)
@click.option(
    "--noise",
    type=Amount(0, 1, whole=False),
    help=f"With --then: put on what is made larger, to forgive its faults; {NOISE:g} by itself.",
)
@click.option("--film", is_flag=True, help="Also write the way from noise to data as a film.")
@click.option("--out", type=Place(), help="Folder; default in the run.")
@click.option("--batch", type=Amount(1, 100_000), help="Items at a time; changes no picture.")
@run_options
def command(
    target: str,
    count: int,
    seed: int,
    larger: str | None,
    then_steps: int | None,
    noise: float | None,
    film: bool,
    out: Path | None,
    batch: int | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make new items with a trained model: a run's name, its folder, or a model file.

    Item k of a seed is the same in any batch and for any number of items. Written are the items,
    each picture with its settings inside, one sheet of all, and with --film the way they came
    about. What is not given is as the model's maker chose it; classes take turns, rows of a
    table have them as often as the data, and of other conditions nothing is said.
    """
    if larger is None:
        _check_alone(then_steps, noise)
    from ornstein.cli.places import label_from, output_folder, stem_of
    from ornstein.data.lowered import LOW
    from ornstein.displays import Count
    from ornstein.editing import cascade, misfit

    bundle = opened(target, runs)
    # What is asked to lead guidance leads the first.
    above = None if larger is None else placed(larger, runs)
    if bundle.upscales and LOW not in said():
        _warn_of_nothing_to_enlarge(target, bundle.upscales)
    with Count("sampling", shown=not as_json and not quiet) as counted:
        made = bundle.sample(
            count,
            seed=seed,
            cond=said(),
            **asked_of(bundle),
            batch=batch or 64,
            progress=counted,
        )
    base, label = made, label_of(made)
    if above is not None:
        way = above.how(steps=then_steps)
        put = NOISE if noise is None else noise
        made = cascade(above, base, noise=put, sampler=way, batch=batch or 64)
        more = "" if put == NOISE else f"noise-{put:g}"
        label = label_from(label, f"then-{stem_of(str(larger), runs)}", then_steps, more)
    folder = output_folder(target, runs, label, out)
    files = {"items": made.save(folder)[0].parent, "grid": made.save_sheet(folder / "grid.png")}
    if above is not None:
        files["small"] = base.save_sheet(folder / "small.png")
    if film:
        files["film"] = write_film(bundle, base, folder / "film.webp")
    if as_json:
        click.echo(jsons.dumps(facts_of(made, files)))
    elif not quiet:
        for line in told(made, files):
            click.echo(line)
        if above is not None:
            # What was asked of the way is the first model's, so that is told too.
            click.echo(f"first      {way_of(base.settings)}; the other's steps: --then-steps")
            click.echo(
                f"measured   misfit to the small ones: {misfit(made.items, base.items):.4g}"
            )


def _check_alone(then_steps: int | None, noise: float | None) -> None:
    """Refuse what says nothing where no second model is.

    Raises:
        UsageError: something of a second model was asked for.
    """
    if then_steps is not None:
        raise UsageError("--then-steps are of the model that makes them larger: --then MODEL.")
    if noise is not None:
        raise UsageError("--noise is put on what a second model makes larger: --then MODEL.")


def _warn_of_nothing_to_enlarge(target: str, times: int) -> None:
    """Say that a model which upscales was given nothing, and what to type."""
    from ornstein.data.lowered import LOW

    warnings.warn(
        f"this model makes items {times} times larger than what it is given, which is nothing "
        f"here; say --cond {LOW}=PICTURE, or ornstein edit {target} PICTURE --upscale {times}.",
        OrnsteinWarning,
        stacklevel=3,
    )


def facts_of(made: Samples, files: Mapping[str, Path]) -> dict[str, Any]:
    """What was made, for ``--json``."""
    return {
        "files": {kind: str(path) for kind, path in files.items()},
        "count": len(made),
        "settings": made.settings,
        "evaluations": made.evaluations,
        "seconds": round(made.seconds, 3),
    }


def label_of(made: Samples) -> str:
    """A folder name that tells the settings, so that other settings go to another folder."""
    from ornstein.cli.places import label_from

    how = made.settings
    parts = [f"seed{made.seed}", f"n{len(made)}", how["solver"], str(how["steps"]), how["grid"]]
    parts += [how["schedule"], how.get("class") or ""]
    parts += [f"{name}-{said_of(value)}" for name, value in how.get("cond", {}).items()]
    parts += [f"g{how['guidance']:g}"] if how["guidance"] != 1 else []
    parts += [led_text(how), how.get("precision", "")]
    return label_from(*parts)


def way_of(by: Mapping[str, Any]) -> str:
    """How samples of these settings came about."""
    how = f"{by['solver']}, {by['steps']} steps on {by['schedule']} ({by['grid']} grid)"
    how += f", guidance {by['guidance']:g}" if by["guidance"] != 1 else ""
    how += f" ({led_text(by)})" if led_text(by) else ""
    how += f", {by['precision']}" if "precision" in by else ""
    asked_for = ", ".join(f"{name} {said_of(value)}" for name, value in by.get("cond", {}).items())
    return how + (f", given {asked_for}" if asked_for else "")


def told(made: Samples, files: dict[str, Path]) -> list[str]:
    """What was made, at what cost, and where it is."""
    from ornstein.displays import duration

    by = made.settings
    noun = made.coding.noun
    names = {
        "items": f"{noun}, settings inside" if made.kind == "image" else noun,
        "grid": "all on one sheet",
        "small": "what they were made of, on one sheet",
        "film": "from noise to data",
    }
    total = f"{made.evaluations * len(made):,} evaluations of the network"
    seconds = duration(made.seconds) if made.seconds >= 10 else f"{made.seconds:.1f} s"
    return [
        f"made       {len(made):,} {noun} from seed {made.seed}: {way_of(by)}",
        f"cost       {made.evaluations} evaluations each, {total}, {seconds}",
        *(f"{kind:<10} {path}   ({names[kind]})" for kind, path in files.items()),
    ]


def write_film(bundle: Bundle, made: Samples, path: Path) -> Path:
    """Walk the first of the samples once more and film it."""
    from ornstein.cli.drawing import displayed, side_by_side
    from ornstein.viz import film

    count = min(len(made), FILM_POINTS if made.kind in ("vector", "table") else FILM_ITEMS)
    way = bundle.how(**asked_of(bundle))
    seen = walked(bundle, count, FILM_MOMENTS, seed=made.seed, cond=said(), sampler=way)
    frames = [displayed(x, bundle.coding) for x in seen.x]
    return film(side_by_side([frames], bundle.kind), path)
