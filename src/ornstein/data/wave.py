"""Files of sound: .wav of 8, 16, 24 or 32 bits or float, read and written.

They are taken apart here, because the standard library reads no float ones.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ornstein.errors import DataError

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
        """At most ``count`` samples of each channel, (channels, n) float64.

        They are in [-1, 1], but for floats, which may reach beyond it.

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
        return np.asarray(samples.reshape(-1, self.channels).T)


def read_wave(path: Path) -> Wave:
    """Read a .wav file; floats beyond -1 and 1 are cut off there.

    Raises:
        DataError: it is none, is damaged, or is compressed.
    """
    head = read_head(path)
    return Wave(head.read(0, head.length).clip(-1, 1), head.rate, head.bits)


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
