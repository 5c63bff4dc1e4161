"""Is it learning? Floors against closed forms; what a memorising and a healthy training read."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.core import EDM, Denoiser, Estimate, FiniteData, Level, Principal
from ornstein.model import Conditions
from ornstein.training.batches import evenly
from ornstein.training.objective import WEIGHTS, LogNormal, Objective
from ornstein.training.panel import Answer, Panel, Reading
from ornstein.viz.learning import ratio

OBJECTIVE = Objective(EDM(), LogNormal(), WEIGHTS["edm"])
SPECTRUM = torch.tensor([2.0, 1.0, 0.3, 0.01])


class Drawn:
    """Items of a Gaussian with variances ``SPECTRUM`` along its axes, the last fifth held out."""

    def __init__(self, count: int, seed: int = 0) -> None:
        source = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 4, generator=source) * SPECTRUM.sqrt() + 0.5
        self.train = torch.arange(count * 4 // 5)
        self.heldout = torch.arange(count * 4 // 5, count)

    def batch(self, indices: Tensor) -> Tensor:
        return self.x[indices]

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        raise AssertionError


def panel(items: Drawn) -> Panel:
    return Panel(items, OBJECTIVE, 3, lambda _: {}, torch.device("cpu"))


def as_model(law: Denoiser) -> Answer:
    def answer(x: Tensor, level: Level, cond: Conditions) -> Estimate:
        return law(x, level)

    return answer


def test_the_linear_floor_is_the_posterior_variance_of_the_gaussian() -> None:
    reading = panel(Drawn(2_500)).read(as_model(FiniteData(torch.zeros(1, 4))))
    snr = torch.tensor(reading.log_snr, dtype=torch.float64).exp()[:, None]
    expected = (SPECTRUM / (1 + snr * SPECTRUM)).mean(1)
    for part in ("heldout", "train"):
        np.testing.assert_allclose(reading.errors[part]["linear"], expected, rtol=0.12)


def test_memory_finds_training_items_and_answers_others_by_the_nearest() -> None:
    items = Drawn(500)
    errors = panel(items).read(as_model(FiniteData(torch.zeros(1, 4)))).errors
    assert errors["train"]["memory"][-1] == pytest.approx(0, abs=1e-12)
    nearest = torch.cdist(items.x[400:], items.x[:400]).min(1).values  # all 100 are asked
    assert errors["heldout"]["memory"][-1] == pytest.approx(
        float(nearest.square().mean()) / 4, rel=1e-3
    )


def test_the_linear_denoiser_has_ratio_1_and_remembers_nothing() -> None:
    items = Drawn(500)
    linear = Principal.fit(items.x[:400], 4)
    reading = panel(items).read(as_model(linear))
    assert reading.ratio("heldout") == pytest.approx([1.0] * len(reading.log_snr))
    assert reading.memory == pytest.approx(0, abs=1e-9)


def test_perfect_memory_is_seen_as_such_and_beyond_doubt() -> None:
    items = Drawn(200)
    reading = panel(items).read(as_model(FiniteData(items.x[:160])))
    assert reading.memory is not None
    assert reading.doubt is not None
    assert reading.memory == pytest.approx(1, abs=1e-3)
    assert reading.memory > 3 * reading.doubt


def test_what_never_saw_the_items_remembers_nothing_within_its_doubt() -> None:
    wrong = Principal(torch.zeros(4), torch.eye(4), torch.tensor([0.3, 0.3, 2.0, 2.0]), 0.0)
    found = [panel(Drawn(400, seed)).read(as_model(wrong)) for seed in range(12)]
    memory, doubt = np.array([(r.memory, r.doubt) for r in found], dtype=float).T
    assert abs(memory.mean()) < 3 * doubt.mean() / math.sqrt(12)
    assert doubt.mean() == pytest.approx(memory.std(ddof=1), rel=0.5)


def test_without_held_out_items_there_is_no_verdict() -> None:
    items = Drawn(50)
    items.heldout = torch.arange(0)
    reading = panel(items).read(as_model(FiniteData(items.x)))
    assert (reading.memory, reading.part) == (None, "train")


def test_a_reading_survives_the_log() -> None:
    items = Drawn(60)
    reading = panel(items).read(as_model(FiniteData(items.x[:48])))
    again = Reading.of(json.loads(json.dumps(reading.line())))
    assert again.ratio("heldout", "memory") == pytest.approx(
        reading.ratio("heldout", "memory"), rel=2e-3
    )
    assert (again.memory, again.doubt) == (reading.memory, reading.doubt)


class Large:
    """Items of 2,000 values, of which one in four held out; copies of three where asked for."""

    def __init__(self, count: int, different: int) -> None:
        source = torch.Generator().manual_seed(1)
        few = torch.randn(different, 2000, generator=source)
        self.x = few[torch.arange(count) % different]
        self.train, self.heldout = torch.arange(count // 4, count), torch.arange(count // 4)
        self.most = 0

    def batch(self, indices: Tensor) -> Tensor:
        self.most = max(self.most, len(indices))
        return self.x[indices]

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        raise AssertionError


@pytest.mark.parametrize("different", [1, 3])
def test_the_floors_of_copies_are_those_of_the_items_that_differ(different: int) -> None:
    reading = panel(Large(60, different)).read(as_model(FiniteData(torch.zeros(1, 2000))))
    x = Large(60, different).x[:different]
    variances = torch.linalg.svdvals(x - x.mean(0)).double() ** 2 / different
    snr = torch.tensor(reading.log_snr, dtype=torch.float64).exp()[:, None]
    expected = (variances / (1 + snr * variances)).sum(1) / 2000
    # By 90 numbers of noise in all, and where float32 is finer than the error.
    np.testing.assert_allclose(reading.errors["train"]["linear"][:10], expected[:10], rtol=0.5)
    # Of one item alone no denoiser errs that knows it, and there is no share to be told.
    assert (reading.memory is None) is (different == 1)
    assert [math.isnan(r) for r in reading.ratio("heldout")] == [different == 1] * 12
    assert Reading.of(json.loads(json.dumps(reading.line()))).memory == reading.memory


def test_of_large_items_no_more_are_read_than_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of pictures of 256x256, 3.2 GB were, at each preview."""
    whole, bounded = Large(800, 800), Large(800, 800)
    expected = panel(whole).read(as_model(FiniteData(torch.zeros(1, 2000))))
    assert whole.most == 600  # all that there are for training
    monkeypatch.setattr("ornstein.training.panel.MOST_STORED", 90 * 2000, raising=False)
    monkeypatch.setattr("ornstein.training.panel.MOST_FITTED", 30 * 2000, raising=False)
    reading = panel(bounded).read(as_model(FiniteData(torch.zeros(1, 2000))))
    assert bounded.most <= 90 + 64  # those that are asked about are known, too
    for part in ("heldout", "train"):
        assert reading.errors[part]["model"] == expected.errors[part]["model"]
    assert reading.errors["train"]["memory"][-1] == pytest.approx(0, abs=1e-9)
    monkeypatch.setattr("ornstein.training.panel.MOST_STORED", 2000, raising=False)
    assert panel(Large(800, 800)).count == 8


@pytest.mark.parametrize("total", [19_990_000, 2**24 + 2, 3 * 10**9])
def test_places_among_more_items_than_float32_can_count_are_all_there(total: int) -> None:
    places = evenly(total, 4096)
    assert (int(places[0]), int(places[-1])) == (0, total - 1)
    exact = [round(k * (total - 1) / 4095) for k in range(4096)]
    assert places.tolist() == exact


def test_fewer_places_than_asked_for_are_all() -> None:
    assert evenly(5, 64).tolist() == [0, 1, 2, 3, 4]
    assert evenly(1, 64).tolist() == [0]


def test_errors_that_are_not_finite_are_null_in_the_log_and_no_number_again() -> None:
    errors = {"heldout": {"model": (math.inf, 2.0, math.nan), "linear": (1.0, 4.0, 1.0)}}
    line = json.loads(json.dumps(Reading((0.0, 1.0, 2.0), errors, 9).line(), allow_nan=False))
    np.testing.assert_equal(Reading.of(line).errors["heldout"]["model"], [np.nan, 2.0, np.nan])
    np.testing.assert_equal(ratio(line, "heldout"), [np.nan, 0.5, np.nan])


def test_of_one_held_out_item_alone_nobody_can_tell_what_is_remembered() -> None:
    items = Drawn(40)
    items.heldout = items.heldout[:1]
    reading = panel(items).read(as_model(FiniteData(items.x[:32])))
    assert (reading.memory, reading.doubt) == (None, None)
    json.dumps(reading.line(), allow_nan=False)
