"""The few file operations that all saving goes through: durable, atomic, no link followed.

All writing of the package's own files is here, so that a test can stand between it and the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Protocol

from ornstein.errors import DiskError, ModelFileError

BLOCK = 1 << 22
BINARY = getattr(os, "O_BINARY", 0)  # without it Windows ends every line in two letters
FOLLOWS = not hasattr(os, "O_NOFOLLOW")  # Windows opens what a link leads to, asked or not
# Windows opens no folders, and moves and removes no file while another program looks into it, such
# as one that searches for viruses; that is over after a moment.
FOLDERS_OPEN = hasattr(os, "O_DIRECTORY")
PATIENCE = 0.0 if FOLDERS_OPEN else 2.0  # seconds
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEFT = re.compile(r"\.tmp-.+-\d+-[0-9a-f]{8}")


def megabytes(size: int) -> str:
    """Return a size in words, such as ``12 MB`` or ``0.3 MB``."""
    mb = size / 1e6
    return f"{mb:,.0f} MB" if mb >= 10 else f"{mb:.1f} MB"


def free_bytes(folder: Path) -> int:
    """Return the bytes left for us on the disk of ``folder`` or its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextmanager
def explained(action: str, folder: Path, needed: int, advice: str = "") -> Iterator[None]:
    """Turn an ``OSError`` of the block into a DiskError that says what was saved, and where."""
    try:
        yield
    except OSError as error:
        tail = f" {advice}" if advice else ""
        if error.errno in FULL:
            free = free_bytes(folder)
            raise DiskError(
                f"disk is full: {action} needs {megabytes(needed)}, {megabytes(free)} free in "
                f"{folder}.{tail}"
            ) from error
        raise DiskError(
            f"{action} in {folder} failed: {error.strerror or error}.{tail}"
        ) from error


def check_space(folder: Path, needed: int, action: str = "training") -> None:
    """Refuse to start what cannot be saved.

    Raises:
        DiskError: fewer than ``needed`` bytes are free.
    """
    free = free_bytes(folder)
    if free < needed:
        raise DiskError(
            f"the disk is too full: {action} needs {megabytes(needed)}, {megabytes(free)} free in "
            f"{folder}. Make room, or choose a smaller model or another folder."
        )


def aside(path: Path) -> Path:
    """Return a fresh name beside ``path`` for unfinished work: .tmp-<name>-<pid>-<random>."""
    return path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def make_folder(path: Path, *, parents: bool = True) -> None:
    """Make a folder durably, with its parents where these may be made too."""
    for folder in reversed([path, *path.parents] if parents else [path]):
        if not folder.exists():
            os.mkdir(folder)  # noqa: PTH102 - one name for all operations of this module: os
            sync_folder(folder.parent)


class Pieces(Protocol):
    """The content of a file, made piece by piece: its length in bytes, and the pieces."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[memoryview]: ...


def write_file(path: Path, data: bytes | Pieces) -> str:
    """Write a file that must not exist yet, to the platter, and return its SHA-256."""
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
    handle = os.open(path, flags, 0o666)
    try:
        for block in _blocks([memoryview(data)] if isinstance(data, bytes) else data):
            view = memoryview(block)
            while view:
                written = os.write(handle, view)
                digest.update(view[:written])
                view = view[written:]
        os.fsync(handle)
    finally:
        os.close(handle)
    return digest.hexdigest()


def _blocks(pieces: Iterable[memoryview]) -> Iterator[bytes]:
    """Cut and join pieces to blocks worth a call of the system each."""
    waiting = bytearray()
    for piece in pieces:
        for start in range(0, len(piece), BLOCK):
            waiting += piece[start : start + BLOCK]
            if len(waiting) >= BLOCK:
                yield bytes(waiting[:BLOCK])
                del waiting[:BLOCK]
    yield bytes(waiting)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; Windows has no such call."""
    if not FOLDERS_OPEN:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(old: Path, new: Path) -> None:
    """Rename within a folder, durably."""
    _patiently(os.rename, old, new)
    sync_folder(new.parent)


def write_atomically(path: Path, data: bytes | Pieces) -> None:
    """Replace a file as a whole: after any crash it is the old or the new one.

    Raises:
        DiskError: the disk is full, read-only or gone; the old file is untouched.
    """
    new = aside(path)
    with explained(f"saving {path.name}", path.parent, len(data)):
        try:
            write_file(new, data)
            _patiently(os.replace, new, path)
        except OSError:
            remove(new)
            raise
        sync_folder(path.parent)


@contextmanager
def replaced(path: Path, size: int) -> Iterator[IO[bytes]]:
    """A file to write about ``size`` bytes into, which then replaces another as a whole.

    Raises:
        DiskError: the disk is full, read-only or gone; the old file is untouched.
    """
    new = aside(path)
    with explained(f"saving {path.name}", path.parent, size):
        try:
            with new.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _patiently(os.replace, new, path)
        except BaseException:
            remove(new)
            raise
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder if it is there; links are not followed."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(kind):
        _patiently(os.unlink, path)
        return
    for entry in sorted(os.listdir(path)):  # noqa: PTH208
        remove(path / entry)
    _patiently(os.rmdir, path)


def _patiently(change: Callable[..., None], *paths: Path) -> None:
    """Change names on the disk, where another program may be in the way for a moment."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return change(*paths)
        except PermissionError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.05)


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left half written in ``folder``."""
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208
        if _LEFT.fullmatch(entry):
            remove(folder / entry)


def read_file(path: Path, cap: int) -> bytes:
    """Read a regular file of at most ``cap`` bytes; links and pipes are refused, not followed.

    Raises:
        ModelFileError: not a regular file, too large, or not there.
    """
    with opened(path, cap) as (file, size):
        return file.read(size)


@contextmanager
def opened(path: Path, cap: int) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file of at most ``cap`` bytes to be read; it, and its size in bytes.

    Raises:
        ModelFileError: as :func:`read_file`, also where reading it fails within.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if FOLLOWS and path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        handle = os.open(path, flags | BINARY)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path.name}: missing") from error
    except OSError as error:
        raise ModelFileError(f"{path.name}: {_why_not(path, error)}") from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ModelFileError(f"{path.name}: not a regular file")
        if found.st_size > cap:
            raise ModelFileError(f"{path.name}: larger than {megabytes(cap)}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file, found.st_size
    except OSError as error:
        raise ModelFileError(f"{path.name}: {error.strerror}") from error
    finally:
        os.close(handle)


def _why_not(path: Path, error: OSError) -> str:
    return "a link, not a file" if path.is_symlink() else str(error.strerror)
