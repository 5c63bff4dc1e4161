"""Trainings on a foreign device, from settings to a model file; started by test_devices.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign import CPU, HERE, agree
from torch import Tensor

import ornstein
from ornstein import build
from ornstein.config import resolve
from ornstein.data import open_data
from ornstein.errors import StoppedEarly
from ornstein.launch.stored import store_array
from ornstein.planning import trying
from ornstein.run import Run, Silent
from ornstein.run.averages import averaged
from ornstein.session import recovery
from ornstein.training.checkpoint import load_latest, save_checkpoint
from ornstein.training.loop import Trainer
from ornstein.training.signals import StopRequest

UNET = ["net.name=unet", "net.options={widths=[16], blocks=[1], attention=[0], dropout=0.1}"]
DIT = ["net.name=dit", "net.options={width=16, depth=1, head=8}"]
USUAL = ["batch=8", "learning_rate=1e-3", "precision=float32"]
WAYS: dict[str, list[str]] = {
    "muon": [*UNET, "optimizer=muon", "snapshots=2", "flip=true"],
    "in pieces": [*UNET, "accumulate=2", "checkpoint_activations=true", "importance=true"],
    "learned variance": [*UNET, "variance=learned", "objective.loss=hybrid"],
    "bound": [*DIT, "variance=learned", "loss=vlb", "law=steps", "process=linear"],
    "dequantised": [*DIT, "data.dequantise=true", "objective.coupling=transport"],
    "upscaling": [*UNET, "data.upscale=2"],
    "cross-attention": [*UNET, "net.entry=cross-attention"],
    "classifier": ["model.kind=classifier", "net.size=tiny", "data.conditions=['class']"],
}


def pictures() -> tuple[np.ndarray, dict[str, Any]]:
    """40 small pictures, with all that can be said of them."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 1, 6, 8)).astype(np.uint8)
    return x, {
        "class": ["a", "b"] * 20,
        "tags": ["red|round", "red", "", "round"] * 10,
        "age": rng.random(40),
        "sketch": rng.normal(size=(40, 1, 6, 8)).astype(np.float32),
    }


def trainer(where: torch.device, at: Path, *settings: str) -> Trainer:
    """A training that has not begun."""
    source = store_array(pictures()[0], at, pictures()[1])
    config = resolve(sets=(f"source={source}", *USUAL, *settings)).config
    return build.trainer(config, open_data(**config.data.opening()), torch.device(where))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_loses_alike(way: str, tmp_path: Path) -> None:
    def work(where: torch.device) -> object:
        made = trainer(where, tmp_path, *WAYS[way])
        steps = [made.step(4) for _ in range(2)]
        return [r[1:3] for r in steps], made.heldout_loss(made.model.eval()), made.average()

    agree(work, 3e-4)


def test_half_precision_is_that_of_the_device(tmp_path: Path) -> None:
    def work(where: torch.device) -> object:
        made = trainer(where, tmp_path, *UNET, "precision=bfloat16")
        return [made.step(4).loss for _ in range(2)]

    exact = trainer(HERE, tmp_path, *UNET)
    assert [exact.step(4).loss for _ in range(2)] != agree(work, 0.02)


def test_a_checkpoint_goes_on_bit_for_bit_and_on_another_device_to_rounding(
    tmp_path: Path,
) -> None:
    ways = (*UNET, "optimizer=muon", "ema=0.1", "snapshots=2", "objective.importance=true")
    straight = trainer(HERE, tmp_path, *ways)
    straight.step(4)
    save_checkpoint(tmp_path / "checkpoints", 1, straight.tensors(), {})
    after = [straight.step(4).loss for _ in range(2)]
    found = load_latest(tmp_path / "checkpoints")
    assert found is not None
    for where, apart in ((HERE, 0.0), (CPU, 1e-4)):
        resumed = trainer(where, tmp_path, *ways)
        resumed.restore(found.tensors, 1)
        assert [resumed.step(4).loss for _ in range(2)] == pytest.approx(after, rel=apart, abs=0)


def trained(where: torch.device, at: Path, **more: object) -> Run:
    """A whole training, from the beginning or on from where it was left."""
    settings = [
        *USUAL, *DIT, "variance=analytic", "log_every=1", "sample.count=2", "sample.steps=2",
        "save_every=2", "sample_every=100", "snapshots=2",
    ]  # fmt: skip
    x, told = pictures()
    return ornstein.train(
        x, conditions=told, name=f"on-{where}", runs=at, steps=6, settings=settings, **more
    )


def test_r18_a_run_is_stopped_goes_on_goes_back_and_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned, stopped after a step, resumed, not finite for two steps, back, and to its end."""
    whole, bad = Trainer.backward, [4, 5]

    class Asking(Silent):
        def __init__(self) -> None:
            self.stop = StopRequest()

        def step(self, info: Mapping[str, object]) -> None:
            self.stop.asked = "the test"

    def backward(self: Trainer, step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        loss, (place, each) = whole(self, step)
        if step in bad:
            bad.remove(step)
            next(p for p in self.model.parameters() if p.grad is not None).grad[:] = math.nan
        return loss, (place, each)

    def work(where: torch.device) -> object:
        bad[:] = 4, 5
        monkeypatch.setattr(build, "fastest_device", lambda: torch.device(where))
        asking = Asking()
        with pytest.raises(StoppedEarly):
            trained(where, tmp_path, stop=asking.stop, progress=asking)
        run = trained(where, tmp_path)
        assert "back to step 4, rate times 0.5" in (run.folder / "events.log").read_text()
        assert run.state == "finished"
        kept = ("loss", "grad_norm", "heldout", "levels")
        log = [{k: entry[k] for k in kept if k in entry} for entry in run.log]
        known = run.bundle().model.uncertainty
        assert known is not None
        return log, known.ratio, averaged(run, 0.08).model.state_dict()

    monkeypatch.setattr(Trainer, "backward", backward)
    monkeypatch.setattr(recovery, "PATIENCE", 2)
    monkeypatch.setattr(trying, "pace", lambda step, seconds: step() or 0.01)
    agree(work, 3e-3)
