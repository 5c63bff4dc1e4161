"""The files of a folder: links followed, loops ended, each file once.

What is found goes into a database on disk (see ``ornstein.data.listing``) as it is found, and so
do the folders and links still to be looked at: a million files take the memory of ten.
"""

from __future__ import annotations

import io
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

SYSTEM_NAMES = (b"thumbs.db", b"desktop.ini", b"__macosx")
# What ornstein wrote itself, by somebody who stood in the folder of the data.
RUN = (b"config.toml", b"events.log")
SHEET, REPORT = b".sheet.png", b".report.json"

# ``node`` is what a file is known by, whatever it is called; ``far`` is the number of links on
# the way to it. Both numbers of a node, and times, may have 64 bits; SQLite's have a sign.
TABLES = """
CREATE TABLE files (path BLOB PRIMARY KEY, size, changed, node, far) WITHOUT ROWID;
CREATE TABLE links (far, path BLOB, PRIMARY KEY (far, path)) WITHOUT ROWID;
CREATE TABLE waiting (path BLOB);
CREATE TABLE entered (node PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE passed (path BLOB, reason);
"""
# What is reached through links comes after what lies in the tree itself, so a link never takes a
# file away from its own folder.
AGAIN = """
CREATE TABLE again AS SELECT path FROM (
    SELECT path, row_number() OVER (PARTITION BY node ORDER BY far, path) AS k FROM files
) WHERE k > 1;
INSERT INTO passed SELECT path, 'another name of a file already read' FROM again;
DELETE FROM files WHERE path IN (SELECT path FROM again);
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: the root, path below the root as bytes, and size.

    One that lies in an archive has its bytes in ``data``.
    """

    root: str
    relative: bytes
    size: int
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
    return Found(str(archive.parent), os.fsencode(archive.name), len(data), data)


def walk(root: str, into: sqlite3.Connection, met: Callable[[], None] = lambda: None) -> None:
    """Put the regular files under ``root`` into ``files``, all else into ``passed``, with why.

    Directories and files are known by device and inode, so a loop of links ends and a file with
    several names counts once, under its first name.

    Args:
        root: The folder.
        into: A database with TABLES.
        met: Called for everything that is met; what it raises ends the walk.
    """
    into.execute("BEGIN")
    into.execute("INSERT INTO links VALUES (0, x'')")  # the root, and then links, nearest first
    top, place = os.fsencode(root), (-1, b"")
    following = "SELECT * FROM links WHERE (far, path) > (?, ?) ORDER BY far, path LIMIT 1"
    while (place := into.execute(following, place).fetchone()) is not None:
        far, link = place
        try:
            status = os.stat(os.path.join(top, link))  # noqa: PTH116, PTH118 - of any bytes
        except OSError:
            _pass(into, link, "broken link")
            continue
        if stat.S_ISDIR(status.st_mode):
            _folders(into, top, link, far, met)
        else:
            _file(into, link, status, far)
    into.execute("COMMIT")
    into.executescript(AGAIN)


def _folders(
    into: sqlite3.Connection, top: bytes, start: bytes, far: int, met: Callable[[], None]
) -> None:
    """Collect below ``start`` without entering links; a list and no recursion, for deep trees."""
    into.execute("INSERT INTO waiting VALUES (?)", (start,))
    while last := into.execute("SELECT rowid, path FROM waiting ORDER BY rowid DESC").fetchone():
        row, folder = last
        into.execute("DELETE FROM waiting WHERE rowid = ?", (row,))
        place = os.path.join(top, folder)  # noqa: PTH118 - of any bytes
        try:
            if folder and _is_run(place):
                _pass(into, folder, "a run, and no data")
                continue
            node = _node(os.stat(place))  # noqa: PTH116
            if into.execute("INSERT OR IGNORE INTO entered VALUES (?)", (node,)).rowcount:
                with os.scandir(place) as entries:
                    for entry in entries:
                        met()
                        _entry(into, folder, entry, far)
        except OSError:
            _pass(into, folder, "folder cannot be read")


def _entry(into: sqlite3.Connection, folder: bytes, entry: os.DirEntry[bytes], far: int) -> None:
    name = entry.name
    path = folder + b"/" + name if folder else name
    if name.startswith(b".") or name.lower() in SYSTEM_NAMES:
        _pass(into, path, "hidden or system file")
    elif name.endswith(SHEET) and os.path.isfile(entry.path.removesuffix(SHEET) + REPORT):  # noqa: PTH113
        _pass(into, path, "a contact sheet, and no data")
    elif entry.is_symlink():
        into.execute("INSERT INTO links VALUES (?, ?)", (far + 1, path))
    elif entry.is_dir(follow_symlinks=False):
        into.execute("INSERT INTO waiting VALUES (?)", (path,))
    else:
        try:
            status = os.lstat(entry.path)  # the entry's own knows no node on Windows
        except OSError:
            _pass(into, path, "removed while reading")
            return
        _file(into, path, status, far)


def _file(into: sqlite3.Connection, path: bytes, status: os.stat_result, far: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        _pass(into, path, "not a regular file")
        return
    row = (path, status.st_size, changed(status), _node(status), far)
    into.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", row)


def _pass(into: sqlite3.Connection, path: bytes, reason: str) -> None:
    into.execute("INSERT INTO passed VALUES (?, ?)", (path or b".", reason))


def changed(status: os.stat_result) -> str:
    """When a file was changed: what a copy keeps, and what nobody can set back."""
    return f"{status.st_mtime_ns} {status.st_ctime_ns}"


def _is_run(folder: bytes) -> bool:
    return all(os.path.isfile(os.path.join(folder, name)) for name in RUN)  # noqa: PTH113, PTH118


def _node(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def names_below(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, in no order; nothing is kept.

    Links are not entered; what is hidden is left out, and so is what ornstein wrote.
    """
    with ExitStack() as stack, suppress(OSError):
        open_ones = [stack.enter_context(os.scandir(folder))]
        while open_ones:
            entry = next(open_ones[-1], None)
            if entry is None:
                open_ones.pop().close()
            elif entry.name.startswith(".") or entry.name.endswith(os.fsdecode(SHEET)):
                continue
            elif entry.is_dir(follow_symlinks=False):
                if _is_run(os.fsencode(entry.path)):
                    continue
                with suppress(OSError):
                    open_ones.append(stack.enter_context(os.scandir(entry.path)))
            else:
                yield entry.name


def shown(path: bytes) -> str:
    """A path for people and JSON: bytes that are no text and control characters are escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
