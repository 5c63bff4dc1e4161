"""R26, R30: a folder of any number of files costs the same memory, and its index survives all."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figures import figure, times
from ornstein.data import Dataset, listing, open_data
from ornstein.data.listing import FILE, Listing
from ornstein.errors import OrnsteinWarning, StoppedEarly

COUNT = 260  # enough to be cached


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    place.mkdir()
    monkeypatch.setenv("ORNSTEIN_CACHE", str(place))
    return place


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in two classes; one of them is damaged, one hidden."""
    root, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for k in range(COUNT):
        (root / "ab"[k % 2]).mkdir(exist_ok=True)
        picture = Image.fromarray(chance.integers(0, 256, (8, 8), dtype=np.uint8))
        picture.save(root / "ab"[k % 2] / f"{k:03}.png")
    (root / "a" / "torn.png").write_bytes(b"\x89PNG")
    (root / "b" / ".hidden").write_bytes(b"")
    return root


def said(data: Dataset) -> tuple[object, ...]:
    """All that an opening tells."""
    refused = sorted((file.path, file.reason) for file in data.refused)
    return data.fingerprint, list(data.names), refused, data.classes, data.notes


def test_r30_what_python_holds_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Two hundred bytes for each of 1,200 more files would be 240 kB."""

    def most(root: Path) -> int:
        tracemalloc.start()
        listing = Listing.below(str(root))
        listing.key(None, 0)
        assert sum(len(part) for part in listing.blocks()) == len(listing)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    roots = tmp_path / "few", tmp_path / "many"
    for root, count in zip(roots, (200, 1400), strict=True):
        for k in range(count):
            folder = root / f"{k % 7}" if k % 2 else root / f"deep/{k:04}"  # many folders, too
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{k}.png").touch()
            if k % 10 == 0:
                (folder / "link").symlink_to(root / "deep")
    few, many = map(most, roots)
    assert many - few < 50_000


MEASURE = """
import sys, threading, time
import numpy, PIL.Image
from ornstein.data import open_data

def used():
    return int(open("/proc/self/status").read().partition("RssAnon:")[2].split()[0]) / 1024

before, most = used(), 0.0
def watch():
    global most
    while True:
        most = max(most, used())
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
began = time.process_time()
data = open_data(sys.argv[1])
print(len(data), max(most, used()) - before, time.process_time() - began)
"""


@pytest.mark.torture
def test_r30_a_folder_of_many_files_takes_the_memory_of_one_of_few(tmp_path: Path) -> None:
    """What grows are arrays of numbers; 40 bytes a picture are allowed, lists take 1,000."""
    out, few, many = io.BytesIO(), times(300, 10_000), times(1_500, 100_000)
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(out, "png")
    found = {}
    for count in (few, many):
        root = tmp_path / str(count)
        for k in range(count):
            if k % 1000 == 0:
                (root / f"{k // 1000}").mkdir(parents=True)
            (root / f"{k // 1000}" / f"{k}.png").write_bytes(out.getvalue())
        for which in ("first", "second"):
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, str(root)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            counted, *found[count, which] = map(float, done.stdout.split())
            assert counted == count
    for which in ("first", "second"):
        (little, _), (much, seconds) = found[few, which], found[many, which]
        assert much - little < 6 + 40 * (many - few) / 2**20
        figure(
            "R30", f"{many:,} files, {which} opening",
            f"{much:.0f} MB over the libraries, where {few:,} take {little:.0f} MB; "
            f"{seconds:.0f} s of the processor",
        )  # fmt: skip


def test_the_order_is_that_of_the_bytes_of_whole_paths(tmp_path: Path) -> None:
    """A folder's name ends in a slash, which comes after a dot and before a nought."""
    names = ["a.png", "a/z.png", "a0.png", "B/x.png", "é.png", "a/b/c.png", "a/b.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = [f.relative for part in Listing.below(str(tmp_path)).blocks() for f in part]
    assert found == sorted(name.encode() for name in names)


def test_a_file_reached_in_two_ways_belongs_to_its_own_folder(tmp_path: Path) -> None:
    """R30: a link to it, and a link to its folder, come after it, whatever their names."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "m", outside):
        folder.mkdir(parents=True)
    (root / "m" / "1.png").touch()
    (outside / "2.png").touch()
    (root / "a").symlink_to(root / "m")
    (root / "b.png").symlink_to(root / "m" / "1.png")
    (root / "c").symlink_to(outside)
    (outside / "3.png").symlink_to(outside / "2.png")
    (outside / "d").symlink_to(root)
    found = [f.relative for part in Listing.below(str(root)).blocks() for f in part]
    assert found == [b"c/2.png", b"m/1.png"]


def test_a_cache_that_is_named_is_used_without_a_home_directory(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user without one, in a container."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert isinstance(open_data(photos).items, np.memmap)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.delenv("ORNSTEIN_CACHE")
    with pytest.warns(OrnsteinWarning, match="be kept anywhere .there is no home directory."):
        assert not isinstance(open_data(photos).items, np.memmap)


def test_a_second_opening_says_all_that_the_first_did(photos: Path) -> None:
    first = open_data(photos)
    again = open_data(photos)
    assert isinstance(again.items, np.memmap)
    assert said(again) == said(first)
    assert first.names[1:3] == ["a/002.png", "a/004.png"]
    assert first.names[-1] == "b/259.png"
    assert [(file.path, file.reason) for file in again.refused] == [
        ("a/torn.png", "not a picture"), ("b/.hidden", "hidden or system file"),
    ]  # fmt: skip
    assert again.labels is not None
    assert again.labels.tolist() == [0] * 130 + [1] * 130
    with pytest.raises(IndexError):
        first.names[COUNT]


@pytest.mark.parametrize("harm", ["cut", "noise", "other", "gone"])
def test_a_damaged_index_is_made_again(photos: Path, cache: Path, harm: str) -> None:
    truth = said(open_data(photos))
    (entry,) = cache.iterdir()
    index = entry / FILE
    data = index.read_bytes()
    if harm == "gone":
        index.unlink()
    elif harm == "other":  # a sound one, of fewer pictures
        with sqlite3.connect(index) as base:
            base.execute("DELETE FROM used WHERE rowid = 7")
        base.close()
    else:
        index.write_bytes(data[: len(data) // 2] if harm == "cut" else b"?" * len(data))
    assert said(open_data(photos)) == truth
    assert index.read_bytes() == data
    assert list(cache.iterdir()) == [entry]


def test_an_index_that_cannot_be_written_is_done_without(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = said(open_data(photos, size=8))
    keep = Listing.keep

    def full(self: Listing, place: Path | None) -> None:
        keep(self, place)
        if place is not None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Listing, "keep", full)
    before = sorted(cache.iterdir())
    with pytest.warns(OrnsteinWarning, match="No space left on device"):
        fresh = open_data(photos, size=12)
    assert not isinstance(fresh.items, np.memmap)
    assert list(fresh.names) == truth[1]
    assert sorted(cache.iterdir()) == before


def test_without_room_for_temporary_files_the_listing_is_in_memory(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, below = said(open_data(photos)), Listing.below.__func__  # type: ignore[attr-defined]
    places = []

    def full(root: str, place: str, met: object) -> Listing:
        places.append(place)
        if place == "":
            raise sqlite3.OperationalError("database or disk is full")
        return below(Listing, root, place)

    monkeypatch.setattr(Listing, "below", full)
    assert said(open_data(photos)) == truth
    assert places == ["", ":memory:"]


@pytest.mark.parametrize("at", [3, COUNT + 5])
def test_who_asks_to_stop_is_heard_while_files_are_listed_and_looked_at(
    photos: Path, cache: Path, at: int
) -> None:
    """R7: a million files take minutes; nothing is left behind."""
    calls = 0

    def asked(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise StoppedEarly("stopped")

    with pytest.raises(StoppedEarly):
        open_data(photos, progress=asked)
    assert list(cache.iterdir()) == []


def test_what_a_dead_process_left_in_the_cache_goes_after_a_day(photos: Path, cache: Path) -> None:
    for name, age in (("new-dead", 90_000), ("new-alive", 600)):
        (cache / name).mkdir()
        (cache / name / "items.npy").touch()
        then = time.time() - age
        for path in (cache / name / "items.npy", cache / name):
            os.utime(path, (then, then))
    open_data(photos)
    assert (cache / "new-alive").exists()
    assert not (cache / "new-dead").exists()


CRASH = """
import os, sys
from pathlib import Path
from ornstein.data import listing, open_data

photos, place = sys.argv[1], Path(sys.argv[2])
made = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect")
count = at = 0

def passed():
    global count
    count += 1
    if count == at:
        os._exit(9)

def event(name, args):
    if name in made and (name == "sqlite3.connect" or str(place) in str(args[0])):
        passed()

def keep(*call):
    passed()  # before the index is written, and after
    kept(*call)
    passed()

def said(data):
    names = list(data.names), [(file.path, file.reason) for file in data.refused]
    return repr((data.fingerprint, *names, data.classes, data.notes))

def opened(folder):
    os.environ["ORNSTEIN_CACHE"] = str(place / folder)
    return said(open_data(photos))

kept, listing.Listing.keep = listing.Listing.keep, keep
truth = opened("straight")
sys.addaudithook(event)
while True:
    count, at = 0, at + 1
    if (child := os.fork()) == 0:
        opened(f"dead-{at}")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    before, at = at, -1
    for again in range(2):  # what was left, and what the opening before has written
        if opened(f"dead-{before}") != truth:
            print("wrong after a death at", before)
    at = before
print(at - 1, "deaths")
"""


@pytest.mark.torture
def test_a_death_at_any_file_operation_of_an_opening_costs_nothing(
    photos: Path, tmp_path: Path
) -> None:
    """R2 of the index: whatever is left in the cache, the next opening is right."""
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(photos), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    deaths, word = done.stdout.split()
    assert (int(deaths) > 10, word) == (True, "deaths"), done.stdout
    figure("R2", "death at every file operation of opening a folder", f"{deaths}/{deaths} whole")


def test_a_picture_replaced_by_one_of_its_size_and_time_is_read_again(
    photos: Path, tmp_path: Path
) -> None:
    """As rsync -t and cp -p do; what was decoded before was taken for it."""
    root = tmp_path / "copy"
    shutil.copytree(photos, root)
    before = open_data(root).fingerprint
    path = root / "a" / "000.png"
    then, size = path.stat().st_mtime_ns, path.stat().st_size
    data = bytearray(path.read_bytes())
    data[-30] ^= 1  # in the pixels, whose checksum fails: the picture is left out
    path.write_bytes(data)
    os.utime(path, ns=(then, then))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, then)
    assert open_data(root).fingerprint != before


@pytest.mark.skipif(os.name == "nt", reason="no modes on Windows")
def test_what_one_user_decodes_another_may_read(photos: Path, cache: Path) -> None:
    before = os.umask(0o022)
    try:
        open_data(photos)
    finally:
        os.umask(before)
    (entry,) = cache.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o755


def test_formats_that_an_older_decoder_lacked_are_tried_again(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(listing, "readable", lambda: ("JPEG",))
        open_data(photos)
    open_data(photos)
    assert len(list(cache.iterdir())) == 2


def test_decoded_pictures_that_nobody_opened_for_two_months_are_removed(
    photos: Path, cache: Path, tmp_path: Path
) -> None:
    """Each picture more makes another entry: they grew for ever."""
    root = tmp_path / "growing"
    shutil.copytree(photos, root)

    def aged(entry: Path, days: float) -> None:
        then = time.time() - 86_400 * days
        os.utime(entry / "manifest.json", (then, then))

    def grown(k: int) -> Path:
        before = set(cache.iterdir())
        shutil.copy(root / "a" / "000.png", root / "a" / f"more{k}.png")
        open_data(root)
        (new,) = set(cache.iterdir()) - before
        return new

    first, second = grown(1), grown(2)
    (cache / "compiled").mkdir()
    (cache / "compiled" / "manifest.json").touch()
    for entry, days in ((first, 61), (second, 59), (cache / "compiled", 99)):
        aged(entry, days)
    grown(3)
    assert [path.exists() for path in (first, second, cache / "compiled")] == [False, True, True]
    aged(second, 61)
    (root / "a" / "more3.png").unlink()
    open_data(root)  # it is asked for again
    grown(4)
    assert second.exists()
