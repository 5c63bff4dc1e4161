"""``python -m benchmarks``: measurements against peers and of finished runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ornstein.errors import OrnsteinError

OUT = click.Path(path_type=Path, file_okay=False)
PEER_PYTHON = Path("peers/bin/python")


@click.group()
def main() -> None:
    """Measure ornstein, alone and beside other libraries."""


@main.command()
@click.option("--minutes", default=10.0, show_default=True, help="Training time of each.")
@click.option("--data", default="fashion-mnist", show_default=True)
@click.option("--peers", default="", help="Comma-separated: diffusers,diffusers-tuned,lucidrains.")
@click.option("--peer-python", type=click.Path(path_type=Path), default=PEER_PYTHON)
@click.option("-n", default=10_000, show_default=True, help="Samples of ornstein.")
@click.option("--peer-n", default=2_000, show_default=True, help="Samples of each peer.")
@click.option("--steps", type=int, help="Steps of ornstein's sampler; default its own.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=OUT, default=Path("runs/benchmark-quality"), show_default=True)
@click.option("--score-only", is_flag=True, help="Score what lies in --out, train nothing.")
def quality(
    minutes: float,
    data: str,
    peers: str,
    peer_python: Path,
    n: int,
    peer_n: int,
    steps: int | None,
    seed: int,
    out: Path,
    score_only: bool,
) -> None:
    """Quality of samples after equal training time."""
    from benchmarks.contestants import Ask
    from benchmarks.quality import compete, report
    from ornstein.data import open_data

    names = tuple(name.strip() for name in peers.split(",") if name.strip())
    if score_only:
        click.echo(report(open_data(data), out, ("ornstein", *names)))
        return
    click.echo(compete(Ask(data, minutes, out, seed), names, peer_python, n, peer_n, steps))


def _racing(task: str) -> click.Command:
    """The command that races the libraries at one kind of work."""

    @click.option("--variant", "names", multiple=True, help="Only these; the first is the base.")
    @click.option("--compile", "compiled", is_flag=True, help="Peers compiled: minutes to begin.")
    @click.option("--bfloat16", "half", is_flag=True, help="For processors that have it.")
    @click.option("--rounds", default=5, show_default=True)
    @click.option("--batch", default=64, show_default=True, help="Pictures at a time.")
    @click.option("--peer-python", type=click.Path(path_type=Path), default=PEER_PYTHON)
    @click.option("--out", type=OUT, default=Path(f"runs/benchmark-{task}"), show_default=True)
    @click.option(
        "--processor-time", is_flag=True, help="For a busy machine, with OMP_NUM_THREADS=1."
    )
    @click.option("--docs", is_flag=True, help="Put the table into docs/speed.md as well.")
    def command(
        names: tuple[str, ...],
        compiled: bool,
        half: bool,
        rounds: int,
        batch: int,
        peer_python: Path,
        out: Path,
        processor_time: bool,
        docs: bool,
    ) -> None:
        from benchmarks import standings
        from benchmarks.racing import race
        from benchmarks.variants import chosen

        extras = {name for name, asked in (("compile", compiled), ("bfloat16", half)) if asked}
        variants = chosen(names, extras, peer_python, task)
        out.mkdir(parents=True, exist_ok=True)
        clock, log = "processor" if processor_time else "seconds", out / "log.txt"
        run = race(variants, task, rounds, batch, peer_python, log, click.echo, clock)
        text = standings.kept(task, run, out)
        click.echo(text)
        if docs:
            standings.into_docs(task, text)

    abouts = {
        "train": "Time a step of training, of ornstein and of peers in turn.",
        "sample": "Time an evaluation when sampling, of ornstein and of peers in turn.",
    }
    return click.command(task, help=abouts[task])(command)


@main.command()
@click.option("--batch", default=16, show_default=True, help="Pictures at a time.")
@click.option("--seconds", default=60.0, show_default=True, help="Time for all, about.")
@click.option("--bfloat16", "half", is_flag=True, help="For processors that have it.")
def limit(batch: int, seconds: float, half: bool) -> None:
    """The convolutions of a step alone, which no other program could leave out."""
    from benchmarks.limit import measure

    click.echo(measure(batch, seconds, half=half))


for task in ("train", "sample"):
    main.add_command(_racing(task))


@main.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=8, show_default=True)
def first(model: Path, rounds: int) -> None:
    """The first picture from a cold start, in times of torch's import."""
    from benchmarks.first import measure

    click.echo(measure(model, rounds, click.echo))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-n", default=1_000, show_default=True, help="Samples, the same of each class.")
@click.option("--steps", type=int, help="Steps of the sampler; default its own.")
@click.option("--seed", default=0, show_default=True)
def demo(run: Path, n: int, steps: int | None, seed: int) -> None:
    """Accuracy, class histogram and Fréchet distance of a labelled run's samples."""
    from benchmarks.quality import demo as measure

    click.echo(str(measure(run, n, steps, seed)))


@main.command()
@click.option("--steps", type=int, help="Steps of the training; default those of the settings.")
@click.option("--probes", default=2, show_default=True, help="0 for the exact trace.")
@click.option("--out", type=OUT, default=Path("runs/benchmark-likelihood"), show_default=True)
def likelihood(steps: int | None, probes: int, out: Path) -> None:
    """Bits per pixel on digits of writers that were not trained on."""
    from benchmarks.likelihood import digits

    digits(out, steps, probes, click.echo)


@main.command()
@click.option("--target", "targets", multiple=True, help="gmm2, gmm16; default both.")
@click.option("--evaluations", type=int, multiple=True, help="5, 8, 10, 15, 20; default all.")
@click.option(
    "--peer-python",
    type=click.Path(path_type=Path),
    help="Let the peers there walk too; else their best is what it was once.",
)
def solvers(
    targets: tuple[str, ...], evaluations: tuple[int, ...], peer_python: Path | None
) -> None:
    """Error of few evaluations against an exact score: tuned, and beside the peers' best."""
    from benchmarks.bars import EVALUATIONS
    from benchmarks.solvers import TARGETS, report

    unknown = [str(v) for v in {*targets} - {*TARGETS} | {*evaluations} - {*EVALUATIONS}]
    if unknown:
        raise click.UsageError(f"there is no bar for {', '.join(unknown)}.")
    report(targets or tuple(TARGETS), evaluations or EVALUATIONS, click.echo, peer_python)


@main.command()
@click.option("--steps", default=1_000, show_default=True, help="Steps of training.")
@click.option("--marks", default=4, show_default=True, help="Moments at which is measured.")
@click.option("--draws", default=100, show_default=True, help="Gradients taken at each.")
@click.option("--out", type=OUT, default=Path("runs/benchmark-times"), show_default=True)
def times(steps: int, marks: int, draws: int, out: Path) -> None:
    """Variance of the bound's gradient, with even levels and with importance-sampled ones."""
    from benchmarks.times import measure

    click.echo(measure(steps, marks, draws, out))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--upscaler", type=click.Path(path_type=Path), help="A model trained to upscale.")
@click.option("--task", "tasks", multiple=True, help="middle, lower, scattered, x4; default all.")
@click.option("--method", "methods", multiple=True, help="As of ornstein edit; default all.")
@click.option("-n", default=64, show_default=True, help="Held-out pictures.")
@click.option("--versions", default=3, show_default=True, help="Of each picture.")
@click.option("--steps", type=int, help="Steps of the sampler; default its own.")
@click.option("--out", type=OUT, default=Path("runs/benchmark-edit"), show_default=True)
def edit(
    run: Path,
    upscaler: Path | None,
    tasks: tuple[str, ...],
    methods: tuple[str, ...],
    n: int,
    versions: int,
    steps: int | None,
    out: Path,
) -> None:
    """Holes filled and small pictures enlarged, held out, by every method."""
    from benchmarks.editing import TASKS, compare
    from ornstein.editing import METHODS

    for line in compare(
        run, upscaler, tasks or TASKS, methods or METHODS, n, versions, steps, out
    ):
        click.echo(line)


if __name__ == "__main__":
    try:
        main()
    except OrnsteinError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
