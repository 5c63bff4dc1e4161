"""One training per run directory: a lock that dies with its holder."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from ornstein.errors import RunLockedError
from ornstein.training.disk import BINARY, explained

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None  # type: ignore[assignment]

HEARTBEAT_SECONDS, BEAT_SECONDS = 60.0, 15.0
# What flock answers on a disk that has no such locks, such as Lustre mounted without them.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_NAME = "run.lock"


@dataclass(frozen=True)
class Holder:
    """Who holds a run.

    Attributes:
        host: Name of the machine.
        pid: Process there.
        start: When it took the run, in seconds since 1970.
    """

    host: str
    pid: int
    start: float

    def __str__(self) -> str:
        here = "this machine" if self.host == socket.gethostname() else self.host
        day = time.strftime("%Y-%m-%d", time.localtime(self.start))
        clock = time.strftime("%H:%M", time.localtime(self.start))
        since = clock if day == time.strftime("%Y-%m-%d") else f"{day} {clock}"
        return f"pid {self.pid} on {here} since {since}"


def holder(run: Path) -> Holder | None:
    """Return who took the run last and did not give it back: the holder, dead or alive."""
    try:
        found = json.loads((run / _NAME).read_text("utf-8"))
        return Holder(str(found["host"]), int(found["pid"]), float(found["start"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class RunLock:
    """Holds a run directory while the ``with`` block lasts.

    The kernel's lock frees it when the process ends, however it ends. Where another machine shares
    the disk and that lock does not reach it, or the disk has no such locks at all, a heartbeat of
    at most 60 s decides. A thread beats, so that no step is too long for it.

    Args:
        run: The run directory; it must exist.

    Raises:
        RunLockedError: another training has it; it is named.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / _NAME
        self._handle = -1
        self._done = Event()
        self._heart = Thread(target=self._live, daemon=True)

    def __enter__(self) -> RunLock:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | BINARY
        with explained("taking the run", self.run, 0):
            handle = os.open(self.path, flags, 0o666)
        try:
            self._take(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        _HELD.add(self)
        self._heart.start()
        return self

    def _take(self, handle: int) -> None:
        try:
            reached = _locked(handle)
        except BlockingIOError as error:
            raise self._refusal() from error
        other = holder(self.run)
        unheard = other is not None and not (reached and other.host == socket.gethostname())
        if unheard and time.time() - os.fstat(handle).st_mtime < HEARTBEAT_SECONDS:
            raise self._refusal()
        with explained("taking the run", self.run, 0):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(asdict(_myself())).encode())

    def _refusal(self) -> RunLockedError:
        # The winner of a close race may not have written its name yet.
        until = time.monotonic() + 1.0
        while (other := holder(self.run)) is None and time.monotonic() < until:
            time.sleep(0.02)
        by = str(other) if other else "another process"
        return RunLockedError(
            f'run "{self.run.name}" is being trained by {by}.\n'
            f"  Wait for it, or start another:  --name {self.run.name}2"
        )

    def _live(self) -> None:
        """Say again and again that the holder is alive, for whom ``flock`` does not reach."""
        while not self._done.wait(BEAT_SECONDS):
            with suppress(OSError):  # the next beat may come through
                os.utime(self._handle if os.utime in os.supports_fd else self.path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle >= 0:
            self._done.set()
            self._heart.join()  # the number of a closed file may become that of another
            # The file stays: deleting it would let two holders have locks on two files of one
            # name.
            os.ftruncate(self._handle, 0)
            self._drop()

    def _drop(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _locked(handle: int) -> bool:
    """Take the kernel's lock; False where there is none to be had.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_of_windows(handle)  # type: ignore[unreachable]
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _lock_of_windows(handle: int) -> None:
    """Lock a letter that is not there: nobody else could read one that is.

    Raises:
        BlockingIOError: another process has it.
    """
    os.lseek(handle, 1 << 30, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except PermissionError as error:
        raise BlockingIOError(*error.args) from error


def _myself() -> Holder:
    return Holder(socket.gethostname(), os.getpid(), round(time.time(), 3))


# A forked worker that outlives a killed trainer must not keep its lock.
_HELD: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _forget_in_child() -> None:
    for lock in list(_HELD):
        lock._drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
