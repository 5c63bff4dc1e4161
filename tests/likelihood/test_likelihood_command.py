"""``ornstein likelihood`` from outside: the answer, its cost, its refusals."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.bundle import Bundle, load
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.cli.likelihood import items_of
from ornstein.core import EDMTarget
from ornstein.data import Coding, open_data
from ornstein.likelihood import bounded, cost, likelihood
from ornstein.likelihood.cost import USUAL_CALLS
from ornstein.model import Model
from ornstein.nets import NETS


def made(
    name: str, shape: tuple[int, ...], coding: Coding, provenance: dict[str, object]
) -> Bundle:
    options = {"width": 16, "layers": 1} if name == "mlp" else {"widths": [8], "blocks": [1]}
    options |= {"attention": []} if name == "unet" else {}
    torch.manual_seed(3)
    net = NETS[name](shape, **options)  # answers 0: the standard normal law
    return Bundle(
        model=Model(net, EDMTarget()), net=name, target="edm", process="edm", coding=coding,
        shape=shape, provenance=provenance,
    )  # fmt: skip


BYTES = Coding((100.0,), (20.0,), "image", 0.0, 255.0, 256)
REALS = Coding((1.0, -2.0), (0.5, 3.0), "vector")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("likelihood")
    source = np.random.default_rng(0)
    pictures = np.rint(100 + 20 * source.normal(size=(24, 3, 3))).clip(0, 255).astype(np.uint8)
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "points.npy", source.normal(size=(24, 2)) * [0.5, 3] + [1, -2])
    fingerprint = open_data(folder / "pictures.npy").fingerprint
    made("unet", (1, 3, 3), BYTES, {"dequantised": True, "fingerprint": fingerprint}).save(
        folder / "pictures.safetensors"
    )
    made("mlp", (2,), REALS, {}).save(folder / "points.safetensors")
    return folder


def ask(place: Path, model: str, data: str, *more: str) -> int:
    return guarded(
        cli, ["likelihood", str(place / f"{model}.safetensors"), str(place / data), *more]
    )


def test_b17_the_command_tells_bits_of_levels_and_where_they_come_from(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(place, "pictures", "pictures.npy", "--part", "all") == 0
    out = capsys.readouterr().out
    # The entropy of a rounded normal number of 20 levels.
    bits = 0.5 * np.log2(2 * np.pi * np.e * 20**2)
    found, error = (float(v) for v in re.findall(r"bits/dim +(\S+) ± (\S+)", out)[0])
    assert found == pytest.approx(bits, abs=4 * error)
    for words in ("exact trace", "cost       about", "uniform noise", "sigma/alpha = 0.002"):
        assert words in out
    assert "not what it learned" not in out


def test_the_json_is_the_python_answer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(place, "points", "points.npy", "-n", "5", "--part", "all", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    even = np.load(place / "points.npy")[[0, 6, 12, 17, 23]]  # of 24
    found = likelihood(load(place / "points.safetensors"), even)
    assert told["value"] == pytest.approx(found.value, abs=1e-3)
    assert (told["unit"], told["items"], told["dims"]) == ("nats", 5, 2)


@pytest.mark.parametrize("part", ["heldout", "train", "all"])
def test_items_are_of_all_classes_where_data_are_in_the_order_of_their_classes(
    part: str, place: Path, tmp_path: Path
) -> None:
    labels = np.repeat(np.arange(5), 400)
    points = np.stack([labels, np.random.default_rng(0).normal(size=2000)], 1)
    np.savez(tmp_path / "sorted.npz", x=points, y=labels)
    asked = items_of(load(place / "points.safetensors"), str(tmp_path / "sorted.npz"), part, 40)
    assert len(asked.raw) == 40
    assert set(asked.raw[:, 0].round()) == set(range(5))


def test_b4_the_bound_is_told_term_by_term(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--part", "all", "--method", "bound", "--steps", "20", "-n", "6"]
    for model, unit, count in (("pictures", "bits", 4), ("points", "nats", 3)):
        assert ask(place, model, f"{model}.npy", *more) == 0
        out = capsys.readouterr().out
        (line,) = re.findall(rf"terms +(.*) {unit}/dim, which add up to it", out)
        parts = [float(part.split()[-1]) for part in line.split(", ")]
        (whole,) = re.findall(rf"{unit}/dim +(\S+) ±", out)
        assert len(parts) == count
        assert sum(parts) == pytest.approx(float(whole), abs=3e-4)
        assert ask(place, model, f"{model}.npy", *more, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert sum(told["terms"].values()) == pytest.approx(told["per_dim"])
    assert ask(place, "points", "points.npy", "-n", "2", "--part", "all") == 0
    assert "terms" not in capsys.readouterr().out


class Late:
    """What a device owes still: it is there when it is asked for."""

    def sum(self) -> Late:
        return self

    def item(self) -> None:
        time.sleep(0.02)


def test_the_cost_told_waits_for_a_device_that_works_on_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[cost.__module__], "divergence", lambda *_: (None, Late()))
    assert cost(made("mlp", (2,), REALS, {}), 1).seconds > 0.02 * USUAL_CALLS


def test_held_out_items_are_taken_of_the_data_of_training(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(place, "pictures", "pictures.npy", "--json", "--probes", "2") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["part"], told["items"]) == ("heldout", 1)
    assert told["probe_error"] is not None


def test_the_bound_is_no_less_than_the_likelihood_and_near_it(place: Path) -> None:
    bundle, raw = load(place / "pictures.safetensors"), np.load(place / "pictures.npy")[:12, None]
    sure = likelihood(bundle, raw)
    near = bounded(bundle, raw, steps=300, dequantised=True)
    assert near.unit == "bits"
    assert 0 < near.per_dim - sure.per_dim < 0.25
    assert bounded(bundle, raw, steps=50, dequantised=True).value > near.value


@pytest.mark.parametrize(
    ("model", "data", "more", "words"),
    [
        ("points", "points.npy", ["--unit", "bits"], "only levels have codes"),
        ("pictures", "pictures.npy", ["--unit", "nats"], "grows without bound"),
        ("points", "pictures.npy", [], "shape"),
        ("points", "points.npy", ["--draws", "3"], "need no dequantisation"),
        ("pictures", "pictures.npy", ["--draws", "3", "--probes", "2"], "pass for likelihood"),
        ("pictures", "pictures.npy", ["--method", "odes"], "Did you mean 'ode'"),
        ("pictures", "pictures.npy", ["--tolerance", "7"], "not a number from"),
        ("pictures", "pictures.npy", ["--steps", "9"], "--steps goes with --method bound, not"),
        ("points", "points.npy", ["--method", "bound", "--draws", "2"], "--draws goes with"),
        ("points", "points.npy", ["--method", "bound", "--probes", "2"], "--probes goes with"),
        ("points", "points.npy", ["--method", "bound", "--tolerance", "0.01"], "--tolerance goes"),
    ],
)
def test_what_has_no_meaning_is_refused_in_a_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], model: str, data: str, more: list[str],
    words: str,
) -> None:  # fmt: skip
    assert ask(place, model, data, *more) == 2
    assert words in capsys.readouterr().err
