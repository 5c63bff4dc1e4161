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
              that is damaged later is passed over: the next item stands in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ornstein.data.decode import Bad, decode, quiet
from ornstein.data.pixels import Size
from ornstein.data.walk import packed
from ornstein.errors import DataError

_WORKERS = min(8, os.cpu_count() or 1)
PLACE = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("size", "<i4")])


def is_sharded(path: Path) -> bool:
    """Whether a path is a .tar, or a folder with some at its top."""
    if path.is_dir():
        with os.scandir(path) as entries:  # a glob would list a folder of a million files
            return any(entry.name.endswith(".tar") for entry in entries)
    return path.suffix == ".tar" and path.is_file()


def shards_in(path: Path) -> list[Path]:
    """The archives of a path, in the order of their names' bytes."""
    found = sorted(path.glob("*.tar"), key=os.fsencode) if path.is_dir() else [path]
    return [shard for shard in found if shard.is_file() and not shard.name.startswith(".")]


@dataclass(eq=False)
class Shards:
    """Pictures that stay in their archives: an array (N, C, H, W) of uint8, read when asked.

    Attributes:
        archives: The shards.
        places: Where each picture lies, (N,) of PLACE; may be a memory map.
        channels: 1 or 3.
        size: Height and width.
        identity: What tells the pictures from others, for the fingerprint.
        former: The same as older versions had it: of their path and their times.
        failed: Items that could not be read any more, and why.
    """

    archives: Sequence[Path]
    places: np.ndarray
    channels: int
    size: Size
    identity: str
    former: str = ""
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

    def take(
        self, indices: np.ndarray, axis: int = 0, out: None = None, mode: str = "raise"
    ) -> np.ndarray:
        """Decode pictures, (B, C, H, W); for one that is damaged the next sound one stands in.

        The arguments are those of numpy.take.

        Raises:
            DataError: more than 1 % and more than 3 of those that the index knows are damaged.
        """
        with quiet(), ThreadPoolExecutor(_WORKERS) as pool:
            pictures = list(pool.map(self._sound, np.asarray(indices).ravel().tolist()))
        return np.stack(pictures) if pictures else np.empty((0, *self.shape[1:]), np.uint8)

    def _sound(self, item: int) -> np.ndarray:
        for later in range(len(self)):
            got = self.read((item + later) % len(self))
            if not isinstance(got, Bad):
                return got
            self.failed[(item + later) % len(self)] = got.reason
            self._check()
        raise DataError(f"no picture of {self.archives[0].parent} can be read any more.")

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
        path, size = self.archives[place["shard"]], int(place["size"])
        try:
            with path.open("rb") as file:
                file.seek(int(place["offset"]))
                data = file.read(size)
        except OSError:
            return Bad("archive cannot be read")
        got = decode(packed(path, data), self.size)
        return got if isinstance(got, Bad) else in_channels(got, self.channels)


def in_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """A picture (1 or 3, H, W) in 1 or 3 channels; grey by the weights of ITU-R BT.601."""
    if len(picture) == channels:
        return picture
    if channels == 3:
        return np.repeat(picture, 3, axis=0)
    grey = np.tensordot(np.array([0.299, 0.587, 0.114]), picture, axes=1)
    return np.asarray(np.rint(grey)[None], dtype=np.uint8)


Progress = Callable[[int, int], None]
