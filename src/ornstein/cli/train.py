"""``ornstein train``: from a data set to a trained model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ornstein import jsons
from ornstein.cli.options import SEED, Amount, bad_option, chosen, command_line, run_options
from ornstein.errors import UsageError
from ornstein.training.signals import StopRequest

EXAMPLES = """\b
Examples:
  ornstein train digits --minutes 2
  ornstein train photos/ --size 64 --minutes 60
  ornstein train ecg --preset flow net.size=small
  ornstein train photos/ --task upscale --factor 4
"""

# Each task, and what to type when it is done.
AFTERWARDS = {
    "generate": "sample {} -n 64 --film",
    "classifier": "sample MODEL --guide-by {} --guidance 2",
    "upscale": "edit {} PICTURE --upscale {} --spoil",
}
TASKS = tuple(AFTERWARDS)


@click.command("train", epilog=EXAMPLES)
@click.argument("source", metavar="DATA")
@click.argument("settings", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--minutes", type=Amount(0.01, 1e6, whole=False), help="Time budget; default 10.")
@click.option("--steps", type=Amount(1, 10**9), help="Train so many steps instead.")
@click.option(
    "--size",
    type=Amount(4, 4096),
    help="Side of the pictures in pixels; of a folder at most 64 if not said.",
)
@click.option("--task", default="generate", show_default=True, help=f"{', '.join(TASKS)}.")
@click.option("--factor", type=Amount(2, 64), help="Upscaling: how many times larger.")
@click.option("--preset", help="A recipe: default, adm, ddpm, edm, flow, iddpm.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="A TOML file of settings."
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--name", help="Name of the run; default from DATA.")
@click.option("--seed", type=SEED, help="Where all randomness comes from.")
@click.option("--nproc", type=Amount(1, 1024), help="Processes that train together here.")
@bad_option
@click.option("--track", help="Show it in tensorboard, wandb or trackio too, if installed.")
@click.option("--dry-run", is_flag=True, help="Plan and print, train nothing.")
@run_options
def command(
    source: str,
    settings: tuple[str, ...],
    minutes: float | None,
    steps: int | None,
    size: int | None,
    task: str,
    factor: int | None,
    preset: str | None,
    config: Path | None,
    sets: tuple[str, ...],
    name: str | None,
    seed: int | None,
    nproc: int | None,
    allow_bad: bool | None,
    track: str | None,
    dry_run: bool,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train a model on DATA, or go on with a run that was stopped.

    DATA is a built-in name (digits, emoji, ecg, penguins, two-moons, ...), a folder of pictures or
    sounds whose sub-folders become classes, an array (.npy, .npz), or a table (.csv). The run is
    kept in runs/NAME; the same command again goes on where it stopped. Settings may follow as
    KEY=VALUE (batch=32).
    """
    settings = (*settings, *sets, *(["data.allow_bad=true"] if allow_bad else []))
    check(minutes, steps, config, settings, name)
    preset, name = tasked(task, factor, preset, name, source)
    if (nproc or 1) > 1 and "RANK" not in os.environ:
        from ornstein.cli.nproc import start

        return start(nproc or 1, click.get_current_context().obj)
    quiet, as_json = (True, False) if os.environ.get("RANK", "0") != "0" else (quiet, as_json)
    from ornstein.displays import display

    show = display(as_json, quiet)
    try:
        with StopRequest(ours=True) as stop:  # before the slow imports
            from ornstein.launch import train

            run = train(
                source,
                name=name,
                preset=preset,
                config=config,
                settings=settings,
                minutes=minutes,
                steps=steps,
                size=size,
                seed=seed,
                upscale=factor,
                runs=runs,
                track=track,
                dry_run=dry_run,
                progress=show,
                stop=stop,
                command=command_line(),
            )
    finally:
        show.close()
    if as_json:
        click.echo(jsons.dumps({"event": "done", "run": str(run.folder), "state": run.state}))
    elif not quiet and not dry_run:
        for line in worth_opening(run.folder, task, factor):
            click.echo(line)
    return 0


def tasked(
    task: str, factor: int | None, preset: str | None, name: str | None, source: str
) -> tuple[str | None, str | None]:
    """The recipe and the name of the run that a task stands for.

    Raises:
        UsageError: there is no such task, a recipe for another, or a factor for none.
    """
    chosen("task", task, TASKS)
    if (task == "upscale") != (factor is not None):
        raise UsageError(
            "--task upscale and --factor go together: how many times larger are the pictures to "
            "be? Such as --task upscale --factor 4."
        )
    if task == "generate":
        return preset, name
    if task == "classifier" and preset not in (None, task):
        raise UsageError(
            f"--task classifier has a recipe of its own; leave out --preset {preset}."
        )
    # Beside the model that it serves, which has the name of the data.
    from ornstein.run import run_name

    if task == "upscale":
        return preset, name or f"{run_name(source)}-x{factor}"
    return task, name or f"{run_name(source)}-classifier"


def check(
    minutes: float | None,
    steps: int | None,
    config: Path | None,
    settings: tuple[str, ...],
    name: str | None,
) -> None:
    """Refuse what cannot be meant, before anything heavy is loaded.

    Raises:
        UsageError: two budgets, a setting without a value, or a name that is no name.
    """
    if minutes is not None and steps is not None:
        raise UsageError("give --minutes or --steps, not both: each decides how long to train.")
    for setting in settings:
        key, equals, _ = setting.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"'{setting[:60]}' is not a setting; write KEY=VALUE, such as batch=32."
            )
    if config is not None and not config.is_file():
        raise UsageError(f"there is no settings file {config}.")
    if name is not None:
        from ornstein.cli.places import check_name

        check_name(name)


def worth_opening(folder: Path, task: str = TASKS[0], factor: int | None = None) -> list[str]:
    """The files of a run that one wants to look at, and what to type next."""
    grids = sorted((folder / "samples").glob("step-*.png"))
    films = sorted((folder / "samples").glob("*.webp"))
    found = [("pictures", p) for p in grids[-1:]] + [("film", p) for p in films[-1:]]
    model = folder / "model.safetensors"
    found += [("model", model)] if model.is_file() else []
    lines = [f"{kind:<10} {path}" for kind, path in found]
    from ornstein.run import typed

    todo = AFTERWARDS[task].format(typed(folder), factor)
    return [*lines, f"next       ornstein {todo}"] if found else []
