"""The report as one HTML file: numbers, pictures and plots inside, nothing asked of a server."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from ornstein.evaluate import METRICS, Novelty, Number, Quality
from ornstein.evaluate.stamp import spelt
from ornstein.judging import charts
from ornstein.judging.measuring import Measured
from ornstein.judging.pictures import data_uri, nearest_sheet, real_sheet, sample_sheet
from ornstein.judging.records import Kept

BETTER = {"less": "less is better", "more": "more is better", "near": "as real data is best"}


def page(
    found: Measured,
    name: str,
    command: str,
    log: Sequence[dict[str, Any]] = (),
    earlier: Sequence[Kept] = (),
) -> str:
    """Build the report of one measurement.

    Args:
        found: What was measured.
        name: Of the run or the model.
        command: That measures the same again.
        log: Log of the training.
        earlier: All measurements of the run, this one among them.
    """
    quality = found.quality
    parts = [
        _head(found, name),
        *(f'<p class="verdict">{html.escape(line)}</p>' for line in verdict(found)),
        _section("Numbers", _table(quality)),
        _section("Samples, and real items that were held out", _sheets(found)),
        _section("Classes", _classes(found)) if quality.found else "",
        _section("Nearest training items", _nearest(found)),
        _section("Likelihood", _likelihood(quality)) if "likelihood" in quality.beside else "",
        _section("Over the training", _curves(log, earlier, quality)),
        _section("Protocol", _protocol(quality, command)),
    ]
    style = files("ornstein.judging").joinpath("page.css").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(name)}: quality</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def verdict(found: Measured) -> list[str]:
    """What the numbers say, in sentences."""
    lines = []
    if row := found.quality.rows.get("frechet_train"):
        times = f"{row.matched / row.floor:.2g} times that" if row.floor > 0 else "beside 0"
        few = "" if row.floor_n == row.n else f"; of as many samples {row.matched:.3g}"
        lines.append(
            f"Fréchet distance to the training data {Number(row.value, row.error)}{few}, {times} "
            f"of {row.floor_n:,} real held-out items ({row.floor:.3g})."
        )
    return lines + [told_novelty(each) for each in found.novelty]


def told_novelty(found: Novelty) -> str:
    """Whether there are copies, in one sentence."""
    odds = "below 0.001" if found.chance < 1e-3 else f"{found.chance:.2g}"
    what = "copies" if found.copies else "no sign of copies"
    return (
        f"In the {found.space}, {found.copied:.1%} of {len(found.samples.distance):,} samples lie "
        f"as near to one training item as {found.expected:.1%} of {found.by} do: {what}; chance "
        f"brings so many with probability {odds}."
    )


def told_control(found: Novelty) -> str | None:
    """A warning where the held-out items are no control, or the data repeat themselves."""
    parts = []
    if found.contaminated:
        parts.append(
            f"{found.control_copied:.1%} of the held-out items lie nearer to a training item than "
            f"{1 - found.expected:.0%} of the training items to each other: they are near copies, "
            "so the training items themselves are the control."
        )
    if found.twins > 0.001:
        only = ", and held-out items have none: the training items themselves are the control"
        only = only if found.repeating and not found.contaminated else ""
        parts.append(
            f"{found.twins:.1%} of the training items have an exact copy among them{only}."
        )
    return " ".join(parts) or None


def told_likelihood(one: Mapping[str, Any], unit: str = "") -> str:
    """A likelihood for one dimension with its error, of what its ``to_json`` gave."""
    if one["per_dim"] is None:
        return "not finite"
    error = (one["standard_error"] or 0) / one["dims"]
    return f"{one['per_dim']:.4f} ± {error:.4f} {unit}".rstrip()


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def _head(found: Measured, name: str) -> str:
    plan, stamp = found.plan, found.quality.stamp
    steps = plan.bundle.provenance.get("steps", 0)
    return (
        f"<header><h1>{html.escape(name)}</h1><p>{stamp.n:,} samples against "
        f"{html.escape(plan.data.name)} after {steps:,} steps of training</p>"
        f"<p>{html.escape(stamp.told_way())}</p></header>"
    )


def _table(quality: Quality) -> str:
    rows = []
    for key, row in quality.rows.items():
        metric = METRICS[key]
        few = f", samples {row.matched:.3g}" if row.floor_n < row.n else ""
        low, high = row.interval or (row.value, row.value)
        around = (low, row.value, high)
        cells = (f"{row.value:.3g}", f"n {row.n:,}", f"{row.floor:.3g}", f"n {row.floor_n:,}{few}")
        ring = row.matched if few else None
        rows.append(_line(metric.title, metric.better, cells, around, row.floor, ".3g", ring))
    if quality.accuracy is not None and quality.judge_accuracy is not None:
        spread = 1.96 * quality.accuracy_error
        around = (quality.accuracy - spread, quality.accuracy, min(1.0, quality.accuracy + spread))
        shown = (f"{quality.accuracy:.1%}", f"n {quality.stamp.n:,}",
                 f"{quality.judge_accuracy:.1%}", "all held out")  # fmt: skip
        title = "taken for the class asked for"
        rows.append(_line(title, "more", shown, around, quality.judge_accuracy, ".1%"))
    head = ("", "samples", "95 % interval", "", "real data")
    return (
        '<div class="wide"><table><thead><tr>'
        + "".join(f"<th>{h}</th>" for h in head)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        + '<p class="note">The upright mark is the floor: real items in the place of the samples, '
        "held-out ones against the training data and training items against the held-out data. "
        "Where there are fewer of them than samples, the number of as many samples stands beside, "
        "in the gauge as a ring."
        "</p>"
    )


def _line(
    title: str,
    better: str,
    cells: tuple[str, str, str, str],
    around: tuple[float, float, float],
    floor: float,
    form: str,
    matched: float | None = None,
) -> str:
    """A row: number and n of the samples, their interval, the gauge, number and n of real data."""
    low, value, high = around
    ours, n, real, real_n = cells
    return (
        f"<tr><th>{title}<small>{BETTER[better]}</small></th>"
        f"<td>{ours}<small>{n}</small></td><td>{low:{form}} to {high:{form}}</td>"
        f"<td>{charts.gauge(value, (low, high), floor, matched)}</td>"
        f"<td>{real}<small>{real_n}</small></td></tr>"
    )


def _figure(uri: str, words: str) -> str:
    text = html.escape(words)
    return f'<figure><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _sheets(found: Measured) -> str:
    ours, real = data_uri(sample_sheet(found)), data_uri(real_sheet(found))
    return f'<div class="pair">{_figure(ours, "samples")}{_figure(real, "held out")}</div>'


def _classes(found: Measured) -> str:
    quality, reference = found.quality, found.plan.reference
    real = reference.heldout.reading.classes
    sets: dict[str, Sequence[float]] = {}
    if quality.asked is not None:
        sets["asked for"] = [count / quality.stamp.n for count in quality.asked]
    sets["taken for"] = [count / quality.stamp.n for count in quality.found]
    if real is not None:
        counts = np.bincount(real.numpy(), minlength=len(quality.classes))
        sets["held out, taken for"] = (counts / len(real)).tolist()
    return charts.shares(quality.classes, sets)


def _nearest(found: Measured) -> str:
    columns = []
    for each in found.novelty:
        sets = {"samples": each.samples.relative.numpy(), each.by: each.control.relative.numpy()}
        words = "distance to the nearest over the mean of 50"
        warning, drawn = told_control(each), nearest_sheet(found, each)
        caption = f"the samples nearest to one training item, in the {each.space}"
        parts = [
            f"<p>{html.escape(told_novelty(each))}</p>",
            f'<p class="warning">{html.escape(warning)}</p>' if warning else "",
            charts.histogram(sets, each.threshold, words),
            _figure(data_uri(drawn), caption) if drawn is not None else "",
        ]
        columns.append(f"<div>{''.join(parts)}</div>")
    return f'<div class="pair">{"".join(columns)}</div>'


def _likelihood(quality: Quality) -> str:
    found = quality.beside["likelihood"]
    rows = []
    for name, title in (("heldout", "held-out items"), ("train", "training items")):
        one = found[name]
        rows.append(
            f"<tr><th>{title}</th><td>{told_likelihood(one, one['unit'] + '/dim')}</td>"
            f"<td>{one['items']:,}</td></tr>"
        )
    note = f"{found['heldout']['of']}; {found['heldout']['dequantisation']}."
    return (
        '<div class="wide"><table><thead><tr><th></th><th>bound</th><th>n</th></tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">{html.escape(note)} '
        "Far better on training items than on held-out ones means learned by heart.</p>"
    )


def _curves(log: Sequence[dict[str, Any]], earlier: Sequence[Kept], quality: Quality) -> str:
    held = [(r["step"], r["heldout"]) for r in log if r.get("heldout") is not None]
    same = [
        (kept.step, kept.quality.rows["frechet_train"].value)
        for kept in earlier
        if "frechet_train" in kept.quality.rows
        and not kept.quality.stamp.differences(quality.stamp)
    ]
    drawn = charts.curve(held, "steps; loss on held-out items", dots=True)
    return drawn + charts.curve(same, "steps; Fréchet distance to training data", dots=True)


def _protocol(quality: Quality, command: str) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(key)}</th><td><code>{html.escape(spelt(value))}</code></td></tr>"
        for key, value in {**quality.stamp.flat(), **{k: v for k, v in quality.made.items()
                           if k in ("model", "evaluations", "seconds")}}.items()
    )  # fmt: skip
    return (
        f'<div class="wide"><table class="plain">{rows}</table></div>'
        "<p>Numbers of another protocol do not compare with these. The same again:</p>"
        f"<pre>{html.escape(command)}</pre>"
    )
