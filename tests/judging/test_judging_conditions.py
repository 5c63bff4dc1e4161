"""Samples of a model that knows more than classes are told what held-out items say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import ornstein
from ornstein.bundle import Bundle
from ornstein.cli.verdicts import announced
from ornstein.core import Denoiser
from ornstein.data import Dataset, open_data
from ornstein.evaluate import reference_of
from ornstein.judging import plan, samples_of


class Listener(Bundle):
    """A model that remembers what it was told, filled-up rows left out of no batch."""

    heard: list[Mapping[str, Tensor]]

    def denoiser(self, cond: Mapping[str, Tensor] | None = None, *rest: object) -> Denoiser:  # type: ignore[override]
        self.heard.append(dict(cond or {}))
        return super().denoiser(cond)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Listener, Dataset]:
    """A model of points that knows their age and class, barely trained, and its data."""
    rng = np.random.default_rng(0)
    told = {"age": rng.uniform(20, 60, 400), "class": ["a", "b", "b", "b"] * 100}
    run = ornstein.train(rng.normal(size=(400, 2)), conditions=told, steps=2, name="told",
                         runs=tmp_path_factory.mktemp("told"),
                         settings={"batch": 16, "net.size": "tiny", "sample.count": 4,
                                   "log_every": 1})  # fmt: skip
    found = run.bundle()
    made = Listener(**{name: getattr(found, name) for name in found.__dataclass_fields__})
    object.__setattr__(made, "heard", [])
    return made, open_data(**run.config.data.opening(), like=found.coding)


def test_each_sample_is_told_what_a_held_out_item_says_of_all_at_once(
    told: tuple[Listener, Dataset],
) -> None:
    bundle, data = told
    made = plan(bundle, data, reference_of(data, "values"), n=50, batch=16, likelihood=False)
    bundle.heard.clear()
    found = samples_of(made)
    sizes = (16, 16, 16, 2)
    ages, classes = (
        torch.cat([h[name][:n] for h, n in zip(bundle.heard, sizes, strict=False)])
        for name in ("age", "class")
    )
    index = made.reference.heldout.index
    turns = np.resize(index, 50)  # fewer are held out than samples are made
    (age,) = (c for c in data.conditions if c.name == "age")
    train = age.values[data.train]
    wanted = (age.values[turns] - train.mean()) / train.std()
    np.testing.assert_allclose(ages.numpy(), wanted, rtol=1e-4)
    assert data.labels is not None
    assert classes.tolist() == data.labels[turns].tolist()
    assert found.asked is not None
    assert found.asked.tolist() == data.labels[turns].tolist()
    assert found.settings["told"] == ["class", "age"]
    assert found.settings["classes"] == "as in the data"
    (line,) = (line for line in announced(made, None) if line.startswith("told"))
    assert line.endswith("each sample what a held-out item says: class, age")


def test_data_that_do_not_say_what_the_model_knows_are_named(
    told: tuple[Listener, Dataset], tmp_path: Path
) -> None:
    bundle, data = told
    np.save(tmp_path / "plain.npy", data.items)
    plain = open_data(tmp_path / "plain.npy")
    made = plan(bundle, plain, reference_of(plain, "values"), n=50, likelihood=False)
    bundle.heard.clear()
    samples = samples_of(made)
    assert samples.asked is None
    assert samples.settings["classes"] == "each alike"
    assert "told" not in samples.settings
    (line,) = (line for line in announced(made, None) if line.startswith("told"))
    words = "each class of the model in turn, and nothing of age: the data do not say them"
    assert line.endswith(words)
    assert bundle.heard[0]["class"][:4].tolist() == [0, 1, 0, 1]
    assert "age" not in bundle.heard[0]
