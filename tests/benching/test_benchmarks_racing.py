"""Libraries timed in turn: who works when, what the table says of it, and whom it believes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from benchmarks import contestants, standings, variants
from benchmarks.racing import Race, race
from benchmarks.twin import Twin
from benchmarks.variants import Variant, chosen
from torch.utils.flop_counter import FlopCounterMode

import ornstein
from ornstein.benching import Gauge
from ornstein.errors import OrnsteinError, UsageError

# Speaks the protocol of benchmarks.peers.serving, and keeps a diary of when it works.
PROGRAM = """
import json, sys
name, times, diary = {name!r}, {times!r}, open({diary!r}, "a", buffering=1)
told = {{"parameters": 5, "threads": 2, "first": 9.0, "flops": 8 * 10**9, "batch": 4}}
told["evaluations"] = 10
print(json.dumps(told), flush=True)
for line in sys.stdin:
    if not times:
        sys.exit(3)
    diary.write(name + " begins\\n")
    seconds = times.pop(0)
    diary.write(name + " ends\\n")
    told = {{"seconds": seconds, "processor": seconds / 8, "grown": 2 * 10**6}}
    print(json.dumps(told), flush=True)
"""


def raced(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    rounds: int,
    clock: str = "seconds",
    **times: list[float],
) -> Race:
    """Race programs that answer with these times."""
    for name, own in times.items():
        program = PROGRAM.format(name=name, times=own, diary=str(folder / "diary"))
        (folder / f"{name}.py").write_text(program)
        monkeypatch.setitem(variants.SCRIPTS, name, str(folder / f"{name}.py"))
    known = {name: Variant(name, name) for name in times}
    python, log = Path(sys.executable), folder / "log"
    return race(known, "train", rounds, 4, python, log, lambda line: None, clock)


def test_one_works_at_a_time_round_by_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced(tmp_path, monkeypatch, 2, a=[1.0, 1.0], b=[1.0, 1.0])
    diary = (tmp_path / "diary").read_text().splitlines()
    assert diary == ["a begins", "a ends", "b begins", "b ends"] * 2


def test_ratios_are_of_the_same_round_and_the_table_shows_their_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machine is four times slower in the last round, for both: the ratio is 2 all along.
    run = raced(tmp_path, monkeypatch, 3, a=[1.0, 2.0, 8.0], b=[0.5, 1.0, 4.0])
    head, _, first, second, *_ = standings.table("train", run).splitlines()
    rows = [dict(zip(head.split(" | "), row.split(" | "), strict=True)) for row in (first, second)]
    assert [row["times the first"] for row in rows] == ["1.00 (1.00–1.00)", "2.00 (2.00–2.00)"]
    assert rows[1]["ms a step"] == "1000 (500–4000)"
    assert rows[1]["pictures/s"] == "4.0"  # a batch of 4 in a second
    assert rows[1]["GFLOP/s"] == "8"
    assert rows[1]["MB a picture"] == "0.5"


def test_the_table_and_its_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = raced(tmp_path, monkeypatch, 2, a=[1.0, 2.0])
    assert standings.kept("sample", run, tmp_path) in (tmp_path / "table.md").read_text()
    figures = json.loads((tmp_path / "results.json").read_text())
    assert figures["variants"]["a"]["seconds"] == [1.0, 2.0]
    assert len(figures["gauges"]) == 2


def test_a_program_that_ends_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OrnsteinError, match=r"'b' ended with 3"):
        raced(tmp_path, monkeypatch, 2, a=[1.0, 1.0], b=[1.0])


def test_processor_time_of_many_threads_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="OMP_NUM_THREADS=1"):
        raced(tmp_path, monkeypatch, 1, clock="processor", a=[1.0])


def test_the_docs_get_the_table_in_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    opening = "<!-- python -m benchmarks {} -->\n"
    page.write_text(f"before\n{opening.format('train')}old\n<!-- end -->\nafter\n")
    standings.into_docs("train", "new", page)
    assert page.read_text() == f"before\n{opening.format('train')}new\n<!-- end -->\nafter\n"


def test_the_twin_has_the_weights_and_the_work_of_the_network_that_it_copies() -> None:
    # diffusers 0.42.1 counts 4,435,393 weights, and 1.970 GFLOP for one picture, without the two
    # products of attention, of 64 places and 128 channels, in each of four layers.
    net, attention = Twin(), 4 * 2 * (2 * 64 * 64 * 128)
    assert sum(p.numel() for p in net.parameters()) == 4_435_393
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 1, 32, 32), torch.zeros(1), {})
    assert counter.get_total_flops() / 1e9 == pytest.approx(1.970 + attention / 1e9, abs=5e-4)


def test_unknown_variants_and_a_missing_environment_are_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'diffusers'"):
        chosen(("difusers",), set(), Path(sys.executable))
    with pytest.raises(UsageError, match="no Python at nowhere/python"):
        chosen(("diffusers",), set(), Path("nowhere/python"))
    assert set(chosen(("twin",), set(), Path("nowhere/python"))) == {"twin"}


def test_what_takes_minutes_is_run_only_when_asked_for() -> None:
    here = Path(sys.executable)
    assert "diffusers-compile" not in chosen((), set(), here)
    assert "diffusers-compile" in chosen((), {"compile"}, here)
    assert "diffusers-compile-bf16" not in chosen((), {"compile"}, here)
    assert "diffusers-compile-bf16" in chosen((), {"compile", "bfloat16"}, here)


def test_a_race_has_those_only_who_can_do_its_work() -> None:
    here, both = Path(sys.executable), {"compile", "bfloat16"}
    every = [set(chosen((), both, here, task)) for task in ("sample", "train")]
    assert every[0] - every[1] == {"diffusers-weights-bf16", "diffusers-compile-weights-bf16"}
    with pytest.raises(UsageError, match="'diffusers-weights-bf16' is for sample, not for train"):
        chosen(("diffusers-weights-bf16",), both, here, "train")


class Trained:
    """A run of ornstein that makes zeros, by 20 steps of its own."""

    record: ClassVar = {"step": 7}

    def __init__(self) -> None:
        self.asked: list[tuple[int, int | None]] = []

    def bundle(self) -> Trained:
        return self

    def how(self, steps: int | None) -> SimpleNamespace:
        return SimpleNamespace(steps=steps or 20)

    def sample(self, n: int, seed: int, steps: int | None) -> SimpleNamespace:
        self.asked.append((n, steps))
        settings = {"steps": steps or 20}
        return SimpleNamespace(
            items=np.zeros((n, 1)), settings=settings, evaluations=1, seconds=4.0
        )


def test_ornsteins_samples_are_kept_until_more_or_other_steps_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ask = Trained(), contestants.Ask("digits", 1.0, tmp_path, 0)
    monkeypatch.setattr(contestants, "_call", lambda *_: None)
    monkeypatch.setattr(ornstein, "open_run", lambda *_: run)
    for n, steps in ((6, None), (6, 20), (4, None), (6, 5), (6, 5), (8, 5), (8, None)):
        contestants.run_ornstein(ask, n, steps)
    assert run.asked == [(6, None), (6, 5), (8, 5), (8, None)]
    record = contestants.record_of(tmp_path / "ornstein")
    assert (record["sampled_here"], record["sampling_seconds"]) == (8, 4.0)


def test_what_was_trained_for_another_question_is_refused(tmp_path: Path) -> None:
    ask = contestants.Ask("digits", 10.0, tmp_path, 0)
    folder = tmp_path / "ornstein"
    contestants.claim(folder, ask)
    contestants.claim(folder, ask)
    with pytest.raises(UsageError, match=r"made with minutes 10\.0\. Ask for the same, or put"):
        contestants.claim(folder, replace(ask, minutes=60.0))
    (folder / "record.json").write_text('{"steps": 100}')  # of an older version
    contestants.claim(folder, replace(ask, minutes=60.0))
    assert contestants.record_of(folder) == {"steps": 100}


def test_a_busy_or_uneven_machine_is_called_noisy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = raced(tmp_path, monkeypatch, 1, a=[1.0])
    even = [Gauge(100.0, 2, 0.0)] * 3
    said = [
        standings.table("train", Race(run.runners, gauges, others))
        for gauges, others in ((even, 0.0), (even, 1.0), ([*even, Gauge(50.0, 2, 0.0)], 0.0))
    ]
    assert ["NOISY" in text for text in said] == [False, True, True]
