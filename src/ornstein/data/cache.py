"""Decoded pictures kept on disk: a memory-mapped .npy and a manifest, keyed by the file list.

Training reads this file only, so pictures that are changed or removed meanwhile do no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ornstein.data.pixels import Size
from ornstein.data.walk import Found

FORMAT = 1  # to be raised when decoding changes
ENVIRONMENT = "ORNSTEIN_CACHE"
_HEADER = 128  # bytes kept free for the .npy header, which needs the count at the end


def cache_folder() -> Path | None:
    """Folder of the cache, made if needed, or None where none can be written."""
    chosen = os.environ.get(ENVIRONMENT, "")
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = Path(chosen).absolute() if chosen else base / "ornstein"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or no home directory
        return None
    return folder if os.access(folder, os.W_OK) else None


def key_of(root: str, files: Sequence[Found], size: Size | None) -> str:
    """Hash of the folder, the size asked for, and every file's name, length and time."""
    digest = hashlib.sha256(repr((FORMAT, os.path.realpath(root), size)).encode())
    for file in files:
        digest.update(file.relative + f"\0{file.size}\0{file.changed}\n".encode())
    return digest.hexdigest()[:32]


def recall(folder: Path, key: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Memory map and manifest of ``key``, or None when absent or damaged."""
    place = folder / key
    try:
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        items = np.load(place / "items.npy", mmap_mode="r", allow_pickle=False)
        whole = items.shape == tuple(manifest["shape"]) and items.dtype == np.uint8
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return (items, manifest) if whole and manifest.get("format") == FORMAT else None


def keep_facts(place: Path, facts: dict[str, Any], arrays: Sequence[str]) -> None:
    """Write arrays and JSON values into the cache; where that fails they are made again."""
    try:
        new = Path(tempfile.mkdtemp(prefix="new-", dir=place.parent))
        for name in arrays:
            np.save(new / f"{name}.npy", facts[name], allow_pickle=False)
        rest = {name: value for name, value in facts.items() if name not in arrays}
        (new / "facts.json").write_text(json.dumps(rest), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        new.rename(place)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)


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

    def __init__(self, folder: Path | None) -> None:
        """Open a file in a new directory under ``folder``; None keeps everything in memory."""
        self.blocks: list[np.ndarray] = []
        self.count = 0
        self.place: Path | None = None
        self.file: IO[bytes] | None = None
        if folder is not None:
            try:
                self.place = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
                self.file = (self.place / "items.npy").open("wb")  # closed in keep
                self.file.write(b"\0" * _HEADER)
            except OSError:
                self.discard()

    def add(self, pictures: np.ndarray) -> None:
        """Append pictures (B, C, H, W)."""
        self.count += len(pictures)
        if self.file is not None and self.place is not None:
            try:
                self.file.write(np.ascontiguousarray(pictures).data)
                return
            except OSError:  # disk full: what is already written moves into memory
                self.file.close()
                shape = (self.count - len(pictures), *pictures.shape[1:])
                raw = np.fromfile(self.place / "items.npy", np.uint8, offset=_HEADER)
                self.blocks.append(raw[: int(np.prod(shape))].reshape(shape))
                self.discard()
        self.blocks.append(pictures)

    def drop_colour(self, size: Size) -> None:
        """Keep one channel of three: all pictures turned out to be grey."""
        self.blocks = [block[:, :1] for block in self.blocks]
        if self.file is None or self.place is None or self.count == 0:
            return
        self.file.close()
        wide, narrow = self.place / "items.npy", self.place / "grey.npy"
        colour = np.memmap(wide, np.uint8, "r", _HEADER, (self.count, 3, *size))
        self.file = narrow.open("wb")  # closed in keep
        self.file.write(b"\0" * _HEADER)
        for start in range(0, self.count, 4096):
            self.file.write(np.ascontiguousarray(colour[start : start + 4096, :1]).data)
        narrow.replace(wide)

    def keep(self, key: str, item: tuple[int, ...], manifest: dict[str, Any]) -> np.ndarray:
        """The pictures as one array: the cached map, or memory where there is no cache."""
        shape = (self.count, *item)
        if self.file is None or self.place is None:
            return np.concatenate(self.blocks) if self.blocks else np.empty(shape, np.uint8)
        with self.file as file:
            file.seek(0)
            head = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, head)
            if file.tell() != _HEADER:
                raise RuntimeError("the header of a .npy file is not 128 bytes long")
            file.flush()
            os.fsync(file.fileno())
        full = {**manifest, "format": FORMAT, "shape": list(shape)}
        (self.place / "manifest.json").write_text(json.dumps(full), encoding="utf-8")
        final = self.place.parent / key
        try:
            self.place.rename(final)
        except OSError:  # another process was faster, or an old damaged entry is in the way
            if (kept := recall(final.parent, key)) is not None:
                self.discard()
                return kept[0]
            shutil.rmtree(final, ignore_errors=True)
            self.place.rename(final)
        self.place = None
        return np.asarray(np.load(final / "items.npy", mmap_mode="r", allow_pickle=False))

    def discard(self) -> None:
        """Close and remove the file aside."""
        if self.file is not None:
            self.file.close()
        if self.place is not None:
            shutil.rmtree(self.place, ignore_errors=True)
        self.file, self.place = None, None
