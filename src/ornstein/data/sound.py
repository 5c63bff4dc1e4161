"""Sound as series: .wav files of 8, 16, 24 or 32 bits or float, read and written again.

The files are taken apart here, because the standard library reads no float ones.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ornstein.data.coding import Coding, fields_of
from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.facts import classes_of
from ornstein.errors import DataError

LONGEST = 4096  # samples of an item when nothing is said
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


def read_wave(path: Path) -> Wave:
    """Read a .wav file.

    Raises:
        DataError: it is none, is damaged, or is compressed.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error
    form, data = b"", b""
    at = 12 if raw[:4] == b"RIFF" and raw[8:12] == b"WAVE" else len(raw)
    while at + 8 <= len(raw):
        name, size = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        body = raw[at + 8 : at + 8 + size]
        form, data = (body if name == b"fmt " else form), (body if name == b"data" else data)
        at += 8 + size + size % 2
    if len(form) < 16 or not data:
        raise DataError(f"'{path}' is no .wav file, or is cut short; export it again as PCM .wav.")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    kind = (tag, bits)
    if kind not in _READERS or not 1 <= channels <= 64 or not rate:
        raise DataError(
            f"'{path}' holds sound of format {tag} with {bits} bits in {channels} channels; "
            "export it as PCM of 8, 16, 24 or 32 bits, or as float."
        )
    block = channels * bits // 8
    samples = _READERS[kind](data[: len(data) // block * block])
    if not np.isfinite(samples).all():
        raise DataError(f"'{path}' holds samples that are not finite; export it again.")
    sound = samples.reshape(-1, channels).T.clip(-1, 1)
    return Wave(sound, rate, -bits if tag == _FLOAT else bits)


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
        root: File or folder; sub-folders are classes.
        length: Samples of an item; default that of the longest file, at most ``LONGEST``.

    Raises:
        DataError: a file that cannot be read, or that differs from the others in its rate.
    """
    paths = [root] if root.is_file() else sorted(root.rglob("*.[wW][aA][vV]"))
    waves = [read_wave(path) for path in paths]
    first = waves[0]
    for path, wave in zip(paths, waves, strict=True):
        if wave.rate != first.rate:
            raise DataError(
                f"'{path}' has {wave.rate:,} samples a second, '{paths[0].name}' has "
                f"{first.rate:,}; bring all files to one rate."
            )
    side = length or min(LONGEST, max(wave.samples.shape[1] for wave in waves))
    channels = {len(wave.samples) for wave in waves}
    mixed = len(channels) > 1
    cut = [_windows(wave.samples.mean(0, keepdims=True) if mixed else wave.samples, side)
           for wave in waves]  # fmt: skip
    counts = [len(part) for part in cut]
    labels, classes, notes = _classes(root, paths, counts)
    whole = sum(wave.samples.shape[1] == side for wave in waves)
    notes.append(f"{len(paths):,} files, cut or filled up to {side:,} samples; {whole:,} fit.")
    notes += ["Mono and stereo files are mixed, so all are made mono."] if mixed else []
    coding = Sound((0.0,), (1.0,), "series", -1.0, 1.0, rate=first.rate, bits=first.bits)
    return make_dataset(
        root.stem, "series", np.concatenate(cut).astype(np.float32),
        labels=labels, classes=classes, coding=coding, notes=tuple(notes),
        source=Source(f"sounds in {root.name}"),
    )  # fmt: skip


def _windows(samples: np.ndarray, side: int) -> np.ndarray:
    """Windows one after another, (count, channels, side); a rest is left, a short sound filled."""
    count = max(1, samples.shape[1] // side)
    lacking = max(0, count * side - samples.shape[1])
    full = np.pad(samples, ((0, 0), (0, lacking)))[:, : count * side]
    return full.reshape(len(full), count, side).transpose(1, 0, 2)


def _classes(
    root: Path, paths: Sequence[Path], counts: Sequence[int]
) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    if root.is_file():
        return None, (), []
    labels, classes, notes = classes_of([str(p.relative_to(root)).encode() for p in paths])
    return None if labels is None else np.repeat(labels, counts), classes, notes
