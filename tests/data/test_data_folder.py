"""Folders of odd pictures (R26-R32): each file has its row, values are exact."""

from __future__ import annotations

import functools
import io
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ornstein.data import open_data
from ornstein.data.arrays import from_arrays
from ornstein.data.folder import open_folder
from ornstein.errors import DataError, OrnsteinWarning

USED = "used"


def noise(height: int = 12, width: int = 10, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)  # type: ignore[arg-type]
    return out.getvalue()


def rgb(kind: str = "PNG") -> bytes:
    return encoded(Image.fromarray(noise()), kind)


def frames(kind: str) -> bytes:
    first, *rest = [Image.fromarray(noise(seed=i)) for i in range(3)]
    return encoded(first, kind, save_all=True, append_images=rest)


@functools.cache
def huge_png(side: int) -> bytes:
    """A real 1-bit picture of side x side in about 20 kB, written by hand."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    pack, row = zlib.compressobj(9), b"\0" * (1 + -(-side // 8))
    body = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@functools.cache
def text_bomb() -> bytes:
    """A good 12x10 PNG with 64 MB of zeros in a compressed text chunk."""
    good = rgb()
    body = b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return good[:33] + chunk + good[33:]


def palette_with_hole() -> bytes:
    picture = Image.fromarray(noise()).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    return encoded(picture, "PNG", transparency=3)


def deep(mode: str, dtype: str, kind: str, value: float) -> bytes:
    return encoded(Image.fromarray(np.full((8, 8), value, dtype)), kind)


def flipped(data: bytes, seed: int) -> bytes:
    out = bytearray(data)
    rng = np.random.default_rng(seed)
    out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


GREY = Image.fromarray(noise(channels=1))
RGBA = Image.fromarray(noise(channels=4))
# Name, bytes, and what must become of the file: used, or the reason it is refused with.
ZOO: list[tuple[str, Callable[[], bytes], str]] = [
    ("truncated.jpg", lambda: encoded(Image.fromarray(noise(64, 64)), "JPEG")[:-200], "truncated"),
    ("truncated.png", lambda: rgb()[:-200], "truncated"),
    ("zero.png", lambda: b"", "empty file"),
    ("page.jpg", lambda: b"<!DOCTYPE html><html>404</html>", "a web page, not a picture"),
    ("noise.png", lambda: noise(32).tobytes(), "not a picture"),
    ("jpeg-named.png", lambda: rgb("JPEG"), USED),
    ("png-named.txt", rgb, USED),
    ("no-ending", rgb, USED),
    ("._x.jpg", lambda: b"\0\5\x16\7" + bytes(80), "hidden or system file"),
    ("Thumbs.db", lambda: b"\xd0\xcf\x11\xe0" + bytes(80), "hidden or system file"),
    ("notes.txt", lambda: b"some words about the pictures", "not a picture"),
    ("1x1.png", lambda: encoded(Image.fromarray(noise(1, 1)), "PNG"), "too small"),
    ("1x20000.png", lambda: encoded(Image.fromarray(noise(20000, 1)), "PNG"), "too small"),
    ("5x2000.png", lambda: encoded(Image.fromarray(noise(2000, 5)), "PNG"), USED),
    ("13000.png", lambda: huge_png(13_000), "too large"),
    ("20000.png", lambda: huge_png(20_000), "too large"),
    ("text-bomb.png", text_bomb, "damaged"),
    ("animated.gif", lambda: frames("GIF"), USED),
    ("animated.webp", lambda: frames("WEBP"), USED),
    ("animated.png", lambda: frames("PNG"), USED),
    ("cmyk.jpg", lambda: encoded(Image.fromarray(noise()).convert("CMYK"), "JPEG"), USED),
    ("la.png", lambda: encoded(RGBA.convert("LA"), "PNG"), USED),
    ("rgba.webp", lambda: encoded(RGBA, "WEBP"), USED),
    ("palette-hole.png", palette_with_hole, USED),
    ("i16.png", lambda: deep("I;16", "uint16", "PNG", 40000), USED),
    ("i.tif", lambda: deep("I", "int32", "TIFF", 40000), USED),
    ("f.tif", lambda: deep("F", "float32", "TIFF", 0.5), USED),
    (
        "nan.tif",
        lambda: deep("F", "float32", "TIFF", float("nan")),
        "holds values that are not finite",
    ),
    ("one-bit.png", lambda: encoded(GREY.convert("1"), "PNG"), USED),
    ("grey.bmp", lambda: encoded(GREY, "BMP"), USED),
    ("icc.png", lambda: encoded(Image.fromarray(noise()), "PNG", icc_profile=bytes(300)), USED),
    ("plain.pgm", lambda: b"P5 4 4 255\n" + bytes(range(16)), USED),
    ("picture.heic", lambda: b"\0\0\0\x18ftypheic" + bytes(90), "HEIC"),
    ("drawing.svg", lambda: b'<?xml version="1.0"?><svg/>', "SVG drawing without pixels"),
    ("stars.fits", lambda: b"SIMPLE  =                    T".ljust(2880), "not a picture"),
    ("script.eps", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORNSTEIN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("ORNSTEIN_DATA", raising=False)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def one(folder: Path, data: bytes, size: int | None = None) -> np.ndarray:
    (folder / "x").write_bytes(data)
    return np.asarray(open_data(folder, size=size).items[0])


def test_every_file_of_the_zoo_ends_as_its_row_says(tmp_path: Path) -> None:
    """R26."""
    fill(tmp_path, {name: make() for name, make, _ in ZOO})
    for i in range(10):
        fill(
            tmp_path, {f"flip{i}.png": flipped(rgb(), i), f"flip{i}.jpg": flipped(rgb("JPEG"), i)}
        )
    data = open_data(tmp_path, size=8, allow_bad=True)
    refused = {r.path: r.reason for r in data.refused}
    for name, _, fate in ZOO:
        got = USED if name in data.names else refused[name].split(" (")[0].split(",")[0]
        assert got == fate.split(",")[0], (name, refused.get(name))
    flips = [f"flip{i}.{end}" for i in range(10) for end in ("png", "jpg")]
    assert all((name in data.names) != (name in refused) for name in flips)
    # A PNG carries a checksum over every byte that matters.
    assert sum(f"flip{i}.png" in refused for i in range(10)) >= 8
    assert not any(" 0x" in reason or str(tmp_path) in reason for reason in refused.values())


def test_the_zoo_stops_without_leave_and_says_how_many_and_what_to_do(tmp_path: Path) -> None:
    """R26: more than 1 % bad is exit code 65."""
    fill(tmp_path, {name: make() for name, make, _ in ZOO if name != "13000.png"})
    with pytest.raises(
        DataError, match=r"pictures cannot be used \(.*truncated.*--allow-bad"
    ) as got:
        open_data(tmp_path)
    assert got.value.exit_code == 65


def test_one_percent_of_bad_files_goes_on_and_a_file_of_words_is_not_bad(tmp_path: Path) -> None:
    good = rgb()
    fill(tmp_path, {f"{i:03}.png": good for i in range(300)} | {"a.png": b"", "b.png": b""})
    fill(
        tmp_path,
        {f"{i}.txt": b"a caption" for i in range(50)} | {"c.png": b"", "d.png": good[:99]},
    )
    with pytest.raises(DataError, match=r"4 of 304 pictures"):
        open_data(tmp_path, size=8)
    (tmp_path / "d.png").unlink()
    assert len(open_data(tmp_path, size=8)) == 300


@pytest.mark.parametrize(
    ("mode", "dtype", "kind", "value", "grey"),
    [
        ("I;16", "uint16", "PNG", 40000, 156),  # 40000 / 65535 = 155.64 / 255
        ("I;16", "uint16", "PNG", 0, 0),
        ("I;16", "uint16", "PNG", 65535, 255),
        ("I;16", "uint16", "PNG", 300, 1),  # 1.167 / 255
        ("I;16", "uint16", "TIFF", 40000, 156),
        ("I", "int32", "TIFF", 40000, 156),
        ("F", "float32", "TIFF", 0.5, 128),  # 127.5, halves to even
        ("F", "float32", "TIFF", 1.0, 255),
        ("F", "float32", "TIFF", 200.0, 200),
    ],
)
def test_deep_values_are_scaled_and_rounded_and_never_saturate(
    tmp_path: Path, mode: str, dtype: str, kind: str, value: float, grey: int
) -> None:
    """R27."""
    assert np.unique(one(tmp_path, deep(mode, dtype, kind, value))).tolist() == [grey]


def test_deep_values_keep_their_fraction_through_the_resize(tmp_path: Path) -> None:
    """R27: 40000 (155.64) beside 39900 (155.25) is 155.45; rounding first would make it 156."""
    values = np.full((16, 16), 39900, np.uint16)
    values[:, ::2] = 40000
    data = encoded(Image.fromarray(values), "PNG")
    assert np.unique(one(tmp_path, data, size=4)).tolist() == [155]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_undone(tmp_path: Path, orientation: int) -> None:
    """R26: the moves are those of the EXIF standard, written with numpy."""
    upright = noise(6, 9)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # to be turned clockwise when shown
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    np.testing.assert_array_equal(one(tmp_path, data), upright.transpose(2, 0, 1))


def test_transparent_pixels_become_white_whatever_colour_they_hide(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 255  # red, all of it transparent
    assert (one(tmp_path, encoded(Image.fromarray(pixels), "PNG"), size=4) == 255).all()
    pixels[..., 3] = 51  # a fifth of it shows: 0.2 * red + 0.8 * white
    colour = one(tmp_path, encoded(Image.fromarray(pixels), "PNG"))[:, 0, 0].tolist()
    assert colour == [255, 204, 204]


def test_pictures_are_cropped_at_the_centre_with_their_aspect_kept(tmp_path: Path) -> None:
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 200  # the middle square
    got = one(tmp_path, encoded(Image.fromarray(wide), "PNG"), size=10)[0].astype(int)
    # One column off the centre would bring a half-black one in.
    assert np.abs(got[:, 1:-1] - 200).max() <= 5
    assert np.abs(got[:, 0] - got[:, -1]).max() == 0


def test_a_folder_of_one_small_size_keeps_it_even_when_it_is_not_square(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {f"{i}.png": encoded(Image.fromarray(noise(20, 28, seed=i)), "PNG") for i in range(3)},
    )
    data = open_data(tmp_path)
    assert data.shape == (3, 20, 28)
    np.testing.assert_array_equal(data.items[1], noise(20, 28, seed=1).transpose(2, 0, 1))


def test_mixed_sizes_become_the_median_short_side_in_eights(tmp_path: Path) -> None:
    sides = [(30, 90), (45, 50), (700, 47)]
    fill(tmp_path, {f"{h}.png": encoded(Image.fromarray(noise(h, w)), "PNG") for h, w in sides})
    assert open_data(tmp_path).shape == (3, 40, 40)  # short sides 30, 45, 47
    assert open_data(tmp_path, size=(8, 24)).shape == (3, 8, 24)


def test_grey_pictures_stay_one_channel_and_one_coloured_makes_three(tmp_path: Path) -> None:
    """R32; a grey picture saved as RGB is grey."""
    grey = noise(channels=1)
    fill(tmp_path, {"l.png": encoded(Image.fromarray(grey), "PNG")})
    fill(tmp_path, {"rgb.png": encoded(Image.fromarray(grey).convert("RGB"), "PNG")})
    assert open_data(tmp_path).shape == (1, 12, 10)
    fill(tmp_path, {"z.png": rgb()})
    assert open_data(tmp_path).shape == (3, 12, 10)


def test_any_name_is_read_in_the_same_order_on_every_run(tmp_path: Path) -> None:
    """R29."""
    names = [
        unicodedata.normalize("NFC", "é.png"),
        unicodedata.normalize("NFD", "é.png"),
        "🦊.png",
        "שלום.png",
        "with space.JPG",
        "new\nline.png",
        "x" * 251 + ".png",
        "-n.PNG",
        "%2f.png",
    ]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(noise(seed=i)), "PNG"))
    raw = os.fsencode(tmp_path) + b"/bad\xff.png"
    Path(os.fsdecode(raw)).write_bytes(encoded(Image.fromarray(noise(seed=99)), "PNG"))
    first, second = open_data(tmp_path), open_data(tmp_path)
    assert len(first) == len(names) + 1
    assert first.fingerprint == second.fingerprint
    assert list(first.names) == list(second.names)
    assert "bad\\xff.png" in first.names
    assert "new\\nline.png" in first.names


def test_links_loops_and_second_names_end_with_each_file_once(tmp_path: Path) -> None:
    """R30."""
    root = tmp_path / "root"
    fill(root, {"a/1.png": rgb(), "b/2.png": encoded(GREY, "PNG")})
    outside = fill(tmp_path / "outside", {"3.png": encoded(RGBA, "PNG")})
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "same.png").hardlink_to(root / "a" / "1.png")
    (root / "0-link.png").symlink_to(root / "b" / "2.png")
    (root / "dangling.png").symlink_to(root / "nothing")
    (root / "c").symlink_to(outside)
    os.mkfifo(root / "pipe.png")
    data = open_data(root)
    assert list(data.names) == ["a/1.png", "b/2.png", "c/3.png"]
    assert {r.path: r.reason for r in data.refused} == {
        "0-link.png": "another name of a file already read",
        "a/same.png": "another name of a file already read",
        "dangling.png": "broken link",
        "pipe.png": "not a regular file",
    }


def test_sub_folders_are_classes_and_what_lies_beside_them_is_one_of_its_own(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {f"{c}/deep/{i}.png": rgb() for c in ("dogs", "Cats") for i in range(2)})
    data = open_data(tmp_path)
    assert data.classes == ("Cats", "dogs")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1, 1]
    fill(tmp_path, {"x.png": rgb(), "y.png": rgb()})
    assert open_data(tmp_path).classes == ("(top)", "Cats", "dogs")


def test_a_single_sub_folder_is_no_class_and_one_file_each_are_none(tmp_path: Path) -> None:
    fill(tmp_path / "a", {f"images/{i}.png": rgb() for i in range(4)})
    assert open_data(tmp_path / "a").labels is None
    fill(tmp_path / "b", {f"{i}/x.png": rgb() for i in range(4)})
    fill(tmp_path / "c", {f"images/{c}/{i}.png": rgb() for c in "xy" for i in range(2)})
    assert open_data(tmp_path / "c").classes == ("x", "y")
    assert open_data(tmp_path / "b").labels is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no pictures: the folder is empty"),
        ({"a.txt": b"words", "b.heic": b"\0\0\0\x18ftypheic"}, "looked at 2 files, 1 HEIC"),
        ({"x.npz": b"PK"}, "name the file: .*x.npz"),
        ({"b.CSV": b"1,2", "c.csv": b"3,4"}, r"CSV files are opened one by one, .*/b\.CSV\.$"),
        ({"a.png": b""}, "looked at 1 files, 1 empty file"),
    ],
)
def test_a_folder_without_pictures_says_what_was_found(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    """R28."""
    with pytest.raises(DataError, match=words):
        open_data(fill(tmp_path, files))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pictures.ZIP", "unpack it and give the folder"),
        ("pictures.tar.gz", "unpack it and give the folder"),
        ("people.parquet", "save a table as .csv"),
        ("beat.mp3", "save sounds as .wav"),
        ("model.pt", "numpy.save"),
        ("words.txt", r"or sounds, an \.npy, \.npz, \.csv or \.wav file"),
    ],
)
def test_a_file_of_another_kind_says_what_to_do_about_it(
    tmp_path: Path, name: str, words: str
) -> None:
    """R28."""
    with pytest.raises(DataError, match=words):
        open_data(fill(tmp_path, {name: b"some bytes"}) / name)


def test_a_missing_path_a_wrong_file_and_one_picture(tmp_path: Path) -> None:
    """R28."""
    with pytest.raises(DataError, match="neither a path that exists nor a known data set"):
        open_data(tmp_path / "nowhere")
    fill(tmp_path, {"words.txt": b"some words", "one.png": rgb()})
    with pytest.raises(DataError, match=r"not a picture.*give a picture, a folder"):
        open_data(tmp_path / "words.txt")
    data = open_data(tmp_path / "one.png")
    assert len(data) == 1
    assert data.shape == (3, 12, 10)
    assert data.batch([0]).isfinite().all()


def test_the_cache_gives_the_same_set_without_decoding_and_notices_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R31: the training data does not change when files do; the next opening sees it."""
    grey = encoded(GREY, "PNG")
    coloured_then_grey = encoded(GREY.convert("RGB"), "PNG")
    fill(
        tmp_path, {f"{i % 2}/{i}.png": grey for i in range(300)} | {"0/x.png": coloured_then_grey}
    )
    calls: list[int] = []
    first = open_data(tmp_path, progress=lambda done, total: calls.append(done))
    assert calls[-1] == 301
    second = open_data(tmp_path, progress=lambda done, total: calls.append(-total))
    assert min(calls) == 0
    assert first.fingerprint == second.fingerprint
    assert list(first.names) == list(second.names)
    assert first.shape == (1, 12, 10)
    np.testing.assert_array_equal(second.items[7, 0], noise(channels=1))
    fill(tmp_path, {"1/1.png": rgb()})
    assert second.shape == (1, 12, 10)
    third = open_data(tmp_path)
    assert third.shape == (3, 12, 10)
    monkeypatch.setenv("ORNSTEIN_CACHE", "/proc/nowhere")
    with pytest.warns(OrnsteinWarning, match="be kept in '/proc/nowhere' .it cannot be written.:"):
        assert open_data(tmp_path).fingerprint == third.fingerprint


def test_a_damaged_cache_entry_is_made_again(tmp_path: Path) -> None:
    fill(
        tmp_path, {f"{i}.png": encoded(Image.fromarray(noise(seed=i)), "PNG") for i in range(260)}
    )
    first = open_data(tmp_path).fingerprint
    cache = Path(os.environ["ORNSTEIN_CACHE"])
    (entry,) = cache.iterdir()
    with (entry / "items.npy").open("r+b") as file:
        file.truncate(5000)
    assert open_data(tmp_path).fingerprint == first
    (entry / "manifest.json").write_text("{")
    assert open_data(tmp_path).fingerprint == first
    manifest = (entry / "manifest.json").read_text()
    (entry / "manifest.json").write_text(manifest.replace("[260, 3, 12, 10]", "[26, 3, 12, 10]"))
    assert open_data(tmp_path).fingerprint == first
    assert (entry / "manifest.json").read_text() == manifest
    assert [p.name for p in cache.iterdir()] == [entry.name]


def test_a_disk_that_fills_up_moves_the_pictures_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ornstein.data import cache

    fill(
        tmp_path, {f"{i}.png": encoded(Image.fromarray(noise(seed=i)), "PNG") for i in range(600)}
    )
    whole = open_data(tmp_path)

    class Full(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            room = 100_000 - self.tell()
            if room <= 0:
                raise OSError(28, "No space left on device")
            return super().write(memoryview(data)[:room])  # what still fits is taken

    monkeypatch.setenv("ORNSTEIN_CACHE", str(tmp_path.parent / "another"))
    monkeypatch.setattr(cache.Path, "open", lambda self, mode, buffering: Full(self, mode))
    with pytest.warns(OrnsteinWarning) as told:
        assert open_data(tmp_path).fingerprint == whole.fingerprint
    assert list((tmp_path.parent / "another").iterdir()) == []
    (said,) = [str(warning.message) for warning in told]  # once, of 600 pictures of 360 bytes
    assert said == (
        f"decoded pictures cannot be kept in '{tmp_path.parent / 'another'}' (No space left on "
        "device): they are held in memory, 0.2 MB, and decoded at every start; make room there, "
        "or name another folder in ORNSTEIN_CACHE."
    )


def test_a_big_jpeg_reads_the_same_through_the_fast_path(tmp_path: Path) -> None:
    """Decoding at a fraction differs from decoding in full by less than 2 levels on average."""
    small = np.kron(noise(6, 8, seed=3), np.ones((20, 20, 1), np.uint8))
    picture = Image.fromarray(small)
    fast = one(tmp_path, encoded(picture, "JPEG", quality=95), size=24).astype(int)
    slow = one(tmp_path, encoded(picture, "PNG"), size=24).astype(int)
    assert np.abs(fast - slow).mean() < 2


def test_opening_is_the_same_bits_in_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R32: random sizes and modes."""
    rng = np.random.default_rng(11)
    for i in range(40):
        h, w = rng.integers(8, 300, 2)
        mode = ["L", "LA", "RGB", "RGBA"][i % 4]
        picture = Image.fromarray(noise(int(h), int(w), seed=i)).convert(mode)
        fill(tmp_path, {f"{i}.png": encoded(picture, "PNG")})
    many = open_folder(tmp_path, (16, 16))
    monkeypatch.setattr("ornstein.data.folder._WORKERS", 1)
    assert open_folder(tmp_path, (16, 16)).fingerprint == many.fingerprint


def test_r27_deep_pictures_that_use_little_of_their_range_are_named(tmp_path: Path) -> None:
    """A camera of 12 bits writes files of 16: of its 4,096 levels 17 would be learned unsaid."""
    rng = np.random.default_rng(0)
    told = {}
    for name, most in (("twelve", 4095), ("sixteen", 65535)):
        (tmp_path / name).mkdir()
        for k in range(3):
            deep = rng.integers(0, most + 1, (16, 16)).astype(np.uint16)
            deep[0, 0] = most
            Image.fromarray(deep).save(tmp_path / name / f"{k}.tif")
        told[name] = [note for note in open_folder(tmp_path / name).notes if "brightest" in note]
    assert "The brightest value is 16 of 255" in told["twelve"][0]
    assert "multiply their values by 15 " in told["twelve"][0]
    assert not told["sixteen"]


REAL = [
    # Least and greatest value of the folder; what is black and white in it, as for an array.
    ((0.1, 0.8), (0, 1)),
    ((-0.4, 0.9), (-1, 1)),
    ((0.5, 3000.0), (0, 4095)),
    ((-1024.0, 3071.0), (-1024, 3071)),
]


@pytest.mark.parametrize(
    ("kind", "ends", "span"),
    [
        *(("float32", *row) for row in REAL),
        *(("pfm", *row) for row in REAL),
        *(("int32", *row) for row in REAL[2:]),
    ],
)
def test_r27_pictures_of_real_numbers_have_one_range_for_the_folder(
    tmp_path: Path, kind: str, ends: tuple[float, float], span: tuple[int, int]
) -> None:
    """Each was scaled by itself: the same brightness became another in every file."""
    dtype, (low, high) = "float32" if kind == "pfm" else kind, ends
    planes = np.linspace(low, high, 3 * 64).reshape(3, 8, 8).astype(dtype)
    order = [1, 2, 0]  # the extremes are in other files than the first
    for k, plane in zip(order, planes, strict=True):
        picture = Image.fromarray(plane)
        picture.save(tmp_path / f"{k}.x", "PPM" if kind == "pfm" else "TIFF")
    (tmp_path / "plain.png").write_bytes(encoded(Image.fromarray(noise(8, 8, 1)), "PNG"))
    (tmp_path / "nan.tif").write_bytes(deep("F", "float32", "TIFF", float("nan")))
    data = open_data(tmp_path)
    black, white = span
    # What an array of them would be shown as.
    real = planes[[order.index(k) for k in range(3)]].astype(np.float64)
    exact = (real - black) / (white - black) * 255
    np.testing.assert_allclose(data.items[:3, 0], exact, atol=0.5001)
    assert from_arrays({"x": planes}, name="x", source=data.source).coding.low == black
    np.testing.assert_array_equal(data.items[3, 0], noise(8, 8, 1))
    (note,) = [note for note in data.notes if "real numbers" in note]
    assert note.startswith(f"3 of real numbers or 32 bits: {black} is black and {white} is white")


def test_r27_a_second_opening_says_the_range_of_real_numbers_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(256):
        Image.fromarray(rng.normal(size=(8, 8)).astype(np.float32)).save(tmp_path / f"{k}.tif")
    first, again = open_data(tmp_path), open_data(tmp_path)
    assert isinstance(again.items, np.memmap)
    assert again.fingerprint == first.fingerprint
    assert again.notes == first.notes
    assert sum("256 of real numbers" in note for note in again.notes) == 1
    assert (first.items.min(), first.items.max()) == (0, 255)


def test_r27_a_grey_map_of_16_bits_has_the_range_of_its_format(tmp_path: Path) -> None:
    values = np.full((8, 8), 300, ">u2").tobytes()
    fill(tmp_path, {"a.pgm": b"P5 8 8 65535\n" + values, "b.pgm": b"P5 8 8 65535\n" + 2 * values})
    data = open_data(tmp_path)
    assert np.unique(data.items).tolist() == [1]  # 300 / 65535 is 1.17 / 255
    assert not [note for note in data.notes if "real numbers" in note]


def test_a_data_set_tells_its_name_and_not_where_it_lies(tmp_path: Path) -> None:
    """What it tells travels in model files, and folders are named after persons."""
    place = tmp_path / "jane.doe" / "cells"
    place.mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(place / "a.png")
    np.save(place / "x.npy", np.eye(3))
    for source in (place, place / "x.npy"):
        assert open_data(str(source)).source.text in ("pictures in cells", "x.npy")


@pytest.mark.parametrize("modes", [("RGB", "L"), ("L", "RGB"), ("RGB", "RGBA", "P", "L")])
def test_many_pictures_of_several_modes_are_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modes: tuple[str, ...]
) -> None:
    """A question about modes that was left open locked the index: "database kept is locked"."""
    monkeypatch.setenv("ORNSTEIN_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "pictures"
    place.mkdir()
    for k in range(256):
        picture = Image.fromarray(noise(seed=k)).convert(modes[k % len(modes)])
        picture.save(place / f"{k:03d}.png")
    data = open_folder(place)
    assert data.items.shape == (256, 3, 12, 10)
    assert open_folder(place).fingerprint == data.fingerprint
    assert len(list((tmp_path / "cache").rglob("files.db"))) == 1


def test_folders_train_and_test_are_a_split_and_no_classes(tmp_path: Path) -> None:
    for k in range(24):
        part, word = ("train", "train", "Val", "test")[k % 4], ("cat", "dog")[k // 4 % 2]
        folder = tmp_path / "pets" / part / (word if part != "test" else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(seed=k)).save(folder / f"{k:02}.png")
    data = open_data(tmp_path)
    held = {data.names[k].split("/")[1] for k in data.heldout}
    assert held == {"Val", "test"}
    assert len(data.heldout) == 12
    (known,) = data.conditions
    assert known.names == ("cat", "dog")
    assert [data.names[k].split("/")[1] for k in np.flatnonzero(~known.said)] == ["test"] * 6
    assert "Held out is what lies in 'Val', 'test'." in data.notes
    # Without one of each kind they are classes as any other.
    (tmp_path / "pets" / "train").rename(tmp_path / "pets" / "cars")
    assert open_data(tmp_path).classes == ("Val", "cars", "test")


def test_what_ornstein_wrote_into_the_folder_is_no_data(tmp_path: Path) -> None:
    """Somebody stands in the folder, looks at it, trains on '.', and goes on later."""
    for k in range(8):
        Image.fromarray(noise(seed=k)).save(tmp_path / f"{k}.png")
    before = open_data(tmp_path).fingerprint
    samples = tmp_path / "runs" / "pets" / "samples"
    samples.mkdir(parents=True)
    for name in ("config.toml", "events.log"):
        (samples.parent / name).write_text("x")
    Image.fromarray(noise(seed=9)).save(samples / "step-1.png")
    Image.fromarray(noise(seed=10)).save(tmp_path / "pets.sheet.png")
    (tmp_path / "pets.report.json").write_text("{}")
    data = open_data(tmp_path)
    assert data.fingerprint == before
    said = {file.path: file.reason for file in data.refused}
    assert said["runs/pets"] == "a run, and no data"
    assert said["pets.sheet.png"] == "a contact sheet, and no data"
    Image.fromarray(noise(seed=11)).save(tmp_path / "mine.sheet.png")
    assert len(open_data(tmp_path)) == 9
    assert len(open_data(samples)) == 1  # asked for by name


def test_texts_beside_pictures_are_told_of(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(noise(seed=k)).save(tmp_path / f"{k}.png")
    (tmp_path / "readme.txt").write_text("about these")
    assert not [note for note in open_data(tmp_path).notes if "metadata.csv" in note]
    (tmp_path / "0.txt").write_text("a red cat")
    (note,) = [note for note in open_data(tmp_path).notes if "metadata.csv" in note]
    assert note.startswith("Texts beside pictures, such as '0.txt', are not read")
