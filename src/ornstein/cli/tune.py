"""``ornstein tune``: the solver and the levels that suit a model at a number of steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein import jsons
from ornstein.cli.options import SEED, STEPS, Amount, Place, run_options, target_argument
from ornstein.cli.walks import check_names, opened
from ornstein.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ornstein.bundle import Bundle, Sampler
    from ornstein.tune import Tuning


@click.command("tune")
@target_argument
@click.option(
    "--steps",
    type=STEPS,
    multiple=True,
    help="Steps to tune for; may be repeated. Default its own.",
)
@click.option(
    "--evaluations", type=STEPS, multiple=True,
    help="The same as calls of the network for each item: a guided level takes two.",
)  # fmt: skip
@click.option(
    "--solver", "solvers", multiple=True, help="Choose from these only; may be repeated."
)
@click.option("--schedule", help="Process to sample on; default that of training.")
@click.option(
    "--guidance", type=Amount(0, 100, whole=False), help="Tune for this guidance; default its own."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise tuned on.")
@click.option("--out", type=Place(file=True), help="File; default the model's own.")
@run_options
def command(
    target: str,
    steps: tuple[int, ...],
    evaluations: tuple[int, ...],
    solvers: tuple[str, ...],
    schedule: str | None,
    guidance: float | None,
    seed: int,
    out: Path | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find the solver and the levels with which a model needs few steps.

    Walks of few steps are measured against the model's own trajectories of many, and the levels
    moved until the ends come no closer. What was found is kept in the model file, and
    'ornstein sample' with such steps uses it.
    """
    from ornstein.bundle.file import find
    from ornstein.bundle.tuning import cost, tuned
    from ornstein.displays import Count

    for name in solvers or (None,):
        check_names({"solver": name, "schedule": schedule})
    bundle = opened(target, runs)
    ways = ways_of(bundle, steps, evaluations, solvers, schedule, guidance)
    price, talks = cost(bundle, ways, solvers), not as_json and not quiet
    if talks:
        for line in announced(bundle, ways, price.items, price.evaluations):
            click.echo(line)
    spent = 0
    with Count("tuning", shown=talks) as counted:

        def asked(items: int) -> None:
            nonlocal spent
            spent += items
            counted(min(spent, price.evaluations), price.evaluations)

        better, reports = tuned(bundle, ways, solvers, seed, asked)
    path = better.save(out or find(target, runs))
    named = out or (target if runs == Path("runs") else path)
    if as_json:
        facts = [facts_of(way, report) for way, report in zip(ways, reports, strict=True)]
        click.echo(jsons.dumps({"file": str(path), "evaluations": spent, "tuned": facts}))
    elif not quiet:
        click.echo("\n".join([*table(ways, reports), closing(bundle, path, str(named), ways[0])]))


def ways_of(
    bundle: Bundle,
    steps: Sequence[int],
    evaluations: Sequence[int],
    solvers: Sequence[str],
    schedule: str | None,
    guidance: float | None,
) -> list[Sampler]:
    """The ways to tune: as the model would go for such steps if it had not been tuned.

    Raises:
        UsageError: so few evaluations make no step.
    """
    from ornstein.bundle.guiding import calls
    from ornstein.solvers import SOLVERS

    each, own = max((SOLVERS[name]().evaluations for name in solvers), default=1), bundle.sampler

    def way(n: int) -> Sampler:
        return bundle.how(
            solver=own.solver, grid=own.grid, schedule=schedule, steps=n, guidance=guidance
        )

    def spent(n: int) -> int:
        return each * calls(bundle, bundle.cond(1), way(n), bundle.levels(way(n))[:-1])

    def fitting(many: int) -> int:
        found = next((n for n in range(many // each, 0, -1) if spent(n) <= many), 0)
        if not found:
            raise UsageError(
                f"one step takes {spent(1)} evaluations here; ask for {spent(1)} or more."
            )
        return found

    wanted = {*steps, *map(fitting, evaluations)} or {own.steps}
    return [way(n) for n in sorted(wanted)]


def announced(bundle: Bundle, ways: Sequence[Sampler], items: int, evaluations: int) -> list[str]:
    """What is about to be spent, and on what."""
    from ornstein.bundle.tuning import seconds_per_evaluation
    from ornstein.displays import duration

    way = ways[0]
    steps = ", ".join(str(way.steps) for way in ways)
    guided = f", guidance {way.guidance:g}" if way.guidance != 1 else ""
    seconds = duration(evaluations * seconds_per_evaluation(bundle))
    return [
        f"tuning     {steps} steps on {way.schedule}{guided}, measured on {items} trajectories",
        f"cost       up to about {evaluations:,} evaluations of the network, {seconds}",
    ]


def facts_of(way: Sampler, report: Tuning) -> dict[str, Any]:
    """One row for programs."""
    return {
        "steps": way.steps,
        "schedule": way.schedule,
        "guidance": way.guidance,
        **{name: getattr(report.best, name) for name in ("solver", "places", "error")},
        "truth_error": report.doubt,
        "usual": report.usual._asdict(),
        "named": report.named._asdict(),
    }


def table(ways: Sequence[Sampler], reports: Sequence[Tuning]) -> list[str]:
    """For each number of steps: how it was, the best with a name, and what was found."""
    from ornstein.tune import is_deterministic

    noisy = {way.solver for way in ways if not is_deterministic(way.solver)}
    first = "noiseless" if noisy else "as it was"
    lines = [
        "",
        f"{'steps':>5}  {'':<12}{'solver':<20}{'grid':<14}{'distance from the truth':>23}",
    ]
    for report in reports:
        best = report.best
        rows = [
            (first, *report.usual),
            ("best named", *report.named),
            ("tuned", best.solver, "tuned", best.error),
        ]
        for what, solver, grid, error in rows:
            steps = best.steps if what == first else ""
            lines.append(f"{steps:>5}  {what:<12}{solver:<20}{grid:<14}{error:>23.4g}")
    worst = max(report.doubt for report in reports)
    lines.append(f"(RMS per dimension, data of deviation 1; the truth is sure to {worst:.1g})")
    if noisy:
        lines.append(
            f"(noiseless: as it was, {' and '.join(sorted(noisy))} drew noise and has no such "
            f"distance, so {reports[0].usual.solver} stands in for it)"
        )
    return [*lines, ""]


def closing(bundle: Bundle, path: Path, target: str, way: Sampler) -> str:
    """Where it is, and how to use it."""
    usual, words = bundle.how(), [f"ornstein sample {target} --steps {way.steps}"]
    words += [f"--guidance {way.guidance:g}"] if way.guidance != usual.guidance else []
    words += [f"--schedule {way.schedule}"] if way.schedule != usual.schedule else []
    return f"saved      {path}   {' '.join(words)}  uses it"
