"""The files of a folder in one fixed order: links followed, loops ended, each file once."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

SYSTEM_NAMES = ("thumbs.db", "desktop.ini", "__macosx")


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: the root, path below the root as bytes, size and time of change.

    One that lies in an archive has its bytes in ``data``. There may be millions of these.
    """

    root: str
    relative: bytes
    size: int
    changed: int
    data: bytes | None = None

    @property
    def path(self) -> str:
        """The path to open."""
        return os.path.join(self.root, os.fsdecode(self.relative))  # noqa: PTH118 - of any bytes

    def source(self) -> str | io.BytesIO:
        """What a decoder opens: the path, or the bytes as a file."""
        return self.path if self.data is None else io.BytesIO(self.data)


def packed(archive: Path, data: bytes) -> Found:
    """A file whose bytes came out of an archive."""
    return Found(str(archive.parent), os.fsencode(archive.name), len(data), 0, data)


@dataclass(frozen=True, slots=True)
class Passed:
    """Something in the folder that is not a file to read, and why."""

    relative: bytes
    reason: str


def walk(root: str) -> tuple[list[Found], list[Passed]]:
    """Regular files under ``root``, sorted by the bytes of their relative path.

    Directories and files are known by device and inode, so a loop of links ends and a file with
    several names counts once, under its first name. What is reached through links comes after
    what lies in the tree itself, so a link never takes a file away from its own folder.
    """
    found: list[Found] = []
    passed: list[Passed] = []
    links: list[str] = []
    seen: set[tuple[int, int]] = set()
    _directory(root, root, found, passed, links, seen)
    while links:  # in the order found; a linked folder may hold links of its own
        link = links.pop(0)
        try:
            status = Path(link).stat()
        except OSError:
            passed.append(Passed(_below(root, link), "broken link"))
            continue
        if stat.S_ISDIR(status.st_mode):
            _directory(root, link, found, passed, links, seen)
        else:
            _file(root, link, status, found, passed, seen)
    return sorted(found, key=lambda f: f.relative), sorted(passed, key=lambda p: p.relative)


def _directory(
    root: str,
    start: str,
    found: list[Found],
    passed: list[Passed],
    links: list[str],
    seen: set[tuple[int, int]],
) -> None:
    """Collect below ``start`` without entering links; a list and no recursion, for deep trees."""
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda e: os.fsencode(e.name))
        except OSError:
            passed.append(Passed(_below(root, folder), "folder cannot be read"))
            continue
        below = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
                passed.append(Passed(_below(root, entry.path), "hidden or system file"))
            elif entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
            else:
                _file(root, entry.path, entry.stat(follow_symlinks=False), found, passed, seen)
        waiting.extend(reversed(below))


def _file(
    root: str,
    path: str,
    status: os.stat_result,
    found: list[Found],
    passed: list[Passed],
    seen: set[tuple[int, int]],
) -> None:
    if not stat.S_ISREG(status.st_mode):
        passed.append(Passed(_below(root, path), "not a regular file"))
    elif (status.st_dev, status.st_ino) in seen:
        passed.append(Passed(_below(root, path), "another name of a file already read"))
    else:
        seen.add((status.st_dev, status.st_ino))
        below = _below(root, path)
        found.append(Found(root, below, status.st_size, status.st_mtime_ns))


def _below(root: str, path: str) -> bytes:
    return os.fsencode(os.path.relpath(path, root))


def shown(path: bytes) -> str:
    """A path for people and JSON: bytes that are no text and control characters are escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
