"""C9: a classifier of noisy items is trained, kept and resumed as a model is, and guides one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ornstein as orn
from ornstein.bundle import Recogniser, load, load_any
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.core import Level
from ornstein.data import Dataset, Source, make_dataset
from ornstein.errors import ConfigError
from ornstein.recognising import accuracies

TINY = {"net.size": "tiny", "batch": 64, "sample.count": 4}


def log(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "runs"
    words = ["train", "two-moons", "--steps", "120", "net.size=tiny", "batch=64", "--quiet"]
    assert guarded(cli, [*words, "--task", "classifier", "--runs", str(folder)]) == 0
    plain = {**TINY, "data.conditions": []}
    orn.train("two-moons", name="plain", steps=150, settings=plain, runs=folder)
    return folder


def test_it_learns_the_classes_and_noise_makes_them_harder(runs: Path) -> None:
    told = log(runs / "two-moons-classifier")[-1]["accuracy"]
    assert isinstance(told, dict)
    assert told["0"] > 0.85
    # Noise of three deviations leaves hardly more than a guess of moons half a deviation apart.
    assert told["0"] > told["1"] > told["3"]
    assert 0.4 < told["3"] < 0.72


def test_c9_it_gives_classes_to_a_model_without_any(runs: Path) -> None:
    judge, plain = load_any(runs / "two-moons-classifier"), load(runs / "plain")
    assert isinstance(judge, Recogniser)
    assert (plain.classes, judge.classes) == ((), ("upper", "lower"))
    led = plain.led(by=judge)
    upper, lower = (led.sample(200, class_name=name, guidance=2.0) for name in judge.classes)
    # The upper moon is an arc above its ends, the lower one below.
    assert upper.items[:, 1].mean() > 0.3 + lower.items[:, 1].mean()
    free = plain.sample(200).items
    assert lower.items[:, 1].mean() < free[:, 1].mean() < upper.items[:, 1].mean()


def test_the_command_takes_its_classes_and_refuses_to_sample_it(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    at = ["--runs", str(runs), "--out", str(tmp_path / "made")]
    by = ["--guide-by", "two-moons-classifier", "--guidance", "2", "--class", "lower"]
    assert guarded(cli, ["sample", "plain", "-n", "20", *by, *at]) == 0
    assert (
        "by " + load_any(runs / "two-moons-classifier").fingerprint[:8] in capsys.readouterr().out
    )
    assert guarded(cli, ["sample", "two-moons-classifier", *at]) == 2
    assert "makes nothing by itself" in capsys.readouterr().err
    assert guarded(cli, ["train", "two-moons", "--task", "clasifier"]) == 2
    assert "Did you mean 'classifier'" in capsys.readouterr().err


def test_the_doctor_and_the_judge_know_that_it_makes_nothing(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ("doctor two-moons-classifier", "evaluate two-moons-classifier"):
        assert guarded(cli, [*words.split(), "--runs", str(runs)]) == 2
        assert "is a classifier of noisy items" in capsys.readouterr().err


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    class Halt(orn.run.Silent):
        def step(self, info: object) -> None:
            import os
            import signal

            if not done and info["step"] >= 10:  # type: ignore[index]
                done.append(1)
                os.kill(os.getpid(), signal.SIGTERM)

    done: list[int] = []
    how = {"steps": 24, "preset": "classifier", "settings": {**TINY, "log_every": 1}}
    whole = orn.train("two-moons", runs=tmp_path / "a", **how)  # type: ignore[arg-type]
    done.clear()
    with pytest.raises(orn.errors.StoppedEarly):
        orn.train("two-moons", runs=tmp_path / "b", progress=Halt(), **how)  # type: ignore[arg-type]
    again = orn.train("two-moons", runs=tmp_path / "b", **how)  # type: ignore[arg-type]
    losses = [[r["loss"] for r in log(run.folder) if "loss" in r] for run in (whole, again)]
    assert len(losses[0]) == 24
    assert losses[0] == losses[1]
    kept = [load_any(run.folder).fingerprint for run in (whole, again)]
    assert kept[0] == kept[1]


def test_what_a_classifier_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs data with classes"):
        orn.train("swiss-roll", preset="classifier", steps=2, runs=tmp_path)
    options = ["net.name=mlp", "net.options={width=8}", "batch=32"]
    with pytest.raises(ConfigError, match=r"takes no net\.options"):
        orn.train("two-moons", preset="classifier", steps=2, settings=options, runs=tmp_path)
    orn.train("two-moons", steps=2, settings=TINY, runs=tmp_path)
    with pytest.raises(ConfigError, match=r"by the recipe 'default', not by 'classifier'"):
        orn.train("two-moons", preset="classifier", steps=2, settings=TINY, runs=tmp_path)
    assert np.isfinite(load(tmp_path / "two-moons").sample(2, steps=2).items).all()


class Sides(nn.Module):
    """Knows the class of a number by its sign."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1e3))

    def forward(self, x: Tensor, level: Level) -> Tensor:
        return torch.cat([-x, x], dim=1) * self.weight


@pytest.mark.parametrize("heldout", [0, 30, 60])
def test_items_without_a_class_are_not_asked_about(heldout: int) -> None:
    """One such item ended a training at its first preview."""
    labels = np.arange(600) % 3 - 1
    points = np.where(labels == 0, -1.0, 1.0)[:, None] + 0.1 * np.sin(np.arange(600.0))[:, None]
    held = np.flatnonzero(labels == -1)[:heldout] if heldout == 30 else np.arange(heldout)
    data = make_dataset("sides", "vector", points.astype(np.float32), source=Source("made here"),
                        labels=labels, classes=("left", "right"), heldout=held)  # fmt: skip
    # Standardised, the sides are where the sign changes: two thirds of the points are right.
    told = accuracies(Sides(), data, 0)  # type: ignore[arg-type]
    assert told["0"] == 1.0
    assert 0.5 < told["3"] < 0.9


def test_a_classifier_learns_from_items_of_which_some_have_no_class(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(60, 2))
    colours = [None if k % 5 == 0 else ("red", "blue")[k % 2] for k in range(60)]
    run = orn.train(points, conditions={"class": colours}, preset="classifier", steps=2,
                    settings={**TINY, "sample_every": 1}, runs=tmp_path)  # fmt: skip
    assert len(log(run.folder)[-1]["accuracy"]) == 4  # type: ignore[arg-type]
    judge = load_any(run.folder)
    assert judge.classes == ("blue", "red")


def test_of_large_items_fewer_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = Dataset.batch

    def batch(self: Dataset, indices: Tensor) -> Tensor:
        read.append(len(indices))
        return whole(self, indices)

    monkeypatch.setattr(Dataset, "batch", batch)
    monkeypatch.setattr("ornstein.training.batches.HELD", 20)
    points = np.where(np.arange(600) % 2, -1.0, 1.0)[:, None].astype(np.float32)
    data = make_dataset("sides", "vector", points, source=Source("made here"),
                        labels=np.arange(600) % 2, classes=("right", "left"))  # fmt: skip
    accuracies(Sides(), data, 0)  # type: ignore[arg-type]
    assert read == [20]


def test_a_classifier_is_measured_on_items_from_all_over_the_data() -> None:
    """Of data that lie class by class it was measured on the first classes alone."""
    labels = np.repeat(np.arange(2), 2000)
    # All are on the left: the items of the second class are taken for the first.
    points = -1 + 1e-3 * np.sin(np.arange(4000.0))[:, None]
    data = make_dataset(
        "sides",
        "vector",
        points.astype(np.float32),
        source=Source("made here"),
        labels=labels,
        classes=("left", "right"),
        heldout=np.arange(0, 4000, 2),
    )
    left = replace(data, coding=replace(data.coding, mean=(0.0,), std=(1.0,)))
    assert accuracies(Sides(), left, 0)["0"] == 0.5  # type: ignore[arg-type]
