"""Names: what ships, what is found elsewhere, what is said when it is missing."""

from __future__ import annotations

import gzip
import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ornstein.data import details, names, open_data, report
from ornstein.data import sources as sources_module
from ornstein.data.arrays import from_arrays
from ornstein.data.dataset import Source
from ornstein.data.emoji import ASSETS
from ornstein.data.sources import FASHION_CLASSES
from ornstein.errors import DataError, UsageError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORNSTEIN_DATA", raising=False)


def test_the_digits_are_those_of_scikit_learn() -> None:
    found = importlib.util.find_spec("sklearn")  # its file alone: importing it takes seconds
    if found is None or found.origin is None:
        pytest.skip("scikit-learn is not here")
    table = np.loadtxt(Path(found.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    x, y = table[:, :-1], table[:, -1]
    data = open_data("digits")
    assert data.shape == (1, 8, 8)
    np.testing.assert_array_equal(data.labels, y)
    # 255/16 a level: dividing and rounding gives the 17 levels back.
    np.testing.assert_array_equal(np.rint(data.items[:, 0] * (16 / 255)).reshape(-1, 64), x)


def test_the_beats_have_their_peak_at_sample_96_and_stay_in_the_range_of_the_record() -> None:
    """The record lies in -3.49..3.65 mV; read as unsigned it would reach hundreds."""
    data = open_data("ecg")
    assert (len(data), data.shape, data.kind) == (500, (1, 256), "series")
    assert -3.5 < data.items.min() < data.items.max() < 3.66
    window = data.items[:, 0, 86:107]
    assert (window.argmax(1) == 10).mean() > 0.95
    assert float(np.median(window[:, 10] - np.median(data.items[:, 0], axis=1))) > 1.0


def test_the_penguins_are_344_of_three_species_with_19_gaps() -> None:
    """Counts as the authors publish them: 152 Adelie, 124 Gentoo, 68 Chinstrap; 333 complete."""
    data = open_data("penguins", label="species")
    assert (data.kind, len(data), data.classes) == (
        "table",
        344,
        ("Adelie", "Chinstrap", "Gentoo"),
    )
    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [152, 68, 124]
    gaps = np.isnan(data.items)
    assert (gaps.sum(), (~gaps.any(1)).sum()) == (19, 333)
    assert data.source.licence == "CC0-1.0"


def test_the_emoji_are_on_white_with_a_name_a_caption_and_one_of_eight_classes() -> None:
    data = open_data("emoji")
    assert (len(data), data.shape, len(data.classes)) == (1636, (3, 32, 32), 8)
    assert len(data.names) == len(data.captions) == 1636
    assert not {"Flags", "Component"} & set(data.classes)
    at = data.names.index("red_circle")
    assert data.captions[at] == "red circle"
    red, green, blue = data.items[at, :, 16, 16].tolist()
    assert red > 200 > 90 > max(green, blue)
    assert (data.items[at, :, 0, 0] == 255).all()
    # A fir tree is nearly its own mirror image left to right, and far from it top to bottom.
    tree = data.items[data.names.index("evergreen_tree")].astype(float)
    sideways, upside_down = np.abs(tree - tree[:, :, ::-1]), np.abs(tree - tree[:, ::-1])
    assert 3 * sideways.mean() < upside_down.mean()


def test_the_assets_are_small_and_hold_no_objects() -> None:
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 2_500_000
    for path in ASSETS.glob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            assert all(file[key].dtype.kind in "iu" for key in file.files)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="the package dataset-fashion-mnist is not here")
def test_fashion_mnist_has_its_published_moments_and_its_official_test_set() -> None:
    data = open_data("fashion-mnist")
    assert (len(data.train), len(data.heldout), data.shape) == (60_000, 10_000, (1, 28, 28))
    assert data.coding.mean[0] / 255 == pytest.approx(0.2860, abs=5e-5)
    assert data.coding.std[0] / 255 == pytest.approx(0.3530, abs=5e-5)
    assert data.labels is not None
    assert np.bincount(data.labels[data.train]).tolist() == [6000] * 10
    assert data.classes[int(data.labels[0])] == "Ankle boot"  # the first picture of the file
    assert data.classes == FASHION_CLASSES


def idx(array: np.ndarray) -> bytes:
    return (
        b"\0\0\x08"
        + bytes([array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def idx_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 5)).astype(np.uint8)
    y = (np.arange(40) % 4).astype(np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(x[:30]))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y[:30])))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x[30:])))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(y[30:]))
    return folder


def test_a_folder_of_idx_files_opens_like_mnist_and_damage_is_named(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "mine")
    data = open_data(folder)
    assert (len(data.train), len(data.heldout), data.shape) == (30, 10, (1, 6, 5))
    assert data.classes == ("0", "1", "2", "3")
    (folder / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((30, 6, 5), np.uint8))[:-1])
    with pytest.raises(DataError, match="899 bytes, but its header says"):
        open_data(folder)
    (folder / "train-images-idx3-ubyte").write_bytes(b"not an index")
    with pytest.raises(DataError, match="not an IDX file"):
        open_data(folder)
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"train-images.* cannot be read"):
        open_data(folder)


def test_a_name_is_found_in_the_folder_of_the_environment_variable_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORNSTEIN_DATA", str(tmp_path))
    np.save(tmp_path / "mine.npy", np.zeros((5, 2)))
    np.save(tmp_path / "digits.npy", np.zeros((5, 3)))
    idx_folder(tmp_path / "mnist")
    assert open_data("mine").shape == (2,)
    assert open_data("digits").shape == (3,)
    assert len(open_data("mnist").heldout) == 10


def test_fashion_mnist_of_other_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORNSTEIN_DATA", str(tmp_path))
    idx_folder(tmp_path / "fashion-mnist")
    with pytest.raises(DataError, match="differs from the published Fashion-MNIST"):
        open_data("fashion-mnist")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashion-mnist", "apt-get install dataset-fashion-mnist"),
        ("mnist", "use fashion-mnist or digits"),
        ("cifar10", "use emoji"),
        ("emoji:64", "npm install --ignore-scripts emoji-datasource-google@16.0.0"),
        ("digts", "Did you mean 'digits'"),
        ("a\0b", "neither a path"),
        ("x" * 5000, "neither a path"),
    ],
)
def test_what_is_missing_is_said_with_the_way_to_get_it(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources_module, "DEBIAN", tmp_path)
    with pytest.raises(DataError, match=words) as got:
        open_data(name)
    assert got.value.exit_code == 65
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("name", ["digits:3", "emoji:x", "emoji:500", "two-moons:0", "rings:a"])
def test_a_colon_with_nonsense_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=":"):
        open_data(name)


def test_emoji_at_another_size_come_from_the_npm_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "emoji-datasource-google"
    (package / "img" / "google" / "64").mkdir(parents=True)
    rows = []
    for i, category in enumerate(["Objects", "Flags", "Symbols"]):
        rows.append(
            f'{{"short_name":"a_{i}","unified":"1F60{i}","image":"{i}.png","category":"{category}",'
            f'"sort_order":{9 - i},"has_img_google":true}}'
        )
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[:, :32] = (0, 0, 255, 255)
        Image.fromarray(pixels).save(package / "img" / "google" / "64" / f"{i}.png")
    (package / "emoji.json").write_text("[" + ",".join(rows) + "]")
    monkeypatch.setenv("ORNSTEIN_DATA", str(tmp_path))
    data = open_data("emoji:64")
    assert (data.shape, data.names, data.classes) == (
        (3, 64, 64),
        ("a_2", "a_0"),
        ("Symbols", "Objects"),
    )
    assert data.captions == ("a 2", "a 0")
    assert data.items[0, :, 5, 5].tolist() == [0, 0, 255]
    assert data.items[0, :, 5, 60].tolist() == [255, 255, 255]


def test_every_toy_and_shipped_set_has_a_report() -> None:
    for name in names():
        if name in ("fashion-mnist", "mnist", "cifar10"):
            continue
        data = open_data(name, limit=300)
        lines, table = report(data), details(data)
        assert "300" in lines[0]
        assert table["count"] == 300


def test_copies_and_near_copies_are_counted() -> None:
    rng = np.random.default_rng(0)
    pictures = np.kron(rng.integers(20, 230, (50, 8, 9)), np.ones((1, 4, 4))).astype(np.uint8)
    near = pictures[:7] + np.uint8(2)
    data = open_data(np.concatenate([pictures, pictures[:3], near]))
    table = details(data)
    assert table["exact_copies"] == 3
    assert table["near_duplicates"] == 7


def test_importing_the_data_room_does_not_import_torch() -> None:
    code = "import ornstein.data, sys; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_report_counts_classes_in_words() -> None:
    for words, line in (("aa", "one class of 2: a 2"), ("ab", "2 classes of 1: a 1, b 1")):
        arrays = {"x": np.eye(2), "y": np.array(list(words))}
        assert line in report(from_arrays(arrays, name="n", source=Source("s")))
