"""Is it learning? What a run measures of itself, and what it says when it begins to memorise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import ornstein
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.run import Run, Silent, open_run
from ornstein.session.learning import Learning
from ornstein.training.panel import Panel, Reading, memorises, readings

SETTINGS = {"net.name": "mlp", "net.size": "tiny", "batch": 32, "sample.count": 4, "log_every": 5}


class Notes(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)

    @property
    def advice(self) -> list[str]:
        """What was advised."""
        return [line for line in self.lines if line.startswith("advice")]


def train(runs: Path, source: str | Path, notes: Notes, steps: int, **settings: object) -> Run:
    return ornstein.train(
        source, name="run", runs=runs, steps=steps, settings={**SETTINGS, **settings},
        progress=notes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run on plenty of points."""
    runs, notes = tmp_path_factory.mktemp("runs"), Notes()
    run = train(runs, "two-moons", notes, 40, sample_every=15)
    assert notes.advice == []
    return run


def test_each_preview_logs_errors_by_level_beside_their_floors(healthy: Run) -> None:
    found = readings(healthy.log)
    assert len(found) == 3  # at steps 15, 30 and 40
    for reading in found:
        for part in ("heldout", "train"):
            errors = reading.errors[part]
            assert {len(row) for row in errors.values()} == {len(reading.log_snr)}
            # Noise tells little, so every denoiser answers about the mean: variance 1.
            assert errors["linear"][0] == pytest.approx(1, abs=0.2)
        assert not memorises(reading)


def test_the_log_tells_speed_memory_and_steps_left_out(healthy: Run) -> None:
    lines = [line for line in healthy.log if "loss" in line]
    assert [line["step"] for line in lines] == list(range(5, 41, 5))
    for line in lines:
        assert line["items_per_s"] > 0
        assert 50 < line["memory_mb"] < 100_000
        assert line["left_out"] == 0


def test_the_figure_of_a_run_is_drawn_and_a_run_without_readings_is_a_sentence(
    healthy: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    runs = ["--runs", str(healthy.folder.parent)]
    assert guarded(cli, ["viz", "learning", "run", "--out", str(tmp_path), *runs]) == 0
    assert Image.open(tmp_path / "learning.png").width > 1000
    (healthy.folder / "log.jsonl").rename(tmp_path / "log.jsonl")
    assert guarded(cli, ["viz", "learning", "run", *runs]) == 2
    (tmp_path / "log.jsonl").rename(healthy.folder / "log.jsonl")
    assert "no errors by level have been measured yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("memory", "doubt", "said"),
    [(0.5, 0.05, True), (0.5, 0.2, False), (0.1, 0.01, False), (-0.4, 0.1, False)],
)
def test_memory_counts_when_it_is_much_and_beyond_doubt(
    memory: float, doubt: float, said: bool
) -> None:
    assert memorises(Reading((), {}, 9, memory, doubt)) is said


@pytest.mark.parametrize("items", [15, 64, 4096])
def test_few_items_must_be_surer_by_students_quantile(items: int) -> None:
    """After 12 steps on 300 numbers, 15 of them held out, 3.4 standard errors were said."""
    stats = pytest.importorskip("scipy.stats")
    sure = float(stats.t.isf(stats.norm.sf(3), items - 1))
    assert memorises(Reading((), {}, items, 1.04 * sure, 1.0))
    assert not memorises(Reading((), {}, items, 0.96 * sure, 1.0))


def test_advice_is_given_once_also_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Panel.read
    monkeypatch.setattr(
        Panel, "read", lambda self, model: replace(whole(self, model), memory=0.4, doubt=0.05)
    )
    notes = Notes()
    run = train(tmp_path, "two-moons", notes, 12, sample_every=5, save_every=6)
    assert len(notes.advice) == 1
    assert "40% of the way to perfect memory" in notes.advice[0]
    assert "begins to memorise" in (run.folder / "events.log").read_text()
    record = run.folder / "run.json"  # as if it had been killed after step 6
    record.write_text(record.read_text().replace("finished", "training"))
    (run.folder / "checkpoints" / "step-000000012").rename(tmp_path / "gone")
    again = Notes()
    train(tmp_path, "two-moons", again, 12, sample_every=5, save_every=6)
    assert again.lines[-1].startswith("resumed") or "resumed" in " ".join(again.lines)
    assert again.advice == []


@pytest.mark.slow
def test_a_few_items_trained_for_long_are_told_before_they_are_known_by_heart(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(140, 16)).astype("f4"))
    notes = Notes()
    train(
        tmp_path, tmp_path / "few.npy", notes, 1200, sample_every=150,
        **{"net.size": "small", "batch": 64, "log_every": 100},
    )  # fmt: skip
    assert len(notes.advice) == 1
    found = readings(open_run("run", tmp_path).log)
    first = next(k for k, reading in enumerate(found) if memorises(reading))
    assert (found[first].memory or 0) < 0.5 < (found[-1].memory or 0)


@pytest.mark.parametrize(("kind", "mirrored"), [("image", True), ("table", False)])
def test_the_advice_names_mirroring_for_pictures_only_and_the_run_as_it_is_typed(
    tmp_path: Path, kind: str, mirrored: bool
) -> None:
    notes = Notes()
    trainer, data = SimpleNamespace(done=7), SimpleNamespace(kind=kind)
    work = SimpleNamespace(
        trainer=trainer, data=data, run=Run(tmp_path / "run"), say=notes, note=lambda text: None
    )
    Learning(work)._advise(Reading((), {}, 64, 0.4, 0.05))  # type: ignore[arg-type]
    (said,) = notes.advice
    assert ("flip=true" in said) is mirrored
    assert said.endswith(f"See it: ornstein viz learning {tmp_path}/run")
