"""Series from .wav and CSV files: read, cut, and written as they came."""

from __future__ import annotations

import io
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from ornstein.data import open_data
from ornstein.data.codings import coding_from_json
from ornstein.data.sound import open_sounds
from ornstein.data.wave import Wave, read_wave, write_wave
from ornstein.errors import DataError, UsageError

RNG = np.random.default_rng(3)
DTYPES = {8: "uint8", 16: "int16", 32: "int32", -32: "float32", -64: "float64"}


@pytest.mark.parametrize("bits", DTYPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_of_every_width_is_that_of_scipy(bits: int, channels: int, tmp_path: Path) -> None:
    """There by scipy's writer, back by scipy's reader."""
    unit = RNG.uniform(-1, 1, (channels, 101))
    bytes_ = write_wave(Wave(unit, 8000, bits))
    rate, theirs = wavfile.read(io.BytesIO(bytes_))
    assert (rate, theirs.dtype, len(theirs)) == (8000, DTYPES[bits], 101)
    wavfile.write(tmp_path / "x.wav", 8000, theirs)
    ours = read_wave(tmp_path / "x.wav")
    assert (ours.rate, ours.bits) == (8000, bits)
    assert ours.samples == pytest.approx(unit, abs=1e-7 if bits < 0 else 1.01 / 2 ** (bits - 1))
    assert write_wave(ours) == bytes_


def test_24_bits_are_those_of_the_standard_library(tmp_path: Path) -> None:
    whole = np.array([0, 1, -1, 2**23 - 1, -(2**23), 1234567])
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(96_000)
        file.writeframes(b"".join(int(v).to_bytes(3, "little", signed=True) for v in whole))
    sound = read_wave(tmp_path / "x.wav")
    assert (sound.samples[0] * 2**23).tolist() == whole.tolist()
    with wave.open(io.BytesIO(write_wave(sound))) as file:
        assert file.getparams()[:4] == (1, 3, 96_000, 6)


def test_a_folder_of_sounds_is_cut_into_items_of_one_length(tmp_path: Path) -> None:
    for name, length in (("kick/a", 100), ("kick/b", 250), ("snare/c", 60), ("snare/d", 100)):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        wavfile.write(path, 8000, (RNG.uniform(-1, 1, length) * 30_000).astype(np.int16))
    data = open_data(tmp_path, size=100)
    assert (data.kind, data.items.shape, data.classes) == (
        "series",
        (5, 1, 100),
        ("kick", "snare"),
    )
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    assert not data.items[3, 0, 60:].any()
    again = coding_from_json(data.coding.to_json())
    (name, content), *_ = again.files(data.items, "s").items()
    (tmp_path / name).write_bytes(content)
    assert (again, name) == (data.coding, "s-00000.wav")
    assert content == (tmp_path / "kick" / "a.wav").read_bytes()


def test_what_macos_hides_beside_sounds_is_no_sound(tmp_path: Path) -> None:
    for name in ("kick/a", "kick/b", "snare/c", "snare/d"):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        wavfile.write(path, 8000, (RNG.uniform(-1, 1, 100) * 30_000).astype(np.int16))
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(60))
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old" / "e.wav").write_bytes(b"torn")
    data = open_data(tmp_path)
    assert (data.items.shape, data.classes) == ((4, 1, 100), ("kick", "snare"))


def test_hidden_files_do_not_make_a_folder_one_of_sounds(tmp_path: Path) -> None:
    (tmp_path / "._a.wav").write_bytes(b"\0\5\x16\7")
    with pytest.raises(DataError, match="no pictures"):
        open_data(tmp_path)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float64])
def test_sounds_read_in_pieces_are_those_that_another_reads_at_once(
    kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ornstein.data.sound._AT_ONCE", 50)
    want, top = [], 1 if kind is np.float64 else np.iinfo(kind).max
    for k, length in enumerate((230, 64, 7, 65, 400)):
        channels = 1 + k % 2
        raw = (RNG.uniform(-1, 1, (length, channels)) * top).astype(kind)
        wavfile.write(tmp_path / f"{k}.wav", 8000, raw)
        unit = (raw / (1.0 if kind is np.float64 else top + 1.0)).mean(1)
        count = max(1, length // 16)
        want.append(np.pad(unit, (0, max(0, 16 - length)))[: count * 16].reshape(count, 1, 16))
    data = open_data(tmp_path, size=16)
    np.testing.assert_array_equal(data.items, np.concatenate(want).astype(np.float32))


def test_sounds_are_read_within_a_few_times_their_size(tmp_path: Path) -> None:
    """They took 14 times of it: whole files as floats of 8 bytes, all at once."""
    path = tmp_path / "long.wav"
    wavfile.write(path, 8000, RNG.integers(-30_000, 30_000, 20_000_000, dtype=np.int16))
    tracemalloc.start()
    try:
        data = open_sounds(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data) == 20_000_000 // 4096
    assert most < 5 * path.stat().st_size


def test_floats_beyond_one_are_cut_off_and_said(tmp_path: Path) -> None:
    """A file of floats up to 32,767 became noise of -1 and 1, and nothing was said."""
    for name, top in (("a", 1.0), ("b", 1.25), ("c", 3.5)):
        sound = np.linspace(-top, top, 64, dtype=np.float32)
        wavfile.write(tmp_path / f"{name}.wav", 8000, sound)
    data = open_data(tmp_path)
    truth = [np.linspace(-top, top, 64).clip(-1, 1) for top in (1.0, 1.25, 3.5)]
    assert data.items[:, 0] == pytest.approx(np.array(truth), abs=1e-6)
    (note,) = [note for note in data.notes if "loud" in note]
    assert note.startswith("Cut off at -1 and 1: 2 files of floats beyond, the loudest 'c.wav' ")
    assert "up to 3.5;" in note
    for name in "bc":
        (tmp_path / f"{name}.wav").unlink()
    assert not [note for note in open_data(tmp_path).notes if "loud" in note]


def test_sounds_that_do_not_go_together_or_are_none_are_refused(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(50, np.int16))
    wavfile.write(tmp_path / "b.wav", 16_000, np.zeros(50, np.int16))
    with pytest.raises(DataError, match=r"16,000 samples a second, 'a.wav' has 8,000"):
        open_data(tmp_path)
    (tmp_path / "b.wav").write_bytes(b"RIFF0000WAVEfmt ")
    with pytest.raises(DataError, match=r"b.wav' is not a .wav file, or is cut short"):
        open_data(tmp_path / "b.wav")
    law = bytearray(write_wave(Wave(np.zeros((1, 9)), 8000, 8)))
    law[20] = 7  # mu-law
    (tmp_path / "b.wav").write_bytes(law)
    with pytest.raises(DataError, match="format 7 with 8 bits in 1 channels"):
        open_data(tmp_path / "b.wav")


def lines(numbers: np.ndarray) -> str:
    return "".join(",".join(f"{v:.3f}" for v in row) + "\n" for row in numbers)


def test_long_lines_without_names_are_a_series_each(tmp_path: Path) -> None:
    numbers = np.round(RNG.normal(size=(30, 12)), 3)
    (tmp_path / "s.csv").write_text(lines(numbers))
    data = open_data(tmp_path / "s.csv")
    assert (data.kind, data.shape) == ("series", (1, 12))
    assert data.items[:, 0] == pytest.approx(numbers.astype(np.float32))
    assert "Each line is a series" in data.notes[0]
    assert data.coding.files(data.items, "x") == {"x.csv": lines(numbers).encode()}


def test_decimal_commas_are_no_separators(tmp_path: Path) -> None:
    numbers = np.round(RNG.normal(size=(30, 12)), 3)
    text = lines(numbers).replace(",", ";").replace(".", ",")
    (tmp_path / "s.csv").write_text(text)
    data = open_data(tmp_path / "s.csv")
    assert data.items[:, 0] == pytest.approx(numbers.astype(np.float32))
    assert data.coding.files(data.items, "x") == {"x.csv": text.encode()}


def test_short_lines_are_channels_of_time_that_runs_down(tmp_path: Path) -> None:
    """Windows in a row; the end of the time is held out and no window reaches over the cut."""
    time = np.arange(400.0)
    (tmp_path / "s.csv").write_text(lines(np.stack([time, time**2, -time], 1)))
    data = open_data(tmp_path / "s.csv", size=20)
    assert data.shape == (2, 20)  # the first column rises evenly, so it is the time
    starts = -data.items[:, 1, 0]
    assert (np.diff(starts[data.train]) == 1).all()
    assert (data.items[:, 1] == -(starts[:, None] + np.arange(20))).all()
    assert (data.items[:, 0] == data.items[:, 1] ** 2).all()
    assert starts[data.train].max() + 20 <= 380 == starts[data.heldout].min()
    files = data.coding.files(data.items[:1], "x")
    assert files["x-00000.csv"].splitlines()[3] == b"9.000,-3.000"


def test_a_file_with_names_is_a_table_unless_its_owner_says_series(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        "day;x\n" + "".join(f"0{k}.01.2020;{k},5\n" for k in range(1, 9))
    )
    assert open_data(tmp_path / "s.csv").kind == "table"
    series = open_data(tmp_path / "s.csv", layout="columns", size=4)
    assert (series.kind, series.shape) == ("series", (1, 4))
    files = series.coding.files(series.items[:1], "x")
    assert files["x-00000.csv"].startswith(b"x\n1,5\n2,5\n")


@pytest.mark.parametrize(
    ("text", "layout", "words"),
    [
        ("x,y\n1,2\n3,\n5,6\n", "columns", "line 3 has an empty cell in column 2"),
        ("x,y\n1,2\n3,a\n5,6\n", "rows", "line 3: 'a' is not a number"),
        ("1,2\n3,4\n", "table", "a table needs names in its first line"),
        ("x,y\n1,2\n3,4\n5,6\n", "columns", "has 3 lines, fewer than the 9 of a window"),
    ],
)
def test_series_that_cannot_be_learned_are_refused(
    text: str, layout: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        open_data(tmp_path / "s.csv", layout=layout, size=9)


def test_columns_and_labels_are_for_tables(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(lines(RNG.normal(size=(30, 12))))
    with pytest.raises(UsageError, match="columns and label are for tables"):
        open_data(tmp_path / "s.csv", label="x")


def test_windows_of_a_recording_are_all_learned_or_all_held_out(tmp_path: Path) -> None:
    """Neighbours in time tell of each other, so a split through a file would flatter a model."""
    for k in range(40):
        wavfile.write(tmp_path / f"{k:02}.wav", 8000, RNG.integers(-9999, 9999, 400).astype("<i2"))
    data = open_data(tmp_path, size=100)
    assert data.items.shape == (160, 1, 100)
    files = set((data.heldout // 4).tolist())
    assert len(data.heldout) == 4 * len(files) == 8
    assert not files & set((data.train // 4).tolist())


def test_sounds_in_folders_train_and_test_are_split_by_these(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for word in ("kick", "snare"):
            (tmp_path / part / word).mkdir(parents=True)
            for k in range(3 if part == "train" else 1):
                sound = RNG.integers(-9999, 9999, 200).astype("<i2")
                wavfile.write(tmp_path / part / word / f"{k}.wav", 8000, sound)
    data = open_data(tmp_path, size=100)
    assert data.classes == ("kick", "snare")
    assert data.heldout.tolist() == [0, 1, 2, 3]
    assert data.labels.tolist() == [0, 0, 1, 1, *[0] * 6, *[1] * 6]  # type: ignore[union-attr]


def test_a_sound_of_less_than_a_sample_is_named(tmp_path: Path) -> None:
    empty = write_wave(Wave(np.zeros((2, 1)), 8000, 16))[:-3]
    (tmp_path / "x.wav").write_bytes(empty)
    with pytest.raises(DataError, match="cut short"):
        open_data(tmp_path / "x.wav")


def test_sounds_of_two_rates_are_refused_with_what_makes_them_one(tmp_path: Path) -> None:
    for rate in (8000, 16_000):
        wavfile.write(tmp_path / f"{rate}.wav", rate, np.zeros(50, np.int16))
    with pytest.raises(DataError, match=r"ffmpeg -i IN\.wav -ar 8000 OUT\.wav"):
        open_data(tmp_path)


def test_a_channel_of_tiny_numbers_is_no_time(tmp_path: Path) -> None:
    """Volts of a thousand-millionth: any two steps differ by less than numpy's tolerance."""
    rows = RNG.normal(size=(80, 2)) * 1e-9
    np.savetxt(tmp_path / "nerve.csv", rows, delimiter=",")
    assert open_data(tmp_path / "nerve.csv", size=16).shape == (2, 16)


def test_series_of_long_numbers_with_commas_are_written_with_commas(tmp_path: Path) -> None:
    rows = RNG.normal(size=(5, 9))
    lines = [";".join(repr(v).replace(".", ",") for v in row) for row in rows.tolist()]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    data = open_data(tmp_path / "x.csv")
    (made,) = data.coding.files(data.items, "x").values()
    again = [
        [float(c.replace(",", ".")) for c in line.split(";")] for line in made.decode().split()
    ]
    assert b"." not in made
    assert np.array(again) == pytest.approx(rows, rel=1e-6)
    assert coding_from_json(data.coding.to_json()) == data.coding
