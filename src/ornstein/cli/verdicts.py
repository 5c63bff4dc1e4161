"""What ``ornstein evaluate`` says: what it will measure and at what cost, and what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein import jsons

if TYPE_CHECKING:
    from ornstein.judging import Measured, Plan


def announced(plan: Plan, against: str | None) -> list[str]:
    """What will be measured by what, and what that costs."""
    from ornstein.displays import duration

    features, data = plan.reference.features, plan.data
    sure = f", right on {features.accuracy:.1%} of held-out items" if features.accuracy else ""
    own = "" if plan.own else "; not the data it was trained on"
    way = plan.sampler
    held = f"; bound of {plan.likelihood} + {plan.likelihood} items, about " + duration(
        plan.likelihood_seconds
    )
    twice = 2 if against else 1
    sizes = f"{len(data.train):,} for training, {len(data.heldout):,} held out"
    return [
        f"data       {data.name}: {sizes}{own}",
        f"judge      {features.name} {features.digest}{sure}",
        f"samples    {plan.n:,} by {way.solver}, {way.steps} steps, guidance {way.guidance:g}, "
        f"seed {plan.seed}" + (f"; as many by {against}" if against else ""),
        *_told(plan),
        f"cost       about {duration(twice * plan.seconds)} for the samples"
        + (held if plan.likelihood else ""),
    ]


def _told(plan: Plan) -> list[str]:
    """What the samples are told, where that is not just a class of the data."""
    names = ", ".join(condition.name for condition in plan.told)
    if names:
        return [f"told       each sample what a held-out item says: {names}"]
    beyond = ", ".join(c.name for c in plan.bundle.conditions if c.name != "class")
    if plan.bundle.classes and not plan.classed:
        rest = f", and nothing of {beyond}" if beyond else ""
        return [f"told       each class of the model in turn{rest}: the data do not say them"]
    return [f"told       nothing: the data do not say {beyond}"] if beyond else []


def novelty_facts(found: Measured) -> dict[str, Any]:
    """Novelty and variety for programs."""
    facts = json.loads(found.quality.to_json())
    if found.other is not None:
        name, rows = found.other
        facts["other"] = {"solver": name, **{key: vars(row) for key, row in rows.items()}}
    return dict(facts)


def tell(found: Measured, files: dict[str, Path], alone: bool, as_json: bool, quiet: bool) -> None:
    """Print the numbers and where they are."""
    from ornstein.judging.page import told_control, told_novelty, verdict
    from ornstein.judging.tables import lines

    if as_json:
        paths = {kind: str(path) for kind, path in files.items()}
        click.echo(jsons.dumps({**novelty_facts(found), "files": paths}))
        return
    if quiet:
        for line in verdict(found):
            click.echo(line)
        return
    click.echo("")
    click.echo(str(found.quality))
    if found.other is not None:
        for line in variety_of(found):
            click.echo(line)
    for line in likelihood_lines(found):
        click.echo(line)
    if checked := found.quality.beside.get("table"):
        click.echo("")
        for line in lines(checked):
            click.echo(line)
    click.echo("")
    for each in found.novelty:
        click.echo(told_novelty(each))
        if warning := told_control(each):
            click.echo(warning)
    click.echo("")
    for kind, path in files.items():
        click.echo(f"{kind:<18} {path}")


def likelihood_lines(found: Measured) -> list[str]:
    """The bound of held-out and training items."""
    beside = found.quality.beside.get("likelihood")
    if not beside:
        return []
    from ornstein.judging.page import told_likelihood

    parts = []
    for name, title in (("heldout", "held out"), ("train", "training")):
        parts.append(f"{title} {told_likelihood(beside[name])}")
    unit = beside["heldout"]["unit"]
    return [f"likelihood, bound in {unit}/dim: {', '.join(parts)}"]


def variety_of(found: Measured) -> list[str]:
    """Recall, coverage and distances of the two ways of sampling side by side."""
    from ornstein.evaluate import METRICS, Number

    assert found.other is not None  # asked for by the caller
    other, rows = found.other
    own = found.plan.sampler.solver
    lines = ["", f"{'variety':36}{own:>18}{other:>18}{'real data':>18}"]
    for key, row in rows.items():
        mine = found.quality.rows[key]
        pair = [str(Number(r.value, r.error)) for r in (mine, row)]
        lines.append(f"{METRICS[key].title:36}{pair[0]:>18}{pair[1]:>18}{mine.floor:>18.4g}")
    return lines
