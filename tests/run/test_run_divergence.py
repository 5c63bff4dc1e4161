"""R18: what is not finite never reaches a checkpoint; skip, go back, stop with the cause."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ornstein
from ornstein.errors import DivergedError
from ornstein.run import Silent
from ornstein.training import journal
from ornstein.training.checkpoint import load_latest
from ornstein.training.loop import Trainer

STEPS = 60
SETTINGS = {"net.name": "mlp", "batch": 16, "save_every": 10, "log_every": 1, "sample.count": 4}


class Notes(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


def train(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[Trainer, int], bool],
    notes: Silent | None = None,
) -> None:
    """Train on two moons; where ``broken`` says so, one item's loss and the gradient are NaN."""
    whole = Trainer.backward

    def backward(self: Trainer, step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        loss, (place, each) = whole(self, step)
        if step < 10**6 - 1 and broken(self, step):  # the plan's trial steps are not touched
            each[3] = math.nan
            next(self.model.parameters()).grad[:] = math.nan
            return math.nan, (place, each)
        return loss, (place, each)

    monkeypatch.setattr(Trainer, "backward", backward)
    ornstein.train(
        "two-moons", name="run", runs=runs, steps=STEPS, seed=5, settings=SETTINGS,
        progress=notes or Silent(),
    )  # fmt: skip


def logged(runs: Path) -> list[dict[str, float]]:
    lines = (runs / "run" / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if "loss" in record]


def events(runs: Path) -> str:
    return (runs / "run" / "events.log").read_text()


def check_finite(runs: Path) -> int:
    found = load_latest(runs / "run" / "checkpoints")
    assert found is not None
    for group in found.tensors.values():
        assert all(bool(torch.isfinite(t).all()) for t in group.values())
    return found.step


def test_r18_one_bad_step_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, monkeypatch, lambda _, step: step == 24)
    assert [r["step"] for r in logged(tmp_path)] == [k for k in range(1, 61) if k != 25]
    assert "left out step 25: the loss of item" in events(tmp_path)
    assert check_finite(tmp_path) == STEPS


def test_r18_bad_steps_here_and_there_are_no_reason_to_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, monkeypatch, lambda _, step: step % 2 == 1 and step > 20)
    assert events(tmp_path).count("left out step") == 20
    assert "back to step" not in events(tmp_path)
    assert check_finite(tmp_path) == STEPS


def test_r18_ten_in_a_row_lead_back_to_the_last_checkpoint_at_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, monkeypatch, lambda made, step: made.cut == 1 and 24 <= step < 40)
    record = {r["step"]: r["rate"] for r in logged(tmp_path)}
    assert [r["step"] for r in logged(tmp_path)] == list(range(1, 61))  # each once
    assert "back to step 20, rate times 0.5" in events(tmp_path)
    # The plateau of the rate, before and after; the fall begins at half of the training.
    assert record[24] == pytest.approx(record[20] / 2)
    assert check_finite(tmp_path) == STEPS


def test_r18_what_never_ends_stops_with_the_cause_and_the_last_good_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DivergedError) as caught:
        train(tmp_path, monkeypatch, lambda _, step: step >= 24)
    assert caught.value.exit_code == 70
    text = str(caught.value)
    assert "the loss of item" in text
    assert "at rho" in text
    assert "the last good one, of step 20, is kept" in text
    assert "in a new run: --set learning_rate=" in text
    assert text.endswith(" --name NAME")
    assert "matrix_rate" not in text
    assert check_finite(tmp_path) == 20
    assert events(tmp_path).count("back to step 20") == 3


def test_r18_before_the_first_checkpoint_there_is_nothing_to_go_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = r"lower the rate in a new run: .* --set matrix_rate=0\.001 --name NAME"
    monkeypatch.setitem(SETTINGS, "optimizer", "muon")
    with pytest.raises(DivergedError, match=advice):
        train(tmp_path, monkeypatch, lambda _, step: True)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_r18_a_halved_rate_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(made: Trainer, step: int) -> bool:
        if made.cut < 1 and step == 50:
            raise RuntimeError("the power is gone")
        return made.cut == 1 and 24 <= step < 40

    with pytest.raises(RuntimeError, match="power"):
        train(tmp_path, monkeypatch, broken)
    monkeypatch.undo()
    train(tmp_path, monkeypatch, lambda made, step: False)
    record = {r["step"]: r["rate"] for r in logged(tmp_path)}
    # The rate falls from step 30 on, evenly to 0 after step 60.
    assert record[55] / record[45] == pytest.approx((60 - 54) / (60 - 44))


def test_a_full_disk_that_hides_a_step_left_out_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line for events.log found no room, and the work since the last save was lost."""
    real, notes = journal._append, Notes()

    def full(path: Path, data: bytes) -> None:
        if path.name == "events.log":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data)

    monkeypatch.setattr(journal, "_append", full)
    train(tmp_path, monkeypatch, lambda _, step: step == 24, notes)
    assert check_finite(tmp_path) == STEPS
    said = [line for line in notes.lines if "writing events.log" in line]
    assert len(said) == 3  # it began, left a step out, and finished
    assert all(line.startswith("warning: disk is full") for line in said)


def test_a_held_out_loss_that_is_not_finite_is_said_and_neither_kept_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every save after it failed, the last one too."""

    def no_number(word: str) -> float:
        raise AssertionError(word)

    monkeypatch.setattr(Trainer, "heldout_loss", lambda *_: math.inf)
    notes = Notes()
    run = ornstein.train(
        "two-moons", name="run", runs=tmp_path, steps=20, progress=notes,
        settings={**SETTINGS, "sample_every": 5, "save_every": 5},
    )  # fmt: skip
    assert run.state == "finished"
    said = [line for line in notes.lines if line.startswith("warning: the held-out loss at step")]
    assert len(said) == 4
    log = (run.folder / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line, parse_constant=no_number) for line in log]
    assert [entry["heldout"] for entry in entries if "heldout" in entry] == [None] * 4
