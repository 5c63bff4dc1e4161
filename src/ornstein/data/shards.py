"""Pictures in tar archives, read from there: the shards that webdataset writes.

A shard holds samples one after another, ``000017.jpg`` beside ``000017.cls`` or ``000017.json``.
One pass over all shards makes an index of where each picture lies, its class, and the mean and
deviation; it is kept in the cache. From then on any picture is read by its place, so training
meets the same permutations as with any other data, and goes on bit for bit. In memory is one
batch, and some 30 bytes for each item.

    size      one asked for; else as for a folder, judged by the first thousand pictures.
    channels  1 when all of these are grey, else 3. Alpha is composed on white.
    classes   .cls (a number or a word), or "cls", "class" or "label" in .json.
    bad       more than 1 % and more than 3 bad pictures stop, unless bad files are allowed. One
              that is damaged later is named, and the next of its class, on its side of the split,
              stands in.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ornstein.data.decode import Bad, decode, quiet
from ornstein.data.pixels import Range, Size
from ornstein.data.walk import packed
from ornstein.errors import DataError, OrnsteinWarning

_WORKERS = min(8, os.cpu_count() or 1)
PLACE = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("size", "<i4")])
TOLD = 10  # pictures that cannot be read any more, until one hears no more of them
_BLOCK = 4096


def is_sharded(path: Path) -> bool:
    """Whether a path is a .tar, or a folder with some at its top."""
    if path.is_dir():
        with os.scandir(path) as entries:  # a glob would list a folder of a million files
            return any(_is_shard(entry.name) and entry.is_file() for entry in entries)
    return path.suffix == ".tar" and path.is_file()


def shards_in(path: Path) -> list[Path]:
    """The archives of a path, in the order of their names' bytes."""
    found = sorted(path.glob("*.tar"), key=os.fsencode) if path.is_dir() else [path]
    return [
        shard for shard in found if shard.is_file() and (shard == path or _is_shard(shard.name))
    ]


def _is_shard(name: str) -> bool:
    return name.endswith(".tar") and not name.startswith(".")


@dataclass(eq=False)
class Shards:
    """Pictures that stay in their archives: an array (N, C, H, W) of uint8, read when asked.

    Attributes:
        archives: The shards.
        places: Where each picture lies, (N,) of PLACE; may be a memory map.
        kin: Who may stand in for whom, (N,): twice the class, and 1 more where held out.
        channels: 1 or 3.
        size: Height and width.
        identity: What tells the pictures from others, for the fingerprint.
        former: The same as older versions had it: of their path and their times. "" where they
            knew these pictures by their values, None where they did not know them.
        span: What is black and white in real numbers, one for all; None where there are none.
        failed: Items that could not be read any more, and why.
    """

    archives: Sequence[Path]
    places: np.ndarray
    kin: np.ndarray
    channels: int
    size: Size
    identity: str
    former: str | None = None
    span: Range | None = None
    failed: dict[int, str] = field(default_factory=dict)

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.places), self.channels, *self.size)

    @property
    def nbytes(self) -> int:
        """Bytes of all pictures, decoded."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.places)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Decode some of them, as an array would give them."""
        if isinstance(index, (int, np.integer)):
            return np.asarray(self.take(np.array([index]))[0])
        chosen = range(len(self))[index] if isinstance(index, slice) else index
        return self.take(np.asarray(chosen, dtype=np.int64))

    def at(self, kept: np.ndarray) -> Shards:
        """Some of the pictures, which stay in their archives too."""
        chosen = np.ascontiguousarray(kept, "<i8").tobytes()
        identity = hashlib.sha256(self.identity.encode() + chosen).hexdigest()
        return replace(
            self, places=self.places[kept], kin=self.kin[kept], identity=identity, former="",
            failed={},
        )  # fmt: skip

    def take(
        self, indices: np.ndarray, axis: int = 0, out: None = None, mode: str = "raise"
    ) -> np.ndarray:
        """Decode pictures, (B, C, H, W); for one that is damaged another stands in.

        The arguments are those of numpy.take.

        Raises:
            DataError: more than 1 % and more than 3 of those that the index knows are damaged.
        """
        known = len(self.failed)
        with quiet(), ThreadPoolExecutor(_WORKERS) as pool:
            pictures = list(pool.map(self._sound, np.asarray(indices).ravel().tolist()))
        for text in self.unread(known)[: max(0, TOLD - known)]:
            warnings.warn(f"{text}.", OrnsteinWarning, stacklevel=2)
        return np.stack(pictures) if pictures else np.empty((0, *self.shape[1:]), np.uint8)

    def unread(self, known: int = 0) -> list[str]:
        """Say which pictures could not be read any more, leaving out the first ``known``."""
        return [
            f"picture {item:,} in {self.archives[self.places[item]['shard']]} cannot be read any "
            f"more ({reason}); another stands in"
            for item, reason in islice(self.failed.items(), known, None)
        ]

    def _sound(self, item: int) -> np.ndarray:
        for one in chain([item], self._others(item)):
            got = self.read(one)
            if not isinstance(got, Bad):
                return got
            self.failed.setdefault(one, got.reason)
            self._check()
        raise DataError(f"no picture of {self.archives[0].parent} can be read any more.")

    def _others(self, item: int) -> Iterator[int]:
        """Who may stand in for an item, the next first: its kin, its side of the split, any."""
        for alike in (-1, 1, 0):  # the bits of ``kin`` that must be the same
            for start in range(1, len(self), _BLOCK):
                later = (item + np.arange(start, min(start + _BLOCK, len(self)))) % len(self)
                near = later[(self.kin[later] ^ self.kin[item]) & alike == 0]
                yield from (one for one in near.tolist() if one not in self.failed)

    def _check(self) -> None:
        if len(self.failed) > max(3, 0.01 * len(self)):
            item, reason = next(iter(self.failed.items()))
            raise DataError(
                f"{len(self.failed):,} of {len(self):,} pictures cannot be read any more, the "
                f"first in {self.archives[self.places[item]['shard']]} ({reason}); put the "
                "archives back as they were."
            )

    def read(self, item: int) -> np.ndarray | Bad:
        """One picture, (C, H, W), or why it cannot be read."""
        place = self.places[item]
        path = self.archives[place["shard"]]
        data = _bytes(path, place) or _bytes(path, place)  # a disk far away may fail once
        if data is None:
            return Bad("archive cannot be read")
        got = decode(packed(path, data), self.size, self.span)
        return got if isinstance(got, Bad) else in_channels(got, self.channels)


def _bytes(path: Path, place: np.void) -> bytes | None:
    """The bytes at a place of an archive; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(int(place["offset"]))
            return file.read(int(place["size"]))
    except OSError:
        return None


def in_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """A picture (1 or 3, H, W) in 1 or 3 channels; grey by the weights of ITU-R BT.601."""
    if len(picture) == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=0)
    grey = np.tensordot(np.array([0.299, 0.587, 0.114]), picture, axes=1)
    return np.asarray(np.rint(grey)[None], dtype=np.uint8)


Progress = Callable[[int, int], None]
