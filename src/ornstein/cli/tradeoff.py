"""``ornstein viz guidance``: what guidance trades, measured on the samples of a model."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons
from ornstein.cli.guiding import asked_of, guide_options
from ornstein.cli.options import (
    SEED,
    Amount,
    Place,
    asked,
    run_options,
    sampler_options,
    target_argument,
)
from ornstein.cli.walks import opened
from ornstein.errors import UsageError

if TYPE_CHECKING:
    from ornstein.evaluate import Quality
    from ornstein.viz.tradeoff import Scale

METRICS = ("frechet_train", "precision", "recall")


class Scales(click.ParamType[tuple[float, ...]]):
    """One or more numbers between commas."""

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return them.

        Raises:
            click.BadParameter: something else, none at all, or a scale out of bounds.
        """
        one = Amount(0, 100, whole=False)
        words = [word for word in str(value).strip("()").split(",") if word.strip()]
        if not words:
            self.fail(f"'{value}' names no scale; give at least one, as in 1,2,4.", param, ctx)
        return tuple(float(one.convert(word, param, ctx)) for word in words)


@click.command("guidance")
@target_argument
@click.argument("source", metavar="[DATA]", required=False)
@click.option("--scales", type=Scales(), default="1,1.5,2,3,4", show_default=True,
              help="Scales of guidance, between commas.")  # fmt: skip
@click.option("-n", "--count", type=Amount(50, 100_000), default=1000, show_default=True,
              help="Samples for each scale.")  # fmt: skip
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the samples.")
@partial(sampler_options, hidden=("guidance",))
@guide_options
@click.option("--out", type=Place(),
              help="Folder; default eval/ in the run.")  # fmt: skip
@run_options
def guidance(
    target: str,
    source: str | None,
    scales: tuple[float, ...],
    count: int,
    seed: int,
    out: Path | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw what guidance trades: precision and recall, distance and accuracy, scale by scale.

    DATA is what the model was trained on if it is not named. All scales start from the same noise;
    needs matplotlib.
    """
    from ornstein.cli.drawing import report
    from ornstein.cli.evaluate import data_of, folder_of, judged
    from ornstein.displays import Count
    from ornstein.evaluate import score
    from ornstein.judging import plan, samples_of
    from ornstein.judging.affording import check_fit
    from ornstein.training.disk import make_folder, write_atomically
    from ornstein.viz.schedule import new_figure
    from ornstein.viz.tradeoff import draw_tradeoff

    if "guidance" in asked():
        raise UsageError("the scales to compare go into --scales, as in --scales 1,2,4.")
    new_figure((1.0, 1.0))  # where nothing can be drawn, nothing is spent
    bundle = opened(target, runs)
    way = bundle.how(**asked_of(bundle, scaled=True))
    for scale in scales:
        bundle.check_guidance(scale, way.guide)
    talks = not as_json and not quiet
    data = data_of(target, source, bundle, runs)
    check_fit(bundle, data)
    reference = judged(data, "auto", talks)
    points: list[tuple[float, Quality]] = []
    for scale in scales:
        made = plan(
            bundle, data, reference, sampler=replace(way, guidance=scale), n=count, seed=seed,
            likelihood=False,
        )  # fmt: skip
        with Count(f"guidance {scale:g}", shown=talks) as counted:
            samples = samples_of(made, progress=counted)
        quality = score(
            samples.items, reference, asked=samples.asked, made=samples.settings, metrics=METRICS
        )
        points.append((scale, quality))
        if talks:
            click.echo(_line(_scale(scale, quality), _few(quality)))
    folder = out or folder_of(target, runs)
    make_folder(folder)
    numbers = [{"guidance": s, **json.loads(q.to_json())} for s, q in points]
    write_atomically(folder / "guidance.json", jsons.dumps(numbers, indent=1).encode())
    first = points[0][1]
    figure = draw_tradeoff(
        [_scale(*one) for one in points], _scale(0.0, first, floor=True),
        folder / "guidance.png", _few(first),
    )  # fmt: skip
    report({"guidance": figure, "numbers": folder / "guidance.json"}, as_json, quiet)


def _scale(scale: float, quality: Quality, floor: bool = False) -> Scale:
    from ornstein.viz.tradeoff import Scale

    distance, precision, recall = (
        quality.rows[name].floor if floor else quality.rows[name].value for name in METRICS
    )
    row = quality.rows[METRICS[0]]
    right = quality.judge_accuracy if floor else quality.accuracy
    return Scale(scale, precision, recall, distance, row.floor if floor else row.matched, right)


def _few(quality: Quality) -> int | None:
    """Real items that the distance of samples stands beside, where they are fewer."""
    row = quality.rows[METRICS[0]]
    return row.floor_n if row.floor_n < row.n else None


def _line(found: Scale, few: int | None) -> str:
    right = "" if found.accuracy is None else f", {found.accuracy:.1%} of the class asked for"
    part = "" if few is None else f" (of {few:,} samples {found.matched:.3g})"
    return (
        f"{found.scale:>8g}   precision {found.precision:.3f}, recall {found.recall:.3f}, "
        f"Fréchet {found.frechet:.3g}{part}{right}"
    )
