"""The coding: standardised on the training part, exactly undone, exact through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ornstein.data import Coding, Source, make_dataset
from ornstein.data.codings import coding_from_json
from ornstein.errors import DataError, DivergedError, UsageError

HERE = Source("made in a test")


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 4), *[st.integers(1, 6)] * 2)
    )
)
def test_any_8_bit_pictures_come_back_bit_for_bit(pictures: np.ndarray) -> None:
    coding = make_dataset("p", "image", pictures, source=HERE).coding
    back = coding.decode(coding.encode(pictures))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, pictures)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 4)),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_any_vectors_come_back_to_float32_rounding(points: np.ndarray) -> None:
    coding = make_dataset("v", "vector", points, source=HERE).coding
    back = coding.decode(coding.encode(points))
    scale = np.abs(points - np.array(coding.mean)) + np.abs(points)
    assert (np.abs(back - points) <= 2e-7 * scale + 1e-30).all()


def test_training_items_have_mean_0_and_deviation_1_and_held_out_ones_do_not_count() -> None:
    """A12; the held-out items are made wild, so that measuring on them would show."""
    rng = np.random.default_rng(1)
    items = (rng.gamma(2.0, 9.0, (500, 3, 5, 4)) + np.array([3, 40, 90]).reshape(3, 1, 1)).astype(
        np.uint8
    )
    items[400:] = 255
    data = make_dataset("p", "image", items, heldout=np.arange(400, 500), source=HERE)
    x = data.batch(data.train).double()
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6)


def test_real_data_far_from_0_keeps_its_digits() -> None:
    points = (1e6 + np.random.default_rng(0).standard_normal((1000, 2))).astype(np.float32)
    data = make_dataset("v", "vector", points, source=HERE)
    x = data.batch(data.train).double()
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std()) - 1) < 1e-3
    np.testing.assert_array_equal(data.coding.decode(data.batch([0, 7])), points[[0, 7]])


def test_a_constant_channel_is_encoded_as_0_and_comes_back() -> None:
    items = np.random.default_rng(0).integers(0, 256, (40, 2, 3, 3)).astype(np.uint8)
    items[:, 1] = 17
    data = make_dataset("p", "image", items, source=HERE)
    assert data.coding.std[1] == 1
    x = data.batch([0, 1, 2])
    assert float(x[:, 1].abs().max()) < 1e-6
    assert (data.coding.decode(x)[:, 1] == 17).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e30, 1e30), st.floats(1e-30, 1e30))
def test_a_coding_survives_json_exactly(mean: float, std: float) -> None:
    coding = Coding((mean, 0.1), (std, 1 / 3), "series", low=None, high=None)
    assert Coding.from_json(json.loads(json.dumps(coding.to_json()))) == coding
    picture = Coding((mean,), (std,), "image", low=0.0, high=255.0, levels=256)
    assert Coding.from_json(json.loads(json.dumps(picture.to_json()))) == picture


@pytest.mark.parametrize(
    "change",
    [
        {"mean": []},
        {"std": [0.0]},
        {"std": [float("nan")]},
        {"kind": "sound"},
        {"levels": 256, "low": None},
        {"mean": "a"},
        {"mean": None},
    ],
)
def test_a_damaged_coding_is_refused(change: dict[str, object]) -> None:
    good = Coding((1.0,), (2.0,), "image", low=0.0, high=1.0).to_json()
    with pytest.raises(DataError):
        coding_from_json({**good, **change})


def test_decoding_rounds_and_clips_pictures() -> None:
    coding = Coding((100.0,), (50.0,), "image", low=0.0, high=255.0, levels=256)
    x = torch.tensor([-9.0, 9.0, 0.0, 0.009, 0.011]).view(5, 1, 1, 1)
    assert coding.decode(x).ravel().tolist() == [0, 255, 100, 100, 101]


def test_decoding_what_is_not_finite_says_that_it_diverged() -> None:
    coding = Coding((100.0,), (50.0,), "image", low=0.0, high=255.0, levels=256)
    with pytest.raises(DivergedError, match="not finite"):
        coding.decode(torch.full((1, 1, 2, 2), float("nan")))


def test_a_batch_of_the_wrong_shape_is_refused_with_what_is_needed() -> None:
    coding = Coding((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "image", low=0.0, high=1.0)
    with pytest.raises(UsageError, match="4 axes and 3 channels"):
        coding.encode(np.zeros((2, 8, 8, 3), np.float32))


def test_real_pictures_are_shown_from_black_to_white() -> None:
    pictures = np.linspace(-1, 1, 5, dtype=np.float32).reshape(5, 1, 1, 1)
    coding = make_dataset("p", "image", pictures, source=HERE).coding
    assert coding.show(pictures).ravel().tolist() == [0, 64, 128, 191, 255]


def test_a_channel_that_never_varies_is_told_to_vary_by_nothing() -> None:
    """Its coding divides by 1; a second channel of deviation 1 varies and is told so."""
    items = np.full((6, 2, 1, 1), 7.0, np.float32)
    items[:, 1] = np.array([-1, 1] * 3, np.float32).reshape(6, 1, 1)
    data = make_dataset("p", "image", items, heldout=np.arange(0), source=HERE)
    assert data.coding.std == (1.0, 1.0)
    assert data.coding.about(items) == [
        "mean 7, 0; deviation 0, 1 (measured on the training part)"
    ]


@pytest.mark.parametrize(("channels", "more"), [(4, 0), (5, 2)])
def test_channels_that_are_not_told_are_owned_up_to(channels: int, more: int) -> None:
    """After the mean and after the deviation."""
    items = np.random.default_rng(0).normal(size=(9, channels))
    data = make_dataset("v", "vector", items, source=HERE)
    assert data.coding.about(items)[0].count(", ...") == more
