"""Trackers: what they are told, what is said without them, and that none can stop a training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import ornstein
from ornstein.errors import UsageError
from ornstein.launch.tracking import TRACKERS, Kind
from ornstein.run import Run, Silent

SETTINGS = {"net.name": "mlp", "net.size": "tiny", "batch": 32, "log_every": 1, "sample.count": 4}

FAKE = """
import json
said = []
def init(**options): said.append(("init", options))
def log(values, step): said.append(("log", step, values))
def finish(): said.append(("finish",))
def Image(path): return "picture " + path
"""


class Notes(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


def train(runs: Path, track: str, notes: Notes | None = None) -> Run:
    return ornstein.train(
        "two-moons", name="run", runs=runs, steps=8, track=track, progress=notes,
        settings={**SETTINGS, "sample_every": 5},
    )  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that speaks as wandb and trackio do."""
    for name in ("wandb", "trackio"):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / f"{name}.py").write_text(FAKE)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
@pytest.mark.usefixtures("package")
def test_wandb_and_trackio_are_told_settings_numbers_pictures_and_the_end(
    tmp_path: Path, name: str
) -> None:
    run = train(tmp_path, name)
    said = sys.modules[name].said
    sys.modules.pop(name)
    assert said[0][0] == "init"
    assert said[0][1]["name"] == "run"
    assert said[0][1]["config"]["train.batch"] == "32"
    losses = {line["step"]: line["loss"] for line in run.log if "loss" in line}
    told = {entry[1]: entry[2] for entry in said if entry[0] == "log" and "loss" in entry[2]}
    assert {step: values["loss"] for step, values in told.items()}.items() <= losses.items()
    assert {1, 8} <= set(told)
    assert {"grad_norm", "learning_rate", "rate"} <= set(told[8])
    pictures = [entry[2]["samples"] for entry in said if "samples" in str(entry[-1])]
    assert any(str(run.grids[0]) in picture for picture in pictures)
    assert said[-1] == ("finish",)


def test_tensorboard_reads_back_what_the_log_says(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    run = train(tmp_path, "tensorboard")
    found = accumulator(str(run.folder / "tensorboard"))
    found.Reload()
    losses = {line["step"]: line["loss"] for line in run.log if "loss" in line}
    curve = {point.step: point.value for point in found.Scalars("loss")}
    assert curve[8] == pytest.approx(losses[8], rel=1e-6)
    assert len(found.Images("samples")) == 2


def test_a_tracker_that_fails_is_let_go_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: Run) -> object:
        raise ConnectionError("nobody there")

    monkeypatch.setitem(TRACKERS, "wandb", Kind(broken, "json"))  # type: ignore[arg-type]
    notes = Notes()
    assert train(tmp_path, "wandb", notes).state == "finished"
    warnings = [line for line in notes.lines if "wandb failed" in line]
    assert len(warnings) == 1
    assert "ConnectionError: nobody there" in warnings[0]


def test_an_unknown_tracker_or_a_missing_package_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, "wandb", Kind(lambda run: None, "no_such_package"))  # type: ignore[arg-type, return-value]
    with pytest.raises(UsageError, match="pip install no_such_package"):
        train(tmp_path, "wandb")
    with pytest.raises(UsageError, match="Did you mean 'tensorboard'"):
        train(tmp_path, "tensorbord")
    assert not (tmp_path / "run").exists()


def test_the_log_is_written_with_or_without(tmp_path: Path) -> None:
    run = ornstein.train("two-moons", name="run", runs=tmp_path, steps=2, settings=SETTINGS)
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    assert sum("loss" in json.loads(line) for line in lines) == 2
