"""What is known of the files of a folder, on disk: SQLite sorts, counts and finds there.

The working tables are in a file without a name, so nothing is left behind however the process
ends. What a later opening needs, the pictures in their order and the files refused, is written
beside the decoded pictures in the cache, and read from there.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload
from urllib.parse import quote

import numpy as np

from ornstein.data.dataset import Refused
from ornstein.data.decode import Bad, Head, readable
from ornstein.data.pixels import Size
from ornstein.data.walk import TABLES, Found, changed, shown, walk

BLOCK = 256  # files handled at a time
FILE = "files.db"
# What the header of a picture says stands in ``heads``; a file that is refused leaves ``files``.
LOOKED = """
CREATE TABLE heads (path BLOB PRIMARY KEY, height, width, mode, rotated, animated) WITHOUT ROWID;
CREATE TABLE bad (path BLOB, reason, counts);
CREATE VIEW looked AS SELECT heads.* FROM files JOIN heads USING (path);
CREATE VIEW open_range AS
    SELECT path, size FROM files JOIN heads USING (path) WHERE mode IN ('F', 'I');
"""
KEEP = """
CREATE TABLE kept.used AS SELECT path FROM files ORDER BY path;
CREATE TABLE kept.refused AS SELECT path, reason, counts FROM bad ORDER BY counts DESC, path;
"""
LEAVE = """
CREATE TABLE left_out AS SELECT path, reason FROM (
    SELECT 0 AS last, counts, path, reason FROM kept.refused
    UNION ALL SELECT 1, 0, path, reason FROM passed
) ORDER BY last, counts DESC, path;
"""
ASKED = """
DROP TABLE IF EXISTS asked;
CREATE TABLE asked (path BLOB);
"""
PLACES = """
SELECT ifnull(used.rowid, 0) - 1 FROM asked LEFT JOIN kept.used AS used USING (path)
ORDER BY asked.rowid
"""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Rows(Sequence[T]):
    """Rows of a table on disk as a sequence: each is read when it is asked for.

    Attributes:
        listing: Holds the database.
        query: Asks for the rows of two numbers and between, counted from 1.
        many: Number of rows.
        make: Makes of a row what it stands for.
    """

    listing: Listing
    query: str
    many: int
    make: Callable[..., T]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.many

    def __iter__(self) -> Iterator[T]:
        """Read them in order."""
        return (self.make(*row) for row in self.listing.ask(self.query, 1, self.many))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Read one, or some."""
        chosen = range(self.many)[index]
        if isinstance(chosen, range):
            return [self[k] for k in chosen]
        return self.make(*self.listing.ask(self.query, chosen + 1, chosen + 1).fetchone())


class Listing:
    """The files of a folder, in the order of the bytes of their paths."""

    def __init__(self, root: str, place: str = "") -> None:
        """Make an empty one.

        Args:
            root: Folder that the paths are below.
            place: Of the working tables: "" for a file without a name, or ":memory:".
        """
        self.root = root
        self.base = sqlite3.connect(place, isolation_level=None, check_same_thread=False, uri=True)
        weakref.finalize(self, self.base.close)
        self.base.execute("PRAGMA journal_mode = OFF")
        self.base.executescript(TABLES + LOOKED)

    @classmethod
    def below(cls, root: str, place: str = "", met: Callable[[], None] = lambda: None) -> Listing:
        """List all files of a folder; see :func:`ornstein.data.walk.walk`."""
        listing = cls(root, place)
        walk(root, listing.base, met)
        return listing

    @classmethod
    def of(cls, root: str, paths: Iterable[bytes], place: str = "") -> Listing:
        """List some files of a folder, each once."""
        listing = cls(root, place)
        for path in paths:
            status = Path(root, os.fsdecode(path)).stat()
            row = (path, status.st_size, changed(status))
            listing.ask("INSERT OR IGNORE INTO files VALUES (?, ?, ?, NULL, 0)", *row)
        return listing

    def ask(self, query: str, *values: object) -> sqlite3.Cursor:
        """Read or change the tables."""
        return self.base.execute(query, values)

    def one(self, query: str, *values: object) -> Any:  # noqa: ANN401 - a value of any type
        """Read a single value."""
        return self.ask(query, *values).fetchone()[0]

    def __len__(self) -> int:
        """Return the number of files that are not refused."""
        return int(self.one("SELECT count(*) FROM files"))

    def get(self, path: bytes) -> Found | None:
        """Return the file of a path, or None where there is none."""
        row = self.ask("SELECT path, size FROM files WHERE path = ?", path).fetchone()
        return None if row is None else Found(self.root, *row)

    def blocks(self, among: str = "files") -> Iterator[list[Found]]:
        """Read the files in order, some at a time; those at hand may be refused meanwhile.

        Args:
            among: Table of them: "files", or "open_range" for those that may be of real numbers.
        """
        query = f"SELECT path, size FROM {among} WHERE path > ? ORDER BY path LIMIT ?"  # noqa: S608
        last = b""
        while part := self.ask(query, last, BLOCK).fetchall():
            yield [Found(self.root, *row) for row in part]
            last = part[-1][0]

    def drop(self, paths: Iterable[bytes]) -> None:
        """Take files off the list."""
        self.base.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in paths))

    def note(self, file: Found, got: Head | Bad) -> None:
        """Write down what a file's header says, or why the file is refused."""
        if isinstance(got, Head):
            row = (got.height, got.width, got.mode, got.rotated, got.animated)
            self.ask("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?)", file.relative, *row)
        else:
            self.ask("INSERT INTO bad VALUES (?, ?, ?)", file.relative, got.reason, got.counts)
            self.drop([file.relative])

    def key(self, size: Size | None, version: int) -> str:
        """Hash of all that decides what is read.

        The folder, the size asked for, the formats that can be read here, and every file's name,
        length and times.
        """
        head = (version, os.path.realpath(self.root), size, readable())
        digest = hashlib.sha256(repr(head).encode())
        for path, length, when in self.ask("SELECT path, size, changed FROM files ORDER BY path"):
            digest.update(path + f"\0{length}\0{when}\n".encode())
        return digest.hexdigest()[:32]

    def keep(self, place: Path | None) -> None:
        """Write the result into a directory, or, with None, beside the working tables.

        Raises:
            OSError: it cannot be written there.
        """
        try:
            self.ask("ATTACH ? AS kept", "" if place is None else str(place / FILE))
            self.ask("PRAGMA kept.journal_mode = OFF")
            self.base.executescript(KEEP)
            if place is None:
                self.base.executescript(LEAVE)
        except sqlite3.Error as error:
            raise OSError(f"{FILE} cannot be written") from error
        finally:
            if place is not None:
                self._detach()

    def recall(self, place: Path, count: int) -> bool:
        """Use the result that is kept in a directory; False when it is absent or damaged."""
        try:
            known = quote(os.fsencode(place / FILE))
            self.ask("ATTACH ? AS kept", f"file:{known}?mode=ro&immutable=1")
            if self.one("PRAGMA kept.quick_check") == "ok" and count == len(self.used):
                self.base.executescript(LEAVE)
                return True
        except sqlite3.Error:
            pass
        self._detach()
        return False

    def _detach(self) -> None:
        if any(row[1] == "kept" for row in self.ask("PRAGMA database_list")):
            self.ask("DETACH kept")

    @property
    def used(self) -> Rows[bytes]:
        """Paths of the pictures, in their order."""
        return self._used(bytes)

    @property
    def names(self) -> Rows[str]:
        """The same for people."""
        return self._used(shown)

    def _used(self, make: Callable[[bytes], T]) -> Rows[T]:
        query = "SELECT path FROM kept.used WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
        return Rows(self, query, self.one("SELECT count(*) FROM kept.used"), make)

    def places(self, paths: Iterable[bytes | None]) -> np.ndarray:
        """Index of each path among the pictures, -1 for one that is none of them."""
        self.base.executescript(ASKED)
        self.base.executemany("INSERT INTO asked VALUES (?)", ((path,) for path in paths))
        return np.fromiter((k for (k,) in self.ask(PLACES)), np.int64)

    @property
    def bad(self) -> Rows[Refused]:
        """Refused files that were meant to be pictures."""
        query = "SELECT path, reason FROM kept.refused WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
        many = self.one("SELECT count(*) FROM kept.refused WHERE counts")
        return Rows(self, query, many, _refused)

    @property
    def left_out(self) -> Rows[Refused]:
        """All files that are not used, those meant to be pictures first."""
        query = "SELECT path, reason FROM left_out WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
        return Rows(self, query, self.one("SELECT count(*) FROM left_out"), _refused)


def _refused(path: bytes, reason: str) -> Refused:
    return Refused(shown(path), reason)
