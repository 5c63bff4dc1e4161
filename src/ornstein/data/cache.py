"""Decoded pictures kept on disk: a memory-mapped .npy and what is known of them, by file list.

Training reads this file only, so pictures that are changed or removed meanwhile do no harm.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import string
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ornstein.caches import ENVIRONMENT, cache_place
from ornstein.data.listing import Listing
from ornstein.data.pixels import Size
from ornstein.errors import DataError, OrnsteinWarning

FORMAT = 3  # to be raised when decoding changes
DAY = 86_400.0  # seconds
UNUSED = 60  # days until decoded pictures that nobody opened are removed
KEY = 32  # letters of a name
_HEADER = 128  # bytes kept free for the .npy header, which needs the count at the end


def cache_folder() -> Path | None:
    """Folder of the cache, made if needed, or None where none can be written."""
    folder = cache_place()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # read-only
        return None
    return folder if os.access(folder, os.W_OK) else None


def unkept(what: str, cost: str, error: OSError | None = None) -> None:
    """Warn that the cache does not take something: what, why, what that costs, what to do."""
    place = cache_place()
    why = "it cannot be written" if error is None else error.strerror or str(error)
    where = f"in '{place}' ({why})" if place else "anywhere (there is no home directory)"
    warnings.warn(
        f"{what} cannot be kept {where}: {cost}; make room there, or name another folder in "
        f"{ENVIRONMENT}.",
        OrnsteinWarning,
        stacklevel=3,
    )


def recall(folder: Path, key: str, listing: Listing) -> tuple[np.ndarray, list[str]] | None:
    """Memory map of the pictures of ``key``, and notes on them; None when absent or damaged.

    The listing knows from then on which files they are.
    """
    place = folder / key
    try:
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        items = np.load(place / "items.npy", mmap_mode="r", allow_pickle=False)
        whole = items.shape == tuple(manifest["shape"]) and items.dtype == np.uint8
        notes = [str(note) for note in manifest["notes"]]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    whole = whole and manifest.get("format") == FORMAT
    if not whole or not listing.recall(place, len(items)):
        return None
    with contextlib.suppress(OSError):  # another user's
        os.utime(place / "manifest.json")
    return items, notes


def keep_facts(place: Path, facts: dict[str, Any], arrays: Sequence[str]) -> OSError | None:
    """Write arrays and JSON values into the cache; returns why that failed."""
    new = None
    try:
        new = _aside(place.parent)
        for name in arrays:
            np.save(new / f"{name}.npy", facts[name], allow_pickle=False)
        rest = {name: value for name, value in facts.items() if name not in arrays}
        (new / "facts.json").write_text(json.dumps(rest), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        new.rename(place)
    except OSError as error:  # disk full, or another process was faster
        if new is not None:
            shutil.rmtree(new, ignore_errors=True)
        return None if place.is_dir() else error
    return None


def recall_facts(place: Path, arrays: Sequence[str]) -> dict[str, Any] | None:
    """What :func:`keep_facts` wrote, the arrays memory-mapped; None when absent or damaged."""
    try:
        facts = dict(json.loads((place / "facts.json").read_text(encoding="utf-8")))
        for name in arrays:
            facts[name] = np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return facts


class Store:
    """Collects decoded pictures one by one, in a file aside or, where that fails, in memory."""

    def __init__(self, folder: Path | None, most: int) -> None:
        """Open a file in a new directory under ``folder``; None keeps everything in memory.

        Args:
            folder: The cache.
            most: Bytes of all pictures, to be told where these cannot be kept there.
        """
        self.most = most
        self.blocks: list[np.ndarray] = []
        self.count = 0
        self.brightest = 0  # of all values
        self.place: Path | None = None
        self.file: IO[bytes] | None = None
        if folder is not None:
            _sweep(folder)
            try:
                self.place = _aside(folder)
                self.file = _started(self.place / "items.npy")
            except OSError as error:
                self.say(error)
                self.discard()

    def say(self, error: OSError | None = None) -> None:
        """Warn that pictures stay in memory, since the cache takes none."""
        cost = f"they are held in memory, {self.most / 1e6:,.1f} MB, and decoded at every start"
        unkept("decoded pictures", cost, error)

    def add(self, pictures: np.ndarray) -> None:
        """Append pictures (B, C, H, W)."""
        if self.file is not None:
            try:
                _write(self.file, pictures)
            except OSError as error:  # disk full
                self._into_memory(pictures.shape[1:], error)
        if self.file is None:
            self.blocks.append(pictures)
        self.count += len(pictures)
        self.brightest = max(self.brightest, int(pictures.max(initial=0)))

    def drop_colour(self, size: Size) -> None:
        """Keep one channel of three: all pictures turned out to be grey."""
        if self.file is not None and self.place is not None:
            self.file.close()  # Windows moves no file that is open or mapped
            wide, narrow = self.place / "items.npy", self.place / "grey.npy"
            colour = np.memmap(wide, np.uint8, "r", _HEADER, (self.count, 3, *size))
            try:
                self.file = _started(narrow)
                for start in range(0, self.count, 4096):
                    _write(self.file, colour[start : start + 4096, :1])
                self.file.close()
                del colour
                narrow.replace(wide)
            except OSError as error:
                self._into_memory((3, *size), error)
            else:
                self.file = wide.open("r+b", buffering=0)
        self.blocks = [block[:, :1] for block in self.blocks]

    def _into_memory(self, item: tuple[int, ...], error: OSError) -> None:
        """Move what is already written into memory, and go on there."""
        self.say(error)
        if self.place is not None:
            values = self.count * int(np.prod(item))
            raw = np.fromfile(self.place / "items.npy", np.uint8, values, offset=_HEADER)
            self.blocks = [raw.reshape(self.count, *item)]
        self.discard()

    def keep(
        self, key: str, item: tuple[int, ...], notes: list[str], listing: Listing
    ) -> np.ndarray:
        """The pictures as one array: the cached map, or memory where there is no cache."""
        try:
            kept = self._written(key, item, notes, listing)
        except OSError as error:  # disk full
            self._into_memory(item, error)
            kept = None
        if kept is None:
            listing.keep(None)
            empty = np.empty((0, *item), np.uint8)
            kept = np.concatenate([*self.blocks, empty])
        return kept

    def _written(
        self, key: str, item: tuple[int, ...], notes: list[str], listing: Listing
    ) -> np.ndarray | None:
        """Finish the file aside and give it its name; None where there is none.

        Raises:
            OSError: it cannot be written.
        """
        if self.file is None or self.place is None:
            return None
        shape = (self.count, *item)
        with self.file as file:
            file.seek(0)
            head = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, head)
            if file.tell() != _HEADER:
                raise RuntimeError("the header of a .npy file is not 128 bytes long")
            file.flush()
            os.fsync(file.fileno())
        listing.keep(self.place)
        manifest = json.dumps({"notes": notes, "format": FORMAT, "shape": list(shape)})
        (self.place / "manifest.json").write_text(manifest, encoding="utf-8")
        final = self.place.parent / key
        try:
            self.place.rename(final)
        except OSError:  # another process was faster, or an old damaged entry is in the way
            if (kept := recall(final.parent, key, listing)) is not None:
                self.discard()
                return kept[0]
            shutil.rmtree(final, ignore_errors=True)
            self.place.rename(final)
        self.place = None
        if (found := recall(final.parent, key, listing)) is None:
            raise DataError(f"'{final}' vanished while it was read; leave the cache alone.")
        return found[0]

    def discard(self) -> None:
        """Close and remove the file aside."""
        if self.file is not None:
            self.file.close()
        if self.place is not None:
            shutil.rmtree(self.place, ignore_errors=True)
        self.file, self.place = None, None


def _aside(folder: Path) -> Path:
    """Make a directory to write into; whoever may read its neighbours may read it."""
    place = folder / f"new-{secrets.token_hex(8)}"  # tempfile's would be its owner's alone
    place.mkdir()
    return place


def _sweep(folder: Path) -> None:
    """Remove what dead processes left, and what nobody asked for in a long time.

    A folder that gets a picture more is decoded anew, so what is kept of it would grow for ever.
    """
    for kept in folder.glob("*/manifest.json"):
        with contextlib.suppress(OSError):
            own = len(kept.parent.name) == KEY and set(kept.parent.name) <= set(string.hexdigits)
            if own and time.time() - kept.stat().st_mtime > UNUSED * DAY:
                shutil.rmtree(kept.parent, ignore_errors=True)
    for left in folder.glob("new-*"):
        with contextlib.suppress(OSError):
            written = max(file.stat().st_mtime for file in (left, *left.iterdir()))
            if time.time() - written > DAY:
                shutil.rmtree(left, ignore_errors=True)


def _started(path: Path) -> IO[bytes]:
    """A file of items with room for its header; unbuffered: errors come as they occur."""
    file = path.open("wb", buffering=0)
    file.write(b"\0" * _HEADER)
    return file


def _write(file: IO[bytes], pictures: np.ndarray) -> None:
    """Write all of it; a disk that fills up may take a part first."""
    rest = np.ascontiguousarray(pictures).data.cast("B")
    while rest:
        rest = rest[file.write(rest) :]
