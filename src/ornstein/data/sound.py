"""Sound as series: .wav files are cut into items, and samples are written as such."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ornstein.data.coding import Coding, fields_of
from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.facts import classes_of, heldout_of, many
from ornstein.data.splitting import split_runs
from ornstein.data.wave import Head, Wave, read_head, write_wave
from ornstein.errors import DataError

LONGEST = 4096  # samples of an item when nothing is said
_AT_ONCE = 1 << 18  # samples of a channel that are read at once


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
    parts = np.split(items, np.cumsum(counts)[:-1])
    peaks = [_fill(windows, head) for head, windows in zip(heads, parts, strict=True)]
    labels, classes, heldout, notes = _classes(root, paths, counts)
    if heldout is None:
        heldout = split_runs(items, np.array(counts))
    whole = sum(head.length == side for head in heads)
    notes.append(
        f"{many(len(paths), 'files')}, cut or filled up to {side:,} samples; {whole:,} fit."
    )
    notes += ["Mono and stereo files are mixed, so all are made mono."] if mixed else []
    notes += _loud(heads, peaks)
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


def _loud(heads: Sequence[Head], peaks: Sequence[float]) -> list[str]:
    """A note on the sounds that were cut off at -1 and 1, if there are any."""
    pairs = zip(peaks, (head.path.name for head in heads), strict=True)
    loud = sorted(pair for pair in pairs if pair[0] > 1)
    return [
        f"Cut off at -1 and 1: {many(len(loud), 'files')} of floats beyond, the loudest '{name}' "
        f"up to {peak:.4g}; divide all files by that to keep their form."
        for peak, name in loud[-1:]
    ]


def _fill(windows: np.ndarray, head: Head) -> float:
    """Read a sound into windows (count, channels, side), a few at a time; returns its peak.

    A rest is left, a short sound filled with zeros, and channels become one where there is one.
    What reaches beyond -1 and 1 is cut off there.
    """
    side = windows.shape[2]
    some, peak = max(1, _AT_ONCE // side), 0.0
    for k in range(0, len(windows), some):
        part = windows[k : k + some]
        sound = head.read(k * side, len(part) * side)
        peak, sound = max(peak, float(np.abs(sound).max())), sound.clip(-1, 1)
        if len(sound) > part.shape[1]:
            sound = sound.mean(0, keepdims=True)
        full = np.pad(sound, ((0, 0), (0, len(part) * side - sound.shape[1])))
        part[:] = full.reshape(len(full), len(part), side).transpose(1, 0, 2)
    return peak


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
