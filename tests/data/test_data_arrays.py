"""Arrays: what the axes mean, what is refused and with which words."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.data import open_data, report
from ornstein.data.dataset import subset
from ornstein.errors import DataError, UsageError


def real(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def byte(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "kind", "shape", "dtype"),
    [
        (real(9, 4), "vector", (4,), "float32"),
        (real(9, 4).astype(">f8"), "vector", (4,), "float32"),
        (real(9, 4).astype(np.float16), "vector", (4,), "float32"),
        (np.arange(36).reshape(9, 4), "vector", (4,), "float32"),
        (real(9, 1, 100), "series", (1, 100), "float32"),
        (real(9, 12, 100), "series", (12, 100), "float32"),
        (real(9, 28, 28), "image", (1, 28, 28), "float32"),
        (byte(9, 28, 20), "image", (1, 28, 20), "uint8"),
        (byte(9, 2, 90), "image", (1, 2, 90), "uint8"),
        (byte(9, 28, 20, 3), "image", (3, 28, 20), "uint8"),
        (byte(9, 3, 28, 20), "image", (3, 28, 20), "uint8"),
        (byte(9, 28, 28, 1), "image", (1, 28, 28), "uint8"),
        (real(9, 1, 28, 28), "image", (1, 28, 28), "float32"),
        (real(9, 16, 32, 32), "image", (16, 32, 32), "float32"),
        (real(9, 32, 24, 8), "image", (8, 32, 24), "float32"),
        (byte(9, 8, 8) > 99, "image", (1, 8, 8), "uint8"),
    ],
)
def test_the_axes_mean_what_the_table_says(
    array: np.ndarray, kind: str, shape: tuple[int, ...], dtype: str
) -> None:
    data = open_data(array)
    assert (data.kind, data.shape, data.items.dtype.name) == (kind, shape, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_channels_last_in_a_file_are_the_same_data_as_first(tmp_path: Path, dtype: str) -> None:
    """Two roads: turned when they are read, and an array in memory that is turned already."""
    pictures = byte(300, 9, 8, 3).astype(dtype)
    np.save(tmp_path / "x.npy", pictures)
    data = open_data(tmp_path / "x.npy")
    truth = open_data(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    assert data.fingerprint == truth.fingerprint
    assert data.coding == truth.coding
    for pick in ([5, 0, 299, 5], np.array([], int)):
        ours, theirs = data.batch(pick), truth.batch(pick)
        assert torch.equal(ours, theirs)
        assert ours.is_contiguous()
    np.testing.assert_array_equal(data.items[7], truth.items[7])
    np.testing.assert_array_equal(data.items[290:400], truth.items[290:400])
    assert subset(data, 40).fingerprint == subset(truth, 40).fingerprint
    assert report(data)[1:2] + report(data)[3:] == report(truth)[1:2] + report(truth)[3:]
    resized = [open_data(x, size=4).fingerprint for x in (tmp_path / "x.npy", pictures)]
    assert resized[0] == resized[1]
    other = [open_data(x, upscale=2, size=8) for x in (tmp_path / "x.npy", pictures)]
    low = [data.condition_batch([3, 1])["low"] for data in other]
    assert torch.equal(low[0], low[1])


def test_channels_last_in_a_file_stay_there(tmp_path: Path) -> None:
    """They were turned as a whole, and held in memory as long as they were used."""
    place, shape = tmp_path / "x.npy", (8_000, 64, 32, 3)
    raw = np.lib.format.open_memmap(place, "w+", np.uint8, shape)
    raw[:] = byte(*shape)
    raw.flush()
    tracemalloc.start()
    try:
        data = open_data(place)
        assert data.fingerprint
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data.shape == (3, 64, 32)
    assert most < place.stat().st_size / 3


def test_what_is_not_finite_is_counted_over_all_of_a_file(tmp_path: Path) -> None:
    pictures = real(70_000, 8, 8, 3)  # more than are looked at together
    pictures[69_000, 1, 2, 0] = np.nan
    pictures[69_999] = np.inf
    np.save(tmp_path / "x.npy", pictures)
    with pytest.raises(DataError, match=r"holds 193 values .* item 69000 at \[0, 1, 2\]"):
        open_data(tmp_path / "x.npy")


def test_channels_last_moves_the_channels_and_nothing_else() -> None:
    pictures = byte(5, 7, 6, 3)
    data = open_data(pictures)
    assert data.items[4, 2, 1, 5] == pictures[4, 1, 5, 2]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (real(9), r"\(N, 1\)"),
        (real(9, 2, 2, 2, 2), "2, 3 or 4 axes"),
        (real(9, 28, 20), r"x\[:, None\]"),
        (byte(9, 3, 28, 4), r"x\.transpose\(0, 2, 3, 1\)"),
        (real(9, 16, 8, 8), "layout='NCHW'"),
        (np.array(["a", "b"]), "real numbers"),
        (real(9, 2).astype(complex), "real numbers"),
        (np.zeros((0, 3)), "no data"),
        (np.zeros((3, 0)), "no data"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_way_out(array: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_data(array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    array = real(9, 4)
    array[6, 2] = value
    with pytest.raises(
        DataError, match=r"1 values that are not finite, the first in item 6 at \[2\]"
    ):
        open_data(array)


def test_an_npz_brings_labels_class_names_kind_and_layout(tmp_path: Path) -> None:
    words = np.array(["cat", "ant", "cat", "bee"])
    np.savez(tmp_path / "a.npz", x=real(4, 28, 20), y=words, kind="series")
    data = open_data(tmp_path / "a.npz")
    assert (data.kind, data.shape, data.classes) == ("series", (28, 20), ("ant", "bee", "cat"))
    assert data.labels[[0, 1, 2, 3]].tolist() == [2, 0, 2, 1]
    names = np.array(["zero", "one", "two"])
    np.savez(
        tmp_path / "b.npz",
        data=real(4, 16, 8, 8),
        labels=[2, 0, 2, 0],
        classes=names,
        layout="NCHW",
    )
    data = open_data(tmp_path / "b.npz")
    assert (data.shape, data.classes) == ((16, 8, 8), ("zero", "one", "two"))
    assert data.labels[[0, 1]].tolist() == [2, 0]
    np.savez(tmp_path / "c.npz", anything=real(4, 3), other=real(4, 3))
    with pytest.raises(DataError, match="one data array called x, data or images"):
        open_data(tmp_path / "c.npz")


def test_integer_labels_keep_their_numbers_as_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=byte(4, 8, 8), labels=np.array([[7], [3], [7], [-1]]))
    data = open_data(tmp_path / "a.npz")
    assert data.classes == ("-1", "3", "7")
    assert data.labels[[0, 3]].tolist() == [2, 0]


@pytest.mark.parametrize("labels", [np.eye(4), np.arange(3), np.array([0.5, 1, 2, 3])])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", x=byte(4, 8, 8), y=labels)
    with pytest.raises(DataError, match="labels"):
        open_data(tmp_path / "a.npz")


def test_the_usual_mnist_npz_holds_out_its_test_part(tmp_path: Path) -> None:
    parts = {"x_train": byte(30, 8, 8), "y_train": np.arange(30) % 3}
    np.savez(tmp_path / "m.npz", **parts, x_test=byte(6, 8, 8), y_test=np.arange(6) % 3)
    data = open_data(tmp_path / "m.npz")
    assert data.heldout.tolist() == list(range(30, 36))
    assert data.labels[data.heldout].tolist() == [0, 1, 2, 0, 1, 2]


class Boom:
    """Unpickling this would end the test run."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        import os

        return os._exit, (3,)


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    objects = np.array([Boom()], dtype=object)
    np.save(tmp_path / "a.npy", objects)
    np.savez(tmp_path / "b.npz", x=objects)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Boom()))
    (tmp_path / "d.npz").write_bytes(b"PK\3\4 not a zip")
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(DataError, match="pickled Python objects, which are never read"):
            open_data(tmp_path / name)
    with pytest.raises(DataError, match="damaged"):
        open_data(tmp_path / "d.npz")


def test_size_resizes_pictures_and_is_refused_for_the_rest() -> None:
    flat = np.full((3, 8, 12), 77, np.uint8)
    data = open_data(flat, size=(16, 16))
    assert data.shape == (1, 16, 16)
    assert (data.items == 77).all()
    with pytest.raises(UsageError, match="size is for pictures"):
        open_data(real(9, 4), size=8)
    for size in (0, 3, 5000, (8,), 8.5):
        with pytest.raises(UsageError, match="cannot be used"):
            open_data(flat, size=size)  # type: ignore[arg-type]


def test_real_pictures_are_resized_as_real_numbers() -> None:
    data = open_data(np.full((3, 1, 9, 9), 0.3), size=16)
    np.testing.assert_allclose(data.items, 0.3, atol=1e-6)
    assert (data.coding.low, data.coding.high, data.quantised) == (0.0, 1.0, False)


def test_a_file_of_numpy_is_known_by_what_it_holds_and_not_by_its_name(tmp_path: Path) -> None:
    array = real(30, 2).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", x=array)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name in ("a.npz", "b.npy"):
        np.testing.assert_array_equal(open_data(tmp_path / name).items, array)


def test_one_colour_picture_is_not_taken_for_many_narrow_ones() -> None:
    with pytest.raises(DataError, match=r"one picture.*x\[None\]"):
        open_data(byte(64, 48, 3))
    assert open_data(byte(64, 48, 3)[None]).shape == (3, 64, 48)


@pytest.mark.parametrize("array", [1e6 + 0.001 * real(50, 2), 1e-47 * real(50, 2)])
def test_numbers_that_float32_cannot_tell_apart_are_refused(array: np.ndarray) -> None:
    """They were learned as a few steps, or as zeros."""
    other = np.concatenate([real(50, 1), array], axis=1)
    with pytest.raises(DataError, match=r"channel 1 apart.*subtract the mean"):
        open_data(other)
    for good in (1e6 + real(50, 2), 1e-30 * real(50, 2), np.full((50, 2), 1e9 + 0.3)):
        open_data(good)
    open_data(1_700_000_000 + 86_400 * np.arange(100)[:, None])  # days, as seconds


@pytest.mark.parametrize(("top", "high"), [(200, 255), (1000, 1023), (4095, 4095), (4096, 16383)])
def test_the_range_of_deep_pictures_is_that_of_their_bits(top: int, high: int) -> None:
    """Twelve bits in sixteen were shown at a sixteenth of their brightness."""
    items = np.linspace(0, top, 30 * 64).reshape(30, 8, 8).astype(np.uint16)
    assert (open_data(items).coding.low, open_data(items).coding.high) == (0, high)


def test_resizing_keeps_the_range_of_real_pictures() -> None:
    """The filter overshoots at edges: samples beyond white, and all else greyer."""
    items = (np.random.default_rng(0).random((30, 1, 16, 16)) > 0.5).astype(np.float32)
    data = open_data(items, size=8)
    assert (data.coding.low, data.coding.high) == (0, 1)
    assert data.items.min() >= 0
    assert data.items.max() <= 1


def test_a_factor_that_does_not_divide_is_answered_by_a_size_that_it_does() -> None:
    with pytest.raises(DataError, match="a size that it divides: --size 33"):
        open_data(byte(9, 32, 32), upscale=3)
    assert open_data(byte(9, 32, 32), upscale=3, size=33).shape == (1, 33, 33)


def test_a_size_that_means_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{k * k},{k % 7}\n" for k in range(30)))
    with pytest.raises(UsageError, match="is a table"):
        open_data(tmp_path / "t.csv", size=8)
