"""Quality after equal training time: ornstein and its peers, scored by one judge.

The judge is a classifier of the data's own classes (ornstein.evaluate), the truth the
training and the held-out images. Distances compare at equal numbers of samples only, so
that everybody is scored at the least number that all have, and ornstein at its full
number besides.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.contestants import (
    TITLES,
    Ask,
    check_peers,
    claim,
    record_of,
    run_ornstein,
    run_peer,
    samples_of,
)
from ornstein.benching import gauge
from ornstein.data import Dataset, open_data
from ornstein.evaluate import METRICS, Pair, Quality, Reference, reference_of, score
from ornstein.viz import pictures

HEADER = (
    "| trained with | steps | training | samples | Fréchet to training | to held-out | "
    "times ornstein's | precision | recall | samples/s |"
)


def compete(
    ask: Ask,
    peers: tuple[str, ...],
    python: Path,
    n: int,
    peer_n: int,
    steps: int | None,
) -> str:
    """Train, sample and score everybody, one after another; return the table.

    Args:
        ask: Data, minutes, folder and seed.
        peers: Names in contestants.SCRIPTS.
        python: Python of the peers' environment.
        n: Samples of ornstein.
        peer_n: Samples of each peer, which samples slowly.
        steps: Steps of ornstein's sampler; None for its default.
    """
    check_peers(peers, python)
    data = open_data(ask.data)
    ask.out.mkdir(parents=True, exist_ok=True)
    for name in ("ornstein", *peers):
        claim(ask.out / name, ask)
    gauges = {}
    for name in ("ornstein", *peers):
        gauges[name] = gauge()
        print(f"{name}: {gauges[name]}", flush=True)
        if name == "ornstein":
            run_ornstein(ask, n, steps)
        else:
            run_peer(name, ask, python, data.items[data.train], peer_n)
    table = report(data, ask.out, ("ornstein", *peers))
    return "\n".join([table, *(f"{name}: {value}" for name, value in gauges.items())])


def report(data: Dataset, out: Path, names: tuple[str, ...]) -> str:
    """Score what lies in the folder; write results.json, table.md and a grid of each."""
    reference = reference_of(data, progress=_say)
    sets = {name: found for name in names if (found := samples_of(out / name)) is not None}
    if not sets:
        return f"no samples in {out} yet."
    least = min(len(samples) for samples in sets.values())
    lines = [
        HEADER,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    results = {}
    own = None
    for name, samples in sets.items():
        pictures.grid(samples[:64]).save(out / f"{name}.png")
        equal = score(samples[:least], reference, made={"by": name})
        own = equal if name == "ornstein" else own
        record = record_of(out / name)
        results[name] = [{"record": record}, json.loads(equal.to_json())]
        lines.append(_line(TITLES.get(name, name), equal, record, own))
        if len(samples) > least:
            full = score(samples, reference, made={"by": name})
            results[name].append(json.loads(full.to_json()))
            lines.append(_line("the same, all samples", full, {}, None))
    lines += _floor(reference, least)
    (out / "results.json").write_text(json.dumps(results, indent=1))
    (out / "table.md").write_text("\n".join(lines) + "\n")
    return "\n".join(lines)


def _line(title: str, quality: Quality, record: dict[str, float], own: Quality | None) -> str:
    """One row of the table."""
    rows = quality.rows
    train, held = rows["frechet_train"], rows["frechet_heldout"]
    ratio = f"{quality.ratio(own):.1f}" if own else ""
    spent = f"{record['seconds'] / 60:.1f} min" if "seconds" in record else ""
    made = record.get("sampled_here", quality.stamp.n)
    speed = f"{made / record['sampling_seconds']:.2f}" if "sampling_seconds" in record else ""
    return (
        f"| {title} | {record.get('steps', '')} | {spent} | {quality.stamp.n} | "
        f"{train.value:.2f} ± {train.error or 0:.2f} | {held.value:.2f} | {ratio} | "
        f"{rows['precision'].value:.2f} | {rows['recall'].value:.2f} | {speed} |"
    )


def _floor(reference: Reference, n: int) -> list[str]:
    """Real held-out images as samples, at the equal number and at all of them."""
    held, train = reference.heldout.reading, reference.train.reading
    lines = []
    for count in sorted({min(n, len(held)), len(held)}):
        there = METRICS["frechet_train"].measure(Pair(held[slice(0, count)], reference.train))
        back = METRICS["frechet_heldout"].measure(Pair(train[slice(0, count)], reference.heldout))
        lines.append(
            f"| the floor: real images | | | {count} | {there.value:.2f} ± "
            f"{there.error or 0:.2f} | {back.value:.2f} | | | | |"
        )
    return lines


def _say(done: int, whole: int) -> None:
    if done % 100 == 0 or done == whole:
        print(f"classifier: batch {done} of {whole}", flush=True)


def demo(run: Path, n: int, steps: int | None, seed: int) -> Quality:
    """Score the class-conditional samples of a finished run against its own data.

    Classes are asked for in turn. Writes quality.json into the run.
    """
    import ornstein

    trained = ornstein.open_run(run)
    settings = trained.config.data
    data = open_data(settings.source, size=settings.size, limit=settings.limit)
    made = trained.sample(n, seed=seed, steps=steps)
    number = {name: k for k, name in enumerate(data.classes)}
    known = made.labels[0] is not None
    asked = np.array([number[str(label)] for label in made.labels]) if known else None
    quality = score(made.items, reference_of(data), asked=asked, made=made.settings)
    (trained.folder / "quality.json").write_text(quality.to_json())
    return quality
