"""Pictures in tar shards: the same data as in a folder, read from where they are."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ornstein as orn
from ornstein.data import Dataset, open_data
from ornstein.data.dataset import subset
from ornstein.data.shards import Shards
from ornstein.errors import DataError, OrnsteinWarning, StoppedEarly
from ornstein.run import Silent
from ornstein.training.signals import StopRequest

CLASSES = ("cat", "dog", "eel")


def pictures(n: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (n, 12, 10, channels)).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture.squeeze()).save(out, "PNG")
    return out.getvalue()


def pack(path: Path, files: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def shards(folder: Path, raw: np.ndarray, per: int = 25, kind: str = "cls") -> Path:
    """Shards of ``per`` pictures, whose classes go round."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(raw), per):
        files = []
        for k in range(first, min(first + per, len(raw))):
            word = CLASSES[k % 3]
            says = word.encode() if kind == "cls" else json.dumps({"label": word}).encode()
            files += [(f"{k:06d}.png", png(raw[k])), (f"{k:06d}.{kind}", says)]
        pack(folder / f"train-{first // per:04d}.tar", files)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORNSTEIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def by_content(data: Dataset, indices: np.ndarray) -> list[tuple[bytes, str]]:
    assert data.labels is not None
    labels = [data.classes[label] for label in data.labels[indices]]
    return sorted(zip(map(bytes, data.raw(indices)), labels, strict=True))


@pytest.mark.parametrize("kind", ["cls", "json"])
def test_shards_hold_the_same_data_set_as_a_folder_of_the_same_pictures(
    tmp_path: Path, kind: str
) -> None:
    raw = pictures(90)
    for k, picture in enumerate(raw):
        place = tmp_path / "folder" / CLASSES[k % 3]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{k:06d}.png").write_bytes(png(picture))
    folder, data = open_data(tmp_path / "folder"), open_data(shards(tmp_path / "s", raw, 25, kind))
    assert data.classes == CLASSES
    assert data.shape == (3, 12, 10)
    np.testing.assert_array_equal(data.raw(np.arange(90)), raw.transpose(0, 3, 1, 2))
    assert by_content(data, data.heldout) == by_content(folder, folder.heldout)
    assert by_content(data, data.train) == by_content(folder, folder.train)
    assert data.coding == folder.coding  # mean and deviation to the last bit


def test_the_second_opening_decodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shards(tmp_path / "s", pictures(40))
    first = open_data(place)
    monkeypatch.setattr("ornstein.data.tar_index.index", None)
    again = open_data(place)
    assert again.fingerprint == first.fingerprint
    assert again.coding == first.coding
    np.testing.assert_array_equal(again.raw([3, 1, 3]), first.raw([3, 1, 3]))


def test_an_index_that_cannot_be_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shards(tmp_path / "s", pictures(4))
    monkeypatch.setenv("ORNSTEIN_CACHE", "/proc/nowhere")
    words = "index of the shards cannot be kept in '/proc/nowhere' .*all are read again"
    with pytest.warns(OrnsteinWarning, match=words):
        open_data(place)
    monkeypatch.setenv("ORNSTEIN_CACHE", str(tmp_path / "cache"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ornstein.data.cache.np.save", full)
    with pytest.warns(OrnsteinWarning, match="No space left"):
        open_data(place)
    assert not list((tmp_path / "cache").iterdir())


def test_a_changed_shard_is_indexed_anew_and_has_another_fingerprint(tmp_path: Path) -> None:
    before = open_data(shards(tmp_path / "s", pictures(40)))
    first = before.raw([0])
    shards(tmp_path / "s", pictures(41)[1:])
    after = open_data(tmp_path / "s")
    assert after.fingerprint != before.fingerprint
    assert not np.array_equal(after.raw([0]), first)


def test_one_archive_alone_grey_pictures_and_numbered_classes(tmp_path: Path) -> None:
    files = []
    for k, picture in enumerate(pictures(24, 1)):
        files += [(f"a/{k}.cls", str(k % 12).encode()), (f"a/{k}.png", png(picture))]
    pack(tmp_path / "all.tar", files)
    data = open_data(tmp_path / "all.tar")
    assert data.shape == (1, 12, 10)
    assert data.classes == tuple(str(k) for k in range(12))  # as numbers, not as words
    assert data.labels is not None
    assert data.labels.tolist() == [k % 12 for k in range(24)]


def test_a_picture_without_a_class_has_one_that_is_not_said(tmp_path: Path) -> None:
    raw = pictures(30)
    place = shards(tmp_path / "s", raw)
    pack(place / "a.tar", [("x.png", png(raw[0]))])
    data = open_data(place)
    assert data.conditions[0].said.tolist() == [False, *[True] * 30]
    assert any("1 pictures say no class" in note for note in data.notes)


def test_damaged_pictures_and_archives_are_listed_and_left_out(tmp_path: Path) -> None:
    raw = pictures(400)
    place = shards(tmp_path / "s", raw, 100)
    torn = (place / "train-0001.tar").read_bytes()
    (place / "train-0001.tar").write_bytes(torn[: int(len(torn) * 0.9)])
    data = bytearray((place / "train-0002.tar").read_bytes())
    data[600] ^= 8  # inside the first picture
    (place / "train-0002.tar").write_bytes(bytes(data))
    found = open_data(place)
    assert 370 <= len(found) < 399
    reasons = {refused.path.split(",")[0]: refused.reason for refused in found.refused}
    assert "archive is damaged" in reasons["train-0001.tar"]
    assert "damaged" in reasons["train-0002.tar"]
    assert found.shape == (3, 12, 10)


def test_too_many_damaged_pictures_stop_unless_allowed(tmp_path: Path) -> None:
    files = [(f"{k}.png", png(p)) for k, p in enumerate(pictures(40))]
    files += [(f"bad{k}.png", b"\x89PNG\r\n\x1a\n" + bytes(50)) for k in range(5)]
    pack(tmp_path / "a.tar", files)
    with pytest.raises(DataError, match=r"5 of 45 pictures cannot be used.*--allow-bad") as caught:
        open_data(tmp_path / "a.tar")
    assert caught.value.exit_code == 65
    assert len(open_data(tmp_path / "a.tar", allow_bad=True)) == 40


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no pictures"),
        (b"\x1f\x8b" + bytes(600), "no pictures"),
        (b"x" * 2000, "no pictures"),
    ],
)
def test_an_archive_that_is_none_is_refused_in_one_sentence(
    tmp_path: Path, data: bytes, said: str
) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=said):
        open_data(tmp_path / "a.tar")


def damage(place: Path, data: Dataset, item: int) -> None:
    """Overwrite a part of a picture in the one archive."""
    archive = bytearray((place / "train-0000.tar").read_bytes())
    offset = int(data.items.places[item]["offset"])  # type: ignore[attr-defined]
    archive[offset : offset + 200] = bytes(200)
    (place / "train-0000.tar").write_bytes(bytes(archive))


def test_r31_a_picture_damaged_while_training_is_named_and_one_of_its_kind_stands_in(
    tmp_path: Path,
) -> None:
    """The next of all stood in: of another class, or held out."""
    place = shards(tmp_path / "s", pictures(400), 400)
    data = open_data(place)
    labels, held = data.labels, set(data.heldout.tolist())
    assert labels is not None
    whole = data.raw(np.arange(400))
    # The next of its class is held out, and it is not.
    item = next(k for k in data.train.tolist() if k + 3 in held)
    damage(place, data, item)
    with pytest.warns(OrnsteinWarning, match=rf"picture {item} in .*0000.tar cannot be read"):
        found = data.raw([item - 1, item, item + 1])
    other = next(k for k in range(item + 1, 400) if labels[k] == labels[item] and k not in held)
    assert other > item + 3
    np.testing.assert_array_equal(found, whole[[item - 1, other, item + 1]])
    assert list(data.items.failed) == [item]  # type: ignore[attr-defined]
    (place / "train-0000.tar").write_bytes(b"")
    with pytest.raises(DataError, match="of 400 pictures cannot be read any more"):
        data.raw(np.arange(20))


def test_r31_where_nothing_of_its_kind_is_left_one_of_its_side_of_the_split_stands_in(
    tmp_path: Path,
) -> None:
    place = shards(tmp_path / "s", pictures(400), 400)
    data = open_data(place)
    assert isinstance(data.items, Shards)
    whole, held = data.raw(np.arange(400)), set(data.heldout.tolist())
    item = next(k for k in data.train.tolist() if k + 1 in held)
    kin = data.items.kin.copy()
    kin[item] = 2 * 99  # the only one of its class
    damage(place, data, item)
    with pytest.warns(OrnsteinWarning):
        found = replace(data.items, kin=kin).take(np.array([item]))
    other = next(k for k in range(item + 1, 400) if k not in held)
    np.testing.assert_array_equal(found[0], whole[other])


@pytest.mark.filterwarnings("ignore::ornstein.errors.OrnsteinWarning")
@pytest.mark.parametrize("many", [False, True])
def test_r31_a_picture_damaged_while_training_is_in_the_events_of_the_run(
    tmp_path: Path, many: bool
) -> None:
    """It was warned of, which nobody reads who comes back in the morning."""
    place = shards(tmp_path / "s", pictures(60), 60)
    data = open_data(place, size=8)
    items = data.train[:4] if many else data.train[:1]
    archive = str(place / "train-0000.tar")

    class Break(Silent):
        def note(self, text: str) -> None:
            if text.startswith("budget"):  # the plan was measured, and the training begins
                for item in items.tolist():
                    damage(place, data, item)

    settings = {"net.size": "tiny", "batch": 60, "sample.count": 1, "sample.steps": 1}
    how = {"name": "r", "runs": tmp_path, "size": 8, "settings": settings, "progress": Break()}
    if many:
        with pytest.raises(DataError, match="of 60 pictures cannot be read"):
            orn.train(place, steps=2, **how)  # type: ignore[arg-type]
    else:
        orn.train(place, steps=2, **how)  # type: ignore[arg-type]
    events = (tmp_path / "r" / "events.log").read_text().splitlines()
    named = [line.split("  ", 1)[1] for line in events if "cannot be read" in line]
    wanted = {f"picture {k} in {archive} cannot be read any more" for k in items.tolist()}
    assert {line.split(" (")[0] for line in named} == wanted
    assert len(named) == len(wanted)
    assert all(line.endswith("; another stands in") for line in named)
    assert ("finished" in events[-1]) is not many


def test_a_disk_that_fails_once_swaps_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(shards(tmp_path / "s", pictures(40)))
    whole, real, faults = data.raw([7]), Path.open, iter([True])

    def once(self: Path, *how: object, **more: object) -> object:
        if self.suffix == ".tar" and next(faults, False):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, *how, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", once)
    np.testing.assert_array_equal(data.raw([7]), whole)
    assert next(faults, None) is None
    assert not data.items.failed  # type: ignore[attr-defined]


def test_r20_a_training_from_shards_has_no_worker_process_to_lose(tmp_path: Path) -> None:
    """Pictures are decoded by threads of the trainer: who kills one kills the training (R1)."""
    place = shards(tmp_path / "s", pictures(60))
    seen = []

    class Watch(Silent):
        def step(self, info: Mapping[str, object]) -> None:
            seen.append(children())

    settings = {"net.size": "tiny", "batch": 8, "sample.count": 1, "sample.steps": 1}
    orn.train(place, name="r", runs=tmp_path, steps=3, size=8, settings=settings, progress=Watch())
    assert seen
    assert not any(seen)


def children() -> list[str]:
    found = Path("/proc/self/task").glob("*/children")
    return [child for path in found for child in path.read_text().split()]


def test_training_from_shards_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """A batch is more than an epoch, so it goes on in the order of a later one."""
    place = shards(tmp_path / "s", pictures(60))
    settings = {
        "net.size": "tiny",
        "batch": 64,
        "sample.count": 1,
        "sample.steps": 1,
        "log_every": 1,
    }
    stop = StopRequest()

    class StopAtOnce(Silent):
        def step(self, info: Mapping[str, object]) -> None:
            stop.asked = "the test"

    def train(name: str, **more: object) -> list[float]:
        run = orn.train(
            place, name=name, runs=tmp_path, steps=4, settings=settings, size=8, **more
        )
        return [record["loss"] for record in run.log if "loss" in record]

    straight = train("a")
    with pytest.raises(StoppedEarly, match="stopped at step 1, saved"):
        train("b", progress=StopAtOnce(), stop=stop)
    assert train("b") == straight
    assert "resumed at step 1\n" in (tmp_path / "b" / "events.log").read_text()


def touched(place: Path) -> None:
    for archive in place.glob("*.tar"):
        os.utime(archive, (1.0, 1.0))


def former(data: Dataset, place: Path) -> str:
    """The fingerprint of older versions, in which path and times stood for the pictures."""
    stats = [(s.name, s.stat().st_size, s.stat().st_mtime_ns) for s in sorted(place.glob("*.tar"))]
    key = hashlib.sha256(repr((1, os.path.realpath(place), None, stats)).encode()).hexdigest()
    return replace(data, items=replace(data.items, identity=key)).fingerprint  # type: ignore[type-var]


def test_copies_of_the_same_shards_are_the_same_data_wherever_and_whenever(tmp_path: Path) -> None:
    """Ranks on machines with shards of their own were refused, and so was a refreshed copy."""
    raw = pictures(40)
    first = open_data(shards(tmp_path / "a", raw))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    touched(tmp_path / "b")
    other = open_data(tmp_path / "b")
    assert other.fingerprint == first.fingerprint
    # However they are packed.
    assert open_data(shards(tmp_path / "c", raw, 7)).fingerprint == first.fingerprint
    raw[3, 0, 0, 0] ^= 1
    changed = open_data(shards(tmp_path / "d", raw)).fingerprint
    small = open_data(tmp_path / "a", size=8).fingerprint
    assert len({first.fingerprint, changed, small}) == 3
    for data in (first, other):
        assert data.known_as(first.fingerprint)
        assert not data.known_as(changed)
        assert not data.known_as(None)
    assert first.known_as(former(first, tmp_path / "a"))
    assert not other.known_as(former(first, tmp_path / "a"))


@pytest.mark.parametrize("why", ["a refreshed copy", "an older version"])
def test_a_training_from_the_same_shards_goes_on_whatever_stood_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    place = shards(tmp_path / "s", pictures(40))
    stop = StopRequest()
    settings = {"net.size": "tiny", "batch": 8, "sample.count": 1, "sample.steps": 1}

    class StopAtOnce(Silent):
        def step(self, info: Mapping[str, object]) -> None:
            stop.asked = "the test"

    def train(**more: object) -> orn.run.Run:
        return orn.train(place, name="r", runs=tmp_path, steps=2, settings=settings, **more)

    old = former(open_data(place), place)
    with monkeypatch.context() as patch:
        if why == "an older version":
            patch.setattr(Dataset, "fingerprint", old)
        with pytest.raises(StoppedEarly):
            train(progress=StopAtOnce(), stop=stop)
    if why == "a refreshed copy":
        touched(place)
    assert train().state == "finished"


def test_some_of_the_pictures_stay_in_their_archives_as_all_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit read all that were kept into memory, at every start."""
    place = shards(tmp_path / "s", pictures(300))
    whole, everything = open_data(place), np.arange(300)
    held = replace(whole, items=whole.raw(everything))
    former = subset(held, 120)  # as it was
    read: list[int] = []
    real = Shards.read

    def counted(self: Shards, item: int) -> object:
        read.append(item)
        return real(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "read", counted)
        data = open_data(place, limit=120)
    assert isinstance(data.items, Shards)
    assert len(read) <= 121  # once, to measure them, and one for its size
    np.testing.assert_array_equal(data.raw(np.arange(120)), former.items)
    np.testing.assert_array_equal(data.heldout, former.heldout)
    np.testing.assert_array_equal(data.labels, former.labels)  # type: ignore[arg-type]
    assert data.coding == former.coding
    assert data.known_as(former.fingerprint)  # of a training that began so
    prints = {open_data(place, limit=n).fingerprint for n in (120, 119, 300)}
    assert len(prints) == 3
    assert data.fingerprint in prints
    assert not data.known_as(whole.fingerprint)


def test_only_archives_make_a_folder_one_of_shards(tmp_path: Path) -> None:
    """A folder called x.tar, and what macOS hides beside an archive, were read as shards."""
    raw = pictures(4)
    for k, picture in enumerate(raw):
        (tmp_path / f"{k}.png").write_bytes(png(picture))
    (tmp_path / "old.tar").mkdir()
    (tmp_path / "._set.tar").write_bytes(b"x")
    assert len(open_data(tmp_path)) == 4


def test_pictures_beside_archives_are_no_longer_passed_over_in_silence(tmp_path: Path) -> None:
    """A folder of photos with an old archive in it: the archive alone was learned."""
    place = shards(tmp_path / "photos", pictures(9))
    (place / "cats").mkdir()
    (place / "photos.sheet.png").write_bytes(b"")
    (place / "runs" / "pets" / "samples").mkdir(parents=True)
    for k in range(5):
        (place / "runs" / "pets" / "samples" / f"{k}.png").write_bytes(b"")
    for name in ("config.toml", "events.log"):
        (place / "runs" / "pets" / name).touch()
    plain = open_data(place)
    assert not [note for note in plain.notes if "beside" in note]
    for k in range(4):
        assert len(open_data(place)) == 9
        (place / "cats" / f"{k}.JPG").write_bytes(b"")
        if k == 1:
            assert "Left out beside the archives: 2 pictures." in open_data(place).notes
    words = r"holds .tar archives, .* and 4 pictures beside them, such as '.\.JPG', .*--allow-bad"
    with pytest.raises(DataError, match=words):
        open_data(place)
    data = open_data(place, allow_bad=True)
    assert data.fingerprint == plain.fingerprint
    assert data.notes[-1] == "Left out beside the archives: 4 pictures."
    assert len(open_data(place / "train-0000.tar")) == 9


def tiff(plane: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(plane).save(out, "TIFF")
    return out.getvalue()


def test_r27_real_numbers_have_one_range_in_shards_as_in_a_folder(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).normal(size=(30, 8, 8)).astype(np.float32)
    planes *= np.linspace(1, 9, 30, dtype=np.float32)[:, None, None]
    (tmp_path / "f").mkdir()
    for k, plane in enumerate(planes):
        (tmp_path / "f" / f"{k:02}.tif").write_bytes(tiff(plane))
    (tmp_path / "s").mkdir()
    for part in range(3):
        which = range(10 * part, 10 * part + 10)
        files = [(f"{k:02}.tif", tiff(planes[k])) for k in which]
        pack(tmp_path / "s" / f"{part}.tar", files)
    folder, data = open_data(tmp_path / "f"), open_data(tmp_path / "s")
    for shards_ in (data, open_data(tmp_path / "s")):
        np.testing.assert_array_equal(shards_.raw(np.arange(30)), folder.items)
    (said,) = [note for note in folder.notes if "real numbers" in note]
    assert said in data.notes
    assert folder.items.min() == 0
    assert folder.items.max() == 255


def test_real_numbers_under_another_name_are_refused_where_no_range_is_known(
    tmp_path: Path,
) -> None:
    """Every header of millions of pictures would have to be read for their sake."""
    plane = np.ones((8, 8), np.float32)
    pack(tmp_path / "a.tar", [("x.png", tiff(plane)), ("y.png", png(pictures(1)[0]))])
    data = open_data(tmp_path)
    assert len(data) == 1
    assert data.refused[0].reason == "holds real numbers, and is not called .tif"


def test_null_in_json_says_no_class(tmp_path: Path) -> None:
    files = []
    for k, picture in enumerate(pictures(30)):
        said = json.dumps({"label": (None, "cat", "dog")[k % 3]}).encode()
        files += [(f"{k:03}.png", png(picture)), (f"{k:03}.json", said)]
    pack(tmp_path / "a.tar", files)
    (known,) = open_data(tmp_path).conditions
    assert known.names == ("cat", "dog")
    assert (~known.said).sum() == 10
