"""``ornstein likelihood``: how likely data are under a trained model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from ornstein import jsons
from ornstein.cli.options import (
    ITEMS,
    SEED,
    STEPS,
    Amount,
    check_heard,
    chosen,
    run_options,
    target_argument,
)
from ornstein.cli.walks import opened

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ornstein.bundle import Bundle
    from ornstein.data import Dataset
    from ornstein.likelihood import Likelihood

METHODS = ("ode", "bound")
PARTS = ("heldout", "train", "all")
UNITS = ("bits", "nats")
ODE, BOUND = ("--method ode",), ("--method bound",)
OF = {"probes": ODE, "draws": ODE, "tolerance": ODE, "steps": BOUND}
"""Options that say something to one method only."""
TITLES = {"prior": "L_T", "steps": "steps", "decoder": "L_0", "width": "width of a level"}
"""Names of the terms of a bound."""


@click.command("likelihood")
@target_argument
@click.argument("source", metavar="DATA")
@click.option("-n", "--count", type=ITEMS, default=256, show_default=True, help="Items at most.")
@click.option("--part", help="heldout, train or all; default held out if DATA was trained on.")
@click.option("--method", default="ode", show_default=True, help="ode, or bound: an upper bound.")
@click.option(
    "--probes",
    type=Amount(0, 1000),
    help="Random probes of the trace; 0 is exact, which is the default up to 64 dimensions.",
)
@click.option(
    "--draws",
    type=Amount(1, 1000),
    default=1,
    show_default=True,
    help="Draws of the noise between levels, importance-weighted: the bound falls.",
)
@click.option(
    "--tolerance",
    type=Amount(1e-9, 0.1, whole=False),
    default=1e-4,
    show_default=True,
    help="Of each step of the solver.",
)
@click.option("--steps", type=STEPS, default=250, show_default=True, help="Of the bound's chain.")
@click.option("--unit", help="bits or nats; refused where it has no meaning.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of all that is random.")
@click.option("--batch", type=Amount(1, 100_000), default=128, help="Rows at a time.")
@run_options
def command(
    target: str,
    source: str,
    count: int,
    part: str | None,
    method: str,
    probes: int | None,
    draws: int,
    tolerance: float,
    steps: int,
    unit: str | None,
    seed: int,
    batch: int,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Tell how likely DATA is under a model, in bits or nats for each dimension.

    8-bit pictures have probabilities, in bits: less is better. Real numbers have densities, in
    nats: more is better. The answer says its errors, what was done to the data, and what it is
    the likelihood of.
    """
    for what, name, table in (("method", method, METHODS), ("part", part, PARTS)):
        chosen(what, name, table)
    chosen("unit", unit, UNITS)
    check_heard(OF, f"--method {method}")
    from ornstein.displays import Count
    from ornstein.likelihood import bounded, likelihood

    bundle = opened(target, runs)
    asked = items_of(bundle, source, part, count)
    check_unit(bundle, unit)
    coding, raw, of = bundle.coding.density(asked.raw)
    bundle, asked = replace(bundle, coding=coding), asked._replace(raw=raw)
    talks = not as_json and not quiet
    if talks:
        for line in [*asked.told(bundle), *announced(bundle, asked, method, probes, draws,
                                                     tolerance, steps, batch)]:  # fmt: skip
            click.echo(line)
    with Count("likelihood", shown=talks) as counted:
        if method == "ode":
            found = likelihood(
                bundle, asked.raw, asked.cond, draws=draws, probes=probes, tolerance=tolerance,
                seed=seed, batch=batch, progress=counted,
            )  # fmt: skip
        else:
            found = bounded(
                bundle, asked.raw, asked.cond, steps=steps, seed=seed, batch=batch,
                dequantised=bool(bundle.provenance.get("dequantised")), progress=counted,
            )  # fmt: skip
    found = replace(found, of=f"{found.of}; {of}") if of else found
    if as_json:
        facts = {"method": method, "part": asked.part, "model": bundle.fingerprint}
        click.echo(jsons.dumps({**facts, **found.to_json()}))
        return
    for line in table_of(found) if not quiet else [f"{found.per_dim:.6g} {found.unit}/dim"]:
        click.echo(line)


class Asked(NamedTuple):
    """The items that are measured.

    Attributes:
        raw: In raw units, (n, *shape).
        cond: What is said of them under the names that the model knows.
        part: Which part of the data they are.
        name: Of the data.
    """

    raw: np.ndarray
    cond: dict[str, Tensor]
    part: str
    name: str

    def told(self, bundle: Bundle) -> list[str]:
        """What is measured, and what its reader should know."""
        given = f", given: {', '.join(self.cond)}" if self.cond else ""
        lines = [f"data       {self.name}: {len(self.raw):,} items ({self.part}){given}"]
        levels = bundle.coding.step is not None
        if levels and not bundle.provenance.get("dequantised"):
            lines.append(
                "note       this model saw levels without noise between them, so a density is not "
                "what it learned; train with --set data.dequantise=true"
            )
        return lines


def items_of(bundle: Bundle, source: str, part: str | None, count: int) -> Asked:
    """Open the data and take items, evenly spread: held-out ones, if it was trained on them."""
    import numpy as np

    from ornstein.data import open_data
    from ornstein.training.batches import evenly

    data = _known(bundle, open_data(source, like=bundle.coding))
    if data.kind == bundle.kind == "image" and data.shape[1:] != bundle.shape[1:]:
        data = _known(bundle, open_data(source, size=(bundle.shape[1], bundle.shape[2])))
    own = data.known_as(bundle.provenance.get("fingerprint"))
    part = part or ("heldout" if own and len(data.heldout) else "all")
    parts = {"heldout": data.heldout, "train": data.train, "all": np.arange(len(data))}
    # Folders are in the order of their classes: the first items would be of the first of them.
    picked = parts[part][evenly(len(parts[part]), count).numpy()]
    return Asked(_checked(data, part, picked), data.condition_batch(picked), part, data.name)


def _known(bundle: Bundle, data: Dataset) -> Dataset:
    """The data with what the model can be told of them."""
    from dataclasses import replace

    from ornstein.data.conditions import as_known

    return replace(data, conditions=as_known(data.conditions, bundle.conditions))


def _checked(data: Dataset, part: str, picked: np.ndarray) -> np.ndarray:
    from ornstein.errors import UsageError

    if len(picked) == 0:
        raise UsageError(f"'{data.name}' has no items in the part '{part}'; take --part all.")
    return data.raw(picked)


def check_unit(bundle: Bundle, unit: str | None) -> None:
    """Refuse a unit that has no meaning for the model's data, before anything is spent."""
    from ornstein.errors import UsageError
    from ornstein.likelihood.answer import WHY

    fits = "nats" if bundle.coding.step is None else "bits"
    if unit not in (None, fits):
        raise UsageError(WHY[str(unit)])


def announced(
    bundle: Bundle,
    asked: Asked,
    method: str,
    probes: int | None,
    draws: int,
    tolerance: float,
    steps: int,
    batch: int,
) -> list[str]:
    """How it is measured and what that will cost."""
    from ornstein.displays import duration
    from ornstein.likelihood import Hutchinson, cost
    from ornstein.likelihood.divergence import chosen as way_of

    if method == "bound":
        return [
            f"method     variational bound, chain of {steps:,} steps",
            f"cost       {steps:,} evaluations of the network for each item",
        ]
    way = way_of(math.prod(bundle.shape), probes)
    trace = f"{way.count} random probes" if isinstance(way, Hutchinson) else "exact trace"
    price = cost(
        bundle, len(asked.raw), draws=draws, probes=probes, tolerance=tolerance, batch=batch
    )
    passes = f"{price.forward:,} evaluations of the network and {price.backward:,} passes back"
    return [
        f"method     probability-flow ODE, {trace}, tolerance {tolerance:g}",
        f"cost       about {passes} for each item: about {duration(price.seconds)} here",
    ]


def table_of(found: Likelihood) -> list[str]:
    """The answer as a table."""
    unit, dims = found.unit, found.dims
    whole = "code length" if unit == "bits" else "log density"
    rows = [
        (f"{unit}/dim", found.per_dim, found.standard_error / dims, "± s.e. over the items"),
        (f"{unit}/item", found.value, found.standard_error, f"{whole} of {dims:,} dimensions"),
    ]
    lines = [f"{a:<10} {b:.4f} ± {c:.4f}   ({d})" for a, b, c, d in rows]
    if found.terms:
        added = ", ".join(f"{TITLES[name]} {v:z.4f}" for name, v in found.terms.items())
        lines.append(f"terms      {added} {unit}/dim, which add up to it")
    parts = {"probes": found.probe_error / dims, "solver": found.solver_error / dims}
    known = [f"{k} {v:.1g}" for k, v in parts.items() if math.isfinite(v)]
    return [
        *lines,
        f"errors     {', '.join(known) or 'unknown apart'} {unit}/dim, of the whole",
        f"calls      {found.evaluations:.0f} evaluations of the network for each item",
        f"levels     {found.dequantisation}",
        f"this is    {found.of}",
    ]
