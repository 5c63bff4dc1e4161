"""The main job: from a data set to a trained model and pictures, in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ornstein import build
from ornstein.config import Config, Resolved, resolve
from ornstein.config.kinds import AUTO
from ornstein.config.toml import toml_value
from ornstein.data import open_data
from ornstein.data.sources import is_known, path_of
from ornstein.displays import shown
from ornstein.errors import ConfigError, DataError, FollowedError, UsageError
from ornstein.launch.introducing import introduce
from ornstein.launch.stored import Stored
from ornstein.launch.tracking import watched
from ornstein.planning import fills, plan
from ornstein.run import Progress, Run, run_name
from ornstein.session import Session
from ornstein.training.checkpoint import list_checkpoints
from ornstein.training.leading import Do, follow, leading, together
from ornstein.training.lock import RunLock
from ornstein.training.loop import Trainer
from ornstein.training.ranks import Ranks, Share, joined
from ornstein.training.signals import StopRequest


def train(
    source: str | Path | np.ndarray,
    *,
    conditions: Mapping[str, object] | None = None,
    name: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] | Mapping[str, object] = (),
    minutes: float | None = None,
    steps: int | None = None,
    size: int | tuple[int, int] | None = None,
    seed: int | None = None,
    upscale: int | None = None,
    runs: str | Path = "runs",
    dry_run: bool = False,
    track: str | None = None,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    command: str | None = None,
) -> Run:
    """Train a model on a data set, or go on with a training that was stopped.

    Args:
        source: A built-in name, a folder of images, an .npy or .npz file, or an array.
        conditions: What is said of the items of an array, an array of as many entries by name:
            numbers (NaN says nothing), texts (classes, or tags such as "red|round"; None or ""
            says nothing), pictures.
        name: Name of the run; default from the source.
        preset: A recipe: "default", "adm", "classifier", "ddpm", "edm", "flow", "iddpm".
        config: A TOML file of settings.
        settings: More settings, as {"train.batch": 32} or ["batch=32"].
        minutes: Time budget; the size of the network, precision and steps follow from measuring.
            Default 10 without steps.
        steps: Train so many steps instead.
        size: Side of the pictures in pixels, or (height, width).
        seed: Where all randomness comes from.
        upscale: Learn to make items from versions of them this many times smaller.
        runs: Directory that holds the runs.
        dry_run: Plan and print only.
        track: A tracker that shows the training as well: "tensorboard", "wandb" or "trackio".
        progress: Told what happens; by default it is printed, a bar in a terminal and a line every
            half minute elsewhere. ``ornstein.Silent()`` prints nothing.
        stop: A request to stop that may have come already.
        command: What was typed for it, to be kept in run.json.

    Returns:
        The run, finished.

    Raises:
        StoppedEarly: asked to stop; everything is saved, the same call goes on.
        OrnsteinError: the data, a setting, the disk or the training itself are at fault.
    """
    if conditions and isinstance(source, (str, Path)):
        raise UsageError(
            "conditions= are for an array; beside files they are said in metadata.csv or the .npz."
        )
    if isinstance(source, str) and not source:
        raise UsageError("DATA is empty; give a built-in name, a folder, a file or an array.")
    sets = settings
    if isinstance(settings, Mapping):
        sets = [f"{name}={_written(value)}" for name, value in settings.items()]
    place = source if isinstance(source, (str, Path)) else None
    run = Run(Path(runs) / (name or ("array" if place is None else run_name(str(place)))))
    stored = Stored(np.asarray(source), run.folder, conditions) if place is None else None
    flags = {
        "data.size": size,
        "data.upscale": upscale,
        "train.minutes": minutes,
        "train.steps": steps,
        "train.seed": seed,
    }

    def asked() -> Resolved:
        kept = stored.keep() if stored is not None else _absolute(place or "")
        given = {"data.source": kept, **flags}
        return resolve(recipe=preset, file=config, sets=tuple(sets), flags=given)

    with stop or StopRequest() as asking, joined(asking) as ranks:
        if isinstance(ranks, Ranks) and ranks.rank > 0:
            code = follow(ranks, partial(_described, ranks, build.fastest_device()))
            if code:
                raise FollowedError(code)
            return run
        with leading(ranks), shown(progress) as show, watched(show, run, track) as say:
            try:
                _lead(run, asked, stored, dry_run, say, asking, ranks, command)
            finally:
                if stored is not None:
                    stored.forget()
    return run


def _lead(
    run: Run,
    asked: Callable[[], Resolved],
    stored: Stored | None,
    dry_run: bool,
    say: Progress,
    stop: StopRequest,
    ranks: Share,
    command: str | None,
) -> None:
    """Train, as the one rank that knows the run directory."""
    started, resolved = time.monotonic(), asked()
    planned = (run.folder / "config.toml").is_file()
    settled = _agreed(run, resolved) if planned else resolved.config
    if run.state == "finished":
        _check_finished(run, settled, say, stop)
        use = f"Sample it: ornstein sample {run.typed}"
        if build.recognises(settled):
            use = f"Guide by it: ornstein sample MODEL --guide-by {run.typed}"
        say.note(
            f"run        {run.folder} is finished: {run.record['step']:,} steps. {use}. Train "
            "another: add --name."
        )
        return
    stop.idle = False  # half a cache is cleaned up
    data = open_data(**settled.data.opening(), progress=lambda *_: stop.check())
    stop.idle, device = True, build.fastest_device()
    stop.check()
    resumed = bool(list_checkpoints(run.folder / "checkpoints"))
    made = plan(settled, data, device, ranks, stop.check, resumed=resumed)
    introduce(say, run, data, made, device, ranks)
    if dry_run:
        return
    stop.idle = False  # from here on a stop has something to save
    stop.check()
    run.folder.mkdir(parents=True, exist_ok=True)
    with RunLock(run.folder):
        if stored is not None:
            stored.keep()  # again, where another call has put its own there meanwhile
        with together(ranks, Do.BUILD):
            if isinstance(ranks, Ranks):
                described = made.config.model_dump_json()
                ranks.tell_json({"config": described, "fingerprint": data.fingerprint})
            trainer = build.trainer(made.config, data, device, ranks)
        Session(run, made, data, trainer, say, stop, started, command).go()


def _check_finished(run: Run, settled: Config, say: Progress, stop: StopRequest) -> None:
    """Refuse to call a run finished whose data are others now: nobody trained on those.

    Raises:
        DataError: they are.
    """
    stop.idle = False  # half a cache is cleaned up
    try:
        data = open_data(**settled.data.opening(), progress=lambda *_: stop.check())
    except DataError as error:
        say.note(f"warning: the data of {run.folder} cannot be opened any more: {error}")
        return
    finally:
        stop.idle = True
    if run.changed(data):
        raise DataError(
            f"{run.folder} is finished, and its data changed since: it learned what they were. "
            "Train on what they are now as another run: add --name. Or restore them."
        )


def _described(ranks: Ranks, device: torch.device, said: Mapping[str, str]) -> Trainer:
    """The trainer that rank 0 describes, on this rank's own copy of the data.

    Raises:
        DataError: the data here are not those of rank 0.
    """
    ranks.stop.idle = False
    config = Config.model_validate_json(said["config"])
    data = open_data(**config.data.opening(), progress=lambda *_: ranks.stop.check())
    if data.fingerprint != said["fingerprint"]:
        raise DataError(
            f"the data of rank {ranks.rank} differ from those of rank 0: {config.data.source} "
            "must hold the same files on every machine."
        )
    return build.trainer(config, data, device, ranks)


def _written(value: object) -> str:
    """A value as --set reads it back: of lists and tables it takes TOML's form only."""
    return toml_value(value) if isinstance(value, (list, tuple, dict)) else str(value)


def _absolute(source: str | Path) -> str:
    """A path to data holds from any directory; a name that is looked up stays as it is."""
    path = path_of(source)
    return str(path.resolve()) if path.exists() and not is_known(source) else str(source)


FREE = {"train.accumulate"}
"""Settings that a run may go on with changed: they cost memory or time, not what is learnt."""
LENGTHS = ("train.minutes", "train.steps", "train.images")


def _agreed(run: Run, asked: Resolved) -> Config:
    """The settings of a planned run, if nothing that is asked for now contradicts them.

    Raises:
        ConfigError: something does; it is named, with both values.
    """
    kept = run.config
    old, new = kept.flat(), asked.config.flat()
    for key, origin in asked.origins.items():
        # What is not said follows the run, and so does what a recipe says beside its name.
        silent = origin in ("default", f"recipe {asked.config.recipe}")
        if silent or fills(key, new[key], old[key]):
            continue
        if key not in FREE:
            raise ConfigError(_refusal(run, key, origin, old, new))
        section, _, leaf = key.partition(".")
        kept = kept.changed(section, **{leaf: new[key]})
    return kept


def _refusal(
    run: Run, key: str, origin: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> str:
    """Why a run does not go on with another value of a setting, and what to do."""
    asked, finished = AUTO if new[key] is None else new[key], run.state == "finished"
    if key == "data.source":
        return (
            f"{run.folder} is a run of {old[key]}, not of {asked}. Name the same data to go on, "
            "or start another run with --name."
        )
    if finished and key in LENGTHS and new[key] is not None:
        lengths = (f"{name} = {old[name]:.15g}" for name in LENGTHS if old[name] is not None)
        had = next(lengths, "another length")
        return (
            f"{run.folder} is finished, with {had}, and {origin} asks for {asked:.15g}. "
            "A finished run keeps its length; the same command with "
            f"--name {run.name}-{asked:.15g} trains another."
        )
    had = f"with {key} = {old[key]}" if old[key] is not None else f"without {key}"
    said = f"{had}, and {origin} asks for {asked}"
    if key == "recipe":
        said = f"by the recipe '{old[key]}', not by '{asked}'"
    go_on = "Start" if finished else "Leave it out to go on, or start"
    return f"{run.folder} is a run {said}. {go_on} another run with --name."
