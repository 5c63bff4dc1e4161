"""``ornstein evaluate``: how good, how varied and how new the samples of a model are."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein import jsons
from ornstein.cli.guiding import asked_of, guide_options
from ornstein.cli.options import ITEMS, SEED, Amount, Place, run_options, sampler_options
from ornstein.cli.walks import check_names, opened
from ornstein.errors import OrnsteinWarning, UsageError

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.data import Dataset
    from ornstein.evaluate import Reference
    from ornstein.judging import Measured, Plan

ALONE = "novelty"
LEAST = 50  # samples, of which a quality can be said at all


@click.command("evaluate")
@click.argument("words", nargs=-1, metavar=f"[{ALONE}] RUN-OR-FILE [DATA]")
@click.option(
    "--minutes", type=Amount(0.05, 10_000, whole=False), default=3, show_default=True,
    help="Time for samples and measuring; the number of samples follows.",
)  # fmt: skip
@click.option("-n", "--count", type=Amount(LEAST, 100_000), help="Samples; default by --minutes.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the samples.")
@sampler_options
@guide_options
@click.option("--features", default="auto", help="What judges: classifier, encoder, values, ...")
@click.option("--against", help="Another solver whose variety stands beside: an SDE's, say.")
@click.option("--likelihood/--no-likelihood", default=True, help="Bound it where time allows.")
@click.option("--batch", type=ITEMS, default=128, show_default=True, help="Items at a time.")
@click.option("--out", type=Place(),
              help="Folder; default eval/ in the run.")  # fmt: skip
@run_options
def command(
    words: tuple[str, ...],
    minutes: float,
    count: int | None,
    seed: int,
    features: str,
    against: str | None,
    likelihood: bool,
    batch: int,
    out: Path | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure the samples of a model against real data: quality, variety, novelty, likelihood.

    DATA is what the model was trained on if it is not named. 'evaluate novelty RUN' asks only
    whether samples are copies of training items, and how varied they are.

    Every number stands beside its floor, real data in the place of samples, and carries the
    protocol it was measured by. Ctrl-C keeps the samples made so far; the same command goes on.
    """
    from ornstein.cli.verdicts import announced, tell
    from ornstein.judging import plan
    from ornstein.judging.affording import check_fit

    alone = words[:1] == (ALONE,)
    target, source = _targets(words[1:] if alone else words)
    check_names({"solver": against})
    check_features(features)
    bundle = opened(target, runs)
    way = bundle.how(**asked_of(bundle))
    data = data_of(target, source, bundle, runs)
    check_fit(bundle, data)
    talks = not as_json and not quiet
    made = plan(
        bundle, data, judged(data, features, talks), sampler=way,
        minutes=minutes, n=count, seed=seed, batch=batch,
        likelihood=likelihood and not alone and bundle.kind != "table",
    )  # fmt: skip
    if talks:
        for line in announced(made, against):
            click.echo(line)
    folder = out or folder_of(target, runs)
    found = _measured(made, folder, target, runs, alone, against, talks)
    written = write(found, folder, target, runs, alone)
    tell(found, written, alone, as_json, quiet)


def _targets(words: Sequence[str]) -> tuple[str, str | None]:
    if not 1 <= len(words) <= 2:
        raise UsageError(
            "name a run or a model file, and the data if it is other than that of the training: "
            "ornstein evaluate RUN [DATA]"
        )
    return words[0], words[1] if len(words) == 2 else None


def check_features(name: str) -> None:
    """Refuse unknown features before anything is loaded."""
    from ornstein.cli.options import chosen
    from ornstein.evaluate import AUTO, FEATURES

    chosen("features", name, (AUTO, *FEATURES))


def folder_of(target: str, runs: Path) -> Path:
    """Where the numbers go: into the run, those of another file in it apart; else beside."""
    from ornstein.cli.places import beside, run_folder, stem_of

    run = run_folder(target, runs)
    return Path(f"{stem_of(target, runs)}-eval") if run is None else run / "eval" / beside(target)


def title_of(target: str, runs: Path) -> str:
    """What a report calls a model: its run, and its file where that is not the run's own."""
    from ornstein.cli.places import beside, run_folder, stem_of

    run = run_folder(target, runs)
    if run is None:
        return stem_of(target, runs)
    return "/".join(filter(None, (run.resolve().name, beside(target))))


def data_of(target: str, source: str | None, bundle: Bundle, runs: Path) -> Dataset:
    """Open the data that is named, else that of the run, else the built-in one of the model.

    Raises:
        UsageError: a model file that does not know where its data is.
    """
    from ornstein.cli.places import run_folder
    from ornstein.data import names, open_data
    from ornstein.run import Run

    size = (bundle.shape[1], bundle.shape[2]) if bundle.kind == "image" else None
    run = run_folder(target, runs)
    if source is None and run is not None:
        settings = Run(run).config.data
        data = open_data(**settings.opening(), like=bundle.coding)
        _warn_if_changed(run, bundle, data)
        return data
    known = str(bundle.provenance.get("data"))
    source = source or (known if known in names() else None)
    if source is None:
        raise UsageError(
            f"{target} does not say where its data is; name it: ornstein evaluate {target} DATA"
        )
    data = open_data(source, like=bundle.coding)
    other = data.kind == bundle.kind == "image" and data.shape[1:] != tuple(bundle.shape[1:])
    return open_data(source, size=size) if other else data


def _warn_if_changed(run: Path, bundle: Bundle, data: Dataset) -> None:
    """Say that what a run names as its data is not what its model learned any more."""
    learned = bundle.provenance.get("fingerprint")
    if learned is not None and not data.known_as(learned):
        warnings.warn(
            f"the data of {run} changed since it was trained: what is called training data here "
            "is what they are now, and copies of what they were are not found.",
            OrnsteinWarning,
            stacklevel=2,
        )


def judged(data: Dataset, features: str, talks: bool) -> Reference:
    """Get the judge, which may have to be trained, and let it read the data."""
    from ornstein.displays import Count
    from ornstein.evaluate import reference_of
    from ornstein.evaluate.extractors import untrained

    if talks and untrained(data, features):
        click.echo(
            "judge      none is kept for these data yet; one is trained first, once, which takes "
            "a minute or a few"
        )
    with Count("training the judge", shown=talks) as counted:
        return reference_of(data, features, progress=counted)


def _measured(
    plan: Plan,
    folder: Path,
    target: str,
    runs: Path,
    alone: bool,
    against: str | None,
    talks: bool,
) -> Measured:
    from dataclasses import replace

    from ornstein.displays import Count
    from ornstein.evaluate import METRICS
    from ornstein.judging import compare_ways, measure
    from ornstein.judging.measuring import VARIETY
    from ornstein.tune import FREE

    def say(text: str) -> None:
        if talks:
            click.echo(text)

    with Count("sampling", shown=talks) as one, Count("likelihood", shown=talks) as two:
        found = measure(
            plan, metrics=VARIETY if alone else tuple(METRICS), folder=folder,
            log=log_of(target, runs), sampling=one, bounding=two, say=say,
        )  # fmt: skip
    if against is None:
        return found
    with Count(f"sampling by {against}", shown=talks) as three:
        grid = "karras" if plan.sampler.grid == FREE else plan.sampler.grid
        other = replace(plan.sampler, solver=against, grid=grid)
        return compare_ways(found, plan.other_way(other), three)


def log_of(target: str, runs: Path) -> list[dict[str, Any]]:
    """The log of the run, if it is one."""
    from ornstein.cli.places import run_folder
    from ornstein.run import Run

    run = run_folder(target, runs)
    return [] if run is None else Run(run).log


def write(found: Measured, folder: Path, target: str, runs: Path, alone: bool) -> dict[str, Path]:
    """Write numbers, report and pictures."""
    from ornstein.cli.verdicts import novelty_facts
    from ornstein.judging import measurements, record
    from ornstein.judging.making import forget_samples
    from ornstein.judging.page import page
    from ornstein.judging.pictures import nearest_sheet
    from ornstein.training.disk import write_atomically

    files = {}
    step = int(found.plan.bundle.provenance.get("steps", 0))
    if alone:
        files["numbers"] = folder / f"novelty-step-{step:09d}.json"
        write_atomically(files["numbers"], jsons.dumps(novelty_facts(found), indent=1).encode())
    else:
        files["numbers"] = record(found.quality, step, folder)
    for each in found.novelty:
        drawn = nearest_sheet(found, each)
        if drawn is not None:
            kind = "values" if each.space == "values" else "features"
            files[f"nearest, {kind}"] = folder / f"nearest-{kind}.png"
            drawn.save(files[f"nearest, {kind}"])
    if not alone:
        words = ["ornstein", *click.get_current_context().obj]
        if not {"-n", "--count"} & {word.split("=")[0] for word in words}:
            words += ["-n", str(found.plan.n)]  # else the time decides how many
        name, log = title_of(target, runs), log_of(target, runs)
        text = page(found, name, shlex.join(words), log, measurements(folder))
        files["report"] = folder / "report.html"
        write_atomically(files["report"], text.encode())
    forget_samples(folder)
    return files
