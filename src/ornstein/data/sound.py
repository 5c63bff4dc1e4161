"""Sound as series: .wav files of 8, 16, 24 or 32 bits or float, read and written again.

The files are taken apart here, because the standard library reads no float ones.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ornstein.data.coding import Coding, fields_of
from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.facts import classes_of, heldout_of, many
from ornstein.data.splitting import split_runs
from ornstein.errors import DataError

LONGEST = 4096  # samples of an item when nothing is said
_AT_ONCE = 1 << 18  # samples of a channel that are read at once
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class Wave(NamedTuple):
    """A sound.

    Attributes:
        samples: (channels, length) float64 in [-1, 1].
        rate: Samples in a second.
        bits: Of a sample; negative for float.
    """

    samples: np.ndarray
    rate: int
    bits: int


@dataclass(frozen=True)
class Sound(Coding):
    """Series of sound in [-1, 1], written as .wav files.

    Attributes:
        rate: Samples in a second.
        bits: Of a sample in a file; negative for float.
    """

    rate: int = 44_100
    bits: int = 16

    @property
    def meaning(self) -> tuple[str, ...]:
        return (f"{self.rate} Hz", f"{self.bits} bits")

    def about(self, items: np.ndarray) -> list[str]:
        seconds = items.shape[2] / self.rate
        width = f"{self.bits} bits" if self.bits > 0 else f"float of {-self.bits} bits"
        said = f"{self.rate:,} Hz, {width}, {seconds:.3g} s each"
        return [said, *super().about(items)]

    def files(self, raw: np.ndarray, stem: str) -> dict[str, bytes]:
        return {
            f"{stem}-{k:05d}.wav": write_wave(Wave(item, self.rate, self.bits))
            for k, item in enumerate(raw)
        }

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "coding": "sound", "rate": self.rate, "bits": self.bits}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Sound:
        return cls(**fields_of(fields), rate=int(fields["rate"]), bits=int(fields["bits"]))


class Head(NamedTuple):
    """What a .wav file says of its sound, and where that lies.

    Attributes:
        path: The file.
        tag: Format of a sample.
        width: Its bits.
        rate: Samples in a second.
        channels: How many there are.
        start: First byte of the sound.
        length: Samples of each channel.
    """

    path: Path
    tag: int
    width: int
    rate: int
    channels: int
    start: int
    length: int

    @property
    def bits(self) -> int:
        """Of a sample; negative for float."""
        return -self.width if self.tag == _FLOAT else self.width

    def read(self, first: int, count: int) -> np.ndarray:
        """At most ``count`` samples of each channel, (channels, n) float64 in [-1, 1].

        Raises:
            DataError: one is not finite, or the file cannot be read.
        """
        block = self.channels * self.width // 8
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + first * block)
                data = file.read(min(count, self.length - first) * block)
        except OSError as error:
            raise DataError(f"'{self.path}' cannot be read: {error.strerror}.") from error
        samples = _READERS[self.tag, self.width](data)
        if not np.isfinite(samples).all():
            raise DataError(f"'{self.path}' holds samples that are not finite; export it again.")
        sound: np.ndarray = samples.reshape(-1, self.channels).T.clip(-1, 1)
        return sound


def read_wave(path: Path) -> Wave:
    """Read a .wav file.

    Raises:
        DataError: it is none, is damaged, or is compressed.
    """
    head = read_head(path)
    return Wave(head.read(0, head.length), head.rate, head.bits)


def read_head(path: Path) -> Head:
    """What a .wav file says of its sound.

    Raises:
        DataError: it is none, is damaged, or is compressed.
    """
    form, start, size = b"", 0, 0
    try:
        with path.open("rb") as file:
            for name, at, length in _parts(file):
                if name == b"fmt ":
                    file.seek(at)
                    form = file.read(min(length, 40))
                elif name == b"data":
                    start, size = at, length
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error
    short = f"'{path}' is not a .wav file, or is cut short; export it again as PCM .wav."
    if len(form) < 16 or not size:
        raise DataError(short)
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    if (tag, bits) not in _READERS or not 1 <= channels <= 64 or not rate:
        raise DataError(
            f"'{path}' holds sound of format {tag} with {bits} bits in {channels} channels; "
            "export it as PCM of 8, 16, 24 or 32 bits, or as float."
        )
    if (length := size // (channels * bits // 8)) == 0:
        raise DataError(short)
    return Head(path, tag, bits, rate, channels, start, length)


def _parts(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each part of a .wav file; nothing of another file."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    top = file.read(12)
    at = 12 if top[:4] == b"RIFF" and top[8:] == b"WAVE" else end
    while at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack("<4sI", file.read(8))
        yield name, at + 8, min(size, end - at - 8)
        at += 8 + size + size % 2


def _whole(dtype: str, shift: float, scale: float) -> Any:  # noqa: ANN401 - a function
    return lambda data: (np.frombuffer(data, dtype).astype(np.float64) - shift) / scale


def _three_bytes(data: bytes) -> np.ndarray:
    parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
    whole = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
    return np.asarray((whole - (whole >> 23 << 24)) / 2**23)


_READERS = {
    (_PCM, 8): _whole("u1", 128, 128),
    (_PCM, 16): _whole("<i2", 0, 2**15),
    (_PCM, 24): _three_bytes,
    (_PCM, 32): _whole("<i4", 0, 2**31),
    (_FLOAT, 32): _whole("<f4", 0, 1),
    (_FLOAT, 64): _whole("<f8", 0, 1),
}


def write_wave(wave: Wave) -> bytes:
    """The bytes of a .wav file."""
    flat, bits = wave.samples.T.reshape(-1).astype(np.float64), abs(wave.bits)
    if wave.bits < 0:
        body = flat.astype(f"<f{bits // 8}").tobytes()
    else:
        scale = 2.0 ** (bits - 1)
        whole = np.rint(flat * scale).clip(-scale, scale - 1).astype(np.int64)
        whole = whole + 128 if bits == 8 else whole
        columns = whole.astype("<i8").view(np.uint8).reshape(-1, 8)
        body = np.ascontiguousarray(columns[:, : bits // 8]).tobytes()
    tag, channels = (_FLOAT if wave.bits < 0 else _PCM), len(wave.samples)
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, wave.rate, wave.rate * block, block, bits)
    chunks = b"".join(
        name + len(part).to_bytes(4, "little") + part + b"\0" * (len(part) % 2)
        for name, part in ((b"fmt ", form), (b"data", body))
    )
    return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks


def open_sounds(root: Path, length: int | None = None) -> Dataset:
    """Data set of a .wav file, or of all of a folder, cut into items of one length.

    Args:
        root: File or folder; sub-folders are classes, and what is hidden is left out.
        length: Samples of an item; default that of the longest file, at most ``LONGEST``.

    Raises:
        DataError: no file at all, one that cannot be read, or that differs from the others in its
            rate.
    """
    paths = [root] if root.is_file() else _sounds_below(root)
    if not paths:
        raise DataError(f"'{root}' holds no .wav files.")
    heads = [read_head(path) for path in paths]
    first = heads[0]
    for head in heads:
        if head.rate != first.rate:
            raise DataError(
                f"'{head.path}' has {head.rate:,} samples a second, '{first.path.name}' has "
                f"{first.rate:,}; bring all files to one rate, each by: ffmpeg -i IN.wav -ar "
                f"{min(head.rate, first.rate)} OUT.wav"
            )
    side = length or min(LONGEST, max(head.length for head in heads))
    mixed = len({head.channels for head in heads}) > 1
    counts = [max(1, head.length // side) for head in heads]
    items = np.zeros((sum(counts), 1 if mixed else first.channels, side), np.float32)
    for head, windows in zip(heads, np.split(items, np.cumsum(counts)[:-1]), strict=True):
        _fill(windows, head)
    labels, classes, heldout, notes = _classes(root, paths, counts)
    if heldout is None:
        heldout = split_runs(items, np.array(counts))
    whole = sum(head.length == side for head in heads)
    notes.append(
        f"{many(len(paths), 'files')}, cut or filled up to {side:,} samples; {whole:,} fit."
    )
    notes += ["Mono and stereo files are mixed, so all are made mono."] if mixed else []
    coding = Sound((0.0,), (1.0,), "series", -1.0, 1.0, rate=first.rate, bits=first.bits)
    return make_dataset(
        root.stem, "series", items, heldout=heldout,
        labels=labels, classes=classes, coding=coding, notes=tuple(notes),
        source=Source(f"sounds in {root.name}"),
    )  # fmt: skip


def _sounds_below(root: Path) -> list[Path]:
    """The .wav files below a folder, by name, but for those that macOS hides beside each."""
    found = sorted(root.rglob("*.[wW][aA][vV]"))
    return [path for path in found if not any(p[0] == "." for p in path.relative_to(root).parts)]


def _fill(windows: np.ndarray, head: Head) -> None:
    """Read a sound into windows (count, channels, side), a few at a time.

    A rest is left, a short sound filled with zeros, and channels become one where there is one.
    """
    side = windows.shape[2]
    some = max(1, _AT_ONCE // side)
    for k in range(0, len(windows), some):
        part = windows[k : k + some]
        sound = head.read(k * side, len(part) * side)
        if len(sound) > part.shape[1]:
            sound = sound.mean(0, keepdims=True)
        full = np.pad(sound, ((0, 0), (0, len(part) * side - sound.shape[1])))
        part[:] = full.reshape(len(full), len(part), side).transpose(1, 0, 2)


def _classes(
    root: Path, paths: Sequence[Path], counts: Sequence[int]
) -> tuple[np.ndarray | None, tuple[str, ...], np.ndarray | None, list[str]]:
    """Class of each item, names of the classes, items that folders hold out, and notes."""
    if root.is_file():
        return None, (), None, []
    below = [os.fsencode(path.relative_to(root).as_posix()) for path in paths]
    labels, classes, notes = classes_of(below)
    held, more = heldout_of(below)
    if held is not None:
        held = np.flatnonzero(np.repeat(np.isin(np.arange(len(paths)), held), counts))
    return None if labels is None else np.repeat(labels, counts), classes, held, [*notes, *more]
