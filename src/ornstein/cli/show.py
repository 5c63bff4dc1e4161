"""``ornstein show``: what a model is, what it costs, and how its training went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein import jsons
from ornstein.cli.options import Place, run_options, target_argument

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.model import Model
    from ornstein.viz.anatomy import Anatomy

LOG_ROWS, NAMES = 8, 10  # of a log and of the classes that are shown
USUAL_BATCH = 64  # for the memory of a model whose training settings are not at hand


@click.command("show")
@target_argument
@click.option("--plots", is_flag=True, help="Draw the training and the process (matplotlib).")
@click.option(
    "--diagram",
    "drawing",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the network's parts and what each reads, as an SVG file.",
)
@click.option("--out", type=Place(), help="Folder for the plots.")
@run_options
def command(
    target: str,
    plots: bool,
    drawing: Path | None,
    out: Path | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show a model: settings, layers, parameters, operations, memory, training so far.

    RUN-OR-FILE is a run's name, its folder or a model file; a file knows its own description but
    not the settings and the log of its training.
    """
    from ornstein.bundle import load
    from ornstein.cli.drawing import report
    from ornstein.cli.places import output_folder, run_folder
    from ornstein.cli.plots import draw, draw_diagram
    from ornstein.viz.anatomy import examine

    bundle = load(target, runs)
    folder = run_folder(target, runs)
    net = bundle.model.net
    anatomy = examine(net, bundle.shape, net.options()["conditions"])  # type: ignore[operator]
    facts = facts_of(bundle, anatomy, folder)
    files: dict[str, Path] = {}
    if drawing is not None:
        files["diagram"] = draw_diagram(anatomy, facts, drawing)
    if plots:
        files |= draw(bundle, facts["log"], output_folder(target, runs, "plots", out))
    if as_json:
        click.echo(jsons.dumps({**facts, "plots": {k: str(p) for k, p in files.items()}}))
        return
    for line in [*head(facts), "", *layers(anatomy), *settings(facts), *training(facts["log"])]:
        click.echo(line)
    report(files, as_json, quiet)


def facts_of(bundle: Bundle, anatomy: Anatomy, folder: Path | None) -> dict[str, Any]:
    """All there is to know, as JSON values."""
    facts: dict[str, Any] = {
        "net": bundle.net,
        "options": bundle.model.net.options(),  # type: ignore[operator]
        "target": bundle.target,
        "process": bundle.process,
        "process_options": dict(bundle.process_options),
        "kind": bundle.kind,
        "shape": list(bundle.shape),
        "classes": list(bundle.classes),
        "conditions": [
            {key: getattr(said, key) for key in ("name", "kind", "names", "low", "high")}
            for said in bundle.conditions
        ],
        "sampler": bundle.sampler.settings,
        "tuned": [found.settings for found in sorted(bundle.tuned, key=lambda one: one.suits)],
        "weights": bundle.weights,
        "fingerprint": bundle.fingerprint,
        "provenance": dict(bundle.provenance),
        "parameters": anatomy.parameters,
        "fitted": anatomy.fitted,
        "flops": anatomy.flops,
        "bytes": anatomy.weights_bytes(),
        "bytes_per_item": anatomy.kept_bytes,
        "layers": [row._asdict() for row in anatomy.rows],
        "run": None,
        "config": {},
        "changed": [],
        "log": [],
        "batch": USUAL_BATCH,
        "optimizer": "adamw",
    }
    if folder is not None:
        facts.update(_of_run(folder))
    kept = moments(bundle.model, facts["optimizer"])
    facts["training_bytes"] = anatomy.training_bytes(facts["batch"], kept)
    return facts


def _of_run(folder: Path) -> dict[str, Any]:
    from ornstein.config import Config
    from ornstein.run import Run

    run = Run(folder)
    config = run.config
    return {
        "run": {"folder": str(folder), "name": run.name, **run.record, "state": run.state},
        "config": config.flat(),
        "changed": sorted(config.changes(Config())),
        "log": run.log,
        "batch": config.train.batch or USUAL_BATCH,
        "optimizer": config.train.optimizer or "adamw",
    }


def moments(model: Model, optimizer: str) -> int:
    """Numbers that the optimiser remembers: AdamW two for each weight, Muon one for its own."""
    from ornstein.training.muon import matrices

    spared = matrices(model) if optimizer == "muon" else []
    return 2 * sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in spared)


def head(facts: dict[str, Any]) -> list[str]:
    """What it is, in a few lines."""
    from ornstein.cli.sample import way_of
    from ornstein.displays import duration
    from ornstein.viz.anatomy import bytes_text, count_text, shape_text

    lines = []
    run, made = facts["run"], facts["provenance"]
    if run is not None:
        steps = f"step {run.get('step', 0):,} of {run.get('steps', 0):,}"
        spent = duration(run.get("seconds", 0))
        lines.append(f"run        {run['folder']}: {run['state']}, {steps}, {spent}")
    classes = f", {len(facts['classes'])} classes" if facts["classes"] else ""
    origin = f"{made.get('source', 'unknown')} (licence: {made.get('licence', 'unknown')})"
    lines.append(
        f"data       {facts['kind']} {shape_text(tuple(facts['shape']))}{classes}: {origin}"
    )
    if facts["conditions"]:
        lines.append(f"told       {'; '.join(map(told, facts['conditions']))}")
    trained = f"predicts '{facts['target']}', trained on '{facts['process']}'"
    lines.append(
        f"model      {facts['net']}, {trained}; weights: {facts['weights']}; "
        f"fingerprint {facts['fingerprint']}"
    )
    by = facts["sampler"]
    lines.append(f"sampler    {way_of({**by, 'schedule': by['schedule'] or facts['process']})}")
    lines += tuned(facts["tuned"], by["solver"])
    fitted = f" and {facts['fitted']:,} numbers fitted beforehand" if facts["fitted"] else ""
    lines.append(
        f"size       {facts['parameters']:,} parameters{fitted}, {bytes_text(facts['bytes'])}; "
        f"{count_text(facts['flops'])}FLOP to look at one item once"
    )
    lines.append(
        f"memory     about {bytes_text(facts['training_bytes'])} to train at batch "
        f"{facts['batch']} with {facts['optimizer']} "
        f"({bytes_text(facts['bytes_per_item'])} an item)"
    )
    return lines


def tuned(found: list[dict[str, Any]], solver: str) -> list[str]:
    """What was found for the model, and how far from the truth its own solver ended before.

    One that draws noise ends elsewhere each time, so that another stood in for it.
    """
    from ornstein.tune import is_deterministic

    before = "before" if not found or is_deterministic(solver) else "without noise before"
    return [
        f"tuned      {len(one['places']) - 1} steps on {one['schedule']}, guidance "
        f"{one['guidance']:g}: {one['solver']}, {one['error']:.3g} from the truth, "
        f"{one['before']:.3g} {before}"
        for one in found
    ]


def told(condition: dict[str, Any]) -> str:
    """What may be said under a name: "tags (tags: big, round)", "size (numbers from 1 to 9)"."""
    names = list(condition["names"])
    if condition["kind"] == "numbers":
        spans = zip(condition["low"], condition["high"], strict=True)
        within = " from " + ", ".join(f"{low:g} to {high:g}" for low, high in spans)
    elif names:
        more = f", ... {len(names)} in all" if len(names) > NAMES else ""
        within = f": {', '.join(names[:NAMES])}{more}"
    else:
        within = ""
    return f"{condition['name']} ({condition['kind']}{within})"


def layers(anatomy: Anatomy) -> list[str]:
    """The parts of the network as a table."""
    from ornstein.viz.anatomy import count_text, shape_text

    table = [("layer", "what it is", "output", "parameters", "FLOP")]
    table += [
        (r.name, r.kind, shape_text(r.shape), f"{r.parameters:,}", count_text(r.flops).strip())
        for r in anatomy.rows
    ]
    table.append(("all", "", "", f"{anatomy.parameters:,}", count_text(anatomy.flops).strip()))
    wide = [max(len(row[k]) for row in table) for k in range(5)]
    return [
        "  "
        + "  ".join(f"{cell:{side}{w}}" for cell, side, w in zip(row, "<<>>>", wide, strict=True))
        for row in table
    ]


def settings(facts: dict[str, Any]) -> list[str]:
    """Every setting; those that are not the default bear a star."""
    if not facts["config"]:
        return []
    lines = ["", "settings   (* differs from the default; all in config.toml)"]
    for name, value in facts["config"].items():
        star = "*" if name in facts["changed"] else " "
        shown = "auto" if value is None else jsons.dumps(value, default=str)
        lines.append(f"  {star} {name} = {shown}")
    return lines


def training(log: list[dict[str, Any]]) -> list[str]:
    """The losses so far, a few rows over the whole training."""
    losses = [r for r in log if r.get("loss") is not None]
    if not losses:
        return []
    held = [(r["step"], r["heldout"]) for r in log if r.get("heldout") is not None]
    size = -(-len(losses) // LOG_ROWS)
    lines = ["", "training   step       loss   held out"]
    for k in range(0, len(losses), size):
        group = losses[k : k + size]
        step = group[-1]["step"]
        mean = sum(r["loss"] for r in group) / len(group)
        known = [value for at, value in held if at <= step]
        lines.append(f"  {step:>13,} {mean:>10.4f} " + (f"{known[-1]:>10.4f}" if known else ""))
    return lines
