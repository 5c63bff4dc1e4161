"""A Python that lacks what plain Windows lacks: ``python windows.py '[["train", ...], ...]'``.

The commands run one after the other until one fails. What is taken away or made to refuse follows
the documentation of Python's os, signal and shutil and of the C library of Windows. Names of
files, drives and the console are those of this machine.
"""

# ruff: noqa: ANN401, PTH - it stands in for os, which takes whatever names a file

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

MODULES = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog")
OS = """
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC O_DSYNC chown chroot confstr ctermid
    fchdir fchmod fchown fdatasync fork forkpty fstatvfs getegid geteuid getgid getgroups
    getloadavg getpgid getpgrp getpriority getresuid getsid getuid initgroups killpg lchown lockf
    mkfifo mknod nice openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn pread
    preadv pwrite pwritev register_at_fork sched_getaffinity sched_setaffinity sched_yield
    sendfile setpgid setpriority setsid setuid statvfs sync sysconf uname wait wait3 wait4 waitid
    WNOHANG
"""
SIGNALS = """
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTRAP
    SIGTSTP SIGTTIN SIGTTOU SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ alarm getitimer
    pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait sigwaitinfo
"""
TAKEN = {
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGINT,
    signal.SIGSEGV,
    signal.SIGTERM,
}
O_BINARY = 0x8000
TICK = 1 / 64  # seconds between two moments that clocks tell apart there
real: Any = types.SimpleNamespace(**vars(os))
signalled = signal.signal


def held(path: Any) -> bool:
    """Whether this process has a file open or mapped, or one in a folder."""
    place = str(Path(os.fsdecode(path)).resolve())
    names = []
    for entry in real.listdir("/proc/self/fd"):
        try:
            names.append(real.readlink(f"/proc/self/fd/{entry}"))
        except OSError:  # that of the listing itself
            continue
    maps = Path("/proc/self/maps").read_text("utf-8")
    names += [words[5] for line in maps.splitlines() if len(words := line.split(None, 5)) == 6]
    return any(name == place or name.startswith(place + "/") for name in names)


def unless_held(name: str, count: int) -> Callable[..., Any]:
    """The call, refused where one of its first ``count`` arguments is held."""

    def call(*args: Any, **more: Any) -> Any:
        for path in args[:count]:
            if held(path):
                raise PermissionError(13, "The process cannot access the file", path)
        if name == "rename" and os.path.lexists(args[1]):
            raise FileExistsError(17, "Cannot create a file when that file already exists")
        return getattr(real, name)(*args, **more)

    return call


texts: set[int] = set()


def opened(path: Any, flags: int, mode: int = 0o777) -> int:
    """os.open: no folders; what is not O_BINARY is text."""
    if Path(path).is_dir():
        raise PermissionError(13, "Permission denied", path)
    handle: int = real.open(path, flags & ~O_BINARY, mode)
    (texts.discard if flags & O_BINARY else texts.add)(handle)
    return handle


def written(handle: int, data: Any) -> int:
    """os.write: into a text every line ends in two letters."""
    if handle not in texts:
        return int(real.write(handle, data))
    real.write(handle, bytes(data).replace(b"\n", b"\r\n"))
    return len(data)


def closed(handle: int) -> None:
    """os.close."""
    texts.discard(handle)
    real.close(handle)


def synced(handle: int) -> None:
    """os.fsync: of what can be written only."""
    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    real.fsync(handle)


def touched(path: Any, *args: Any, **more: Any) -> None:
    """os.utime: by a name only."""
    if isinstance(path, int):
        raise TypeError("utime: path should be string, bytes or os.PathLike, not int")
    real.utime(path, *args, **more)


class Entry:
    """What os.scandir finds: its stat does not tell the device and the number."""

    def __init__(self, entry: Any) -> None:
        self.name, self.path = entry.name, entry.path
        self.is_dir, self.is_file = entry.is_dir, entry.is_file
        self.is_symlink, self._entry = entry.is_symlink, entry

    def __fspath__(self) -> Any:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        found = list(self._entry.stat(follow_symlinks=follow_symlinks)[:10])
        found[stat.ST_INO] = found[stat.ST_DEV] = found[stat.ST_NLINK] = 0
        return os.stat_result([*found, *map(float, found[7:10])])


class Scan:
    """The answer of os.scandir."""

    def __init__(self, path: Any = ".") -> None:
        self._scan = real.scandir(path)
        self.close = self._scan.close

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        return Entry(next(self._scan))

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Library(ctypes.CDLL):
    """ctypes.CDLL: there is no library without a name."""

    def __init__(self, name: str | None, *args: Any, **more: Any) -> None:
        if name is None:
            raise TypeError("LoadLibrary() argument 1 must be str, not None")
        super().__init__(name, *args, **more)


def room(path: Any) -> Any:
    """shutil.disk_usage, which asks os.statvfs here."""
    found = real.statvfs(path)
    return types.SimpleNamespace(free=found.f_bavail * found.f_frsize)


def handled(number: int, handler: Any) -> Any:
    """signal.signal: of six signals."""
    if number not in TAKEN:
        raise ValueError("invalid signal value")
    return signalled(number, handler)


def ticking(clock: Callable[[], float]) -> float:
    """A clock as coarse as those there."""
    return clock() // TICK * TICK


def locking(handle: int, mode: int, count: int) -> None:
    """msvcrt.locking: of bytes from here on, which nobody else can read then."""
    assert (mode, count) == (2, 1)
    assert real.lseek(handle, 0, os.SEEK_CUR) > 1_000_000, "who has it could not be read"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


class Absent(subprocess.Popen[bytes]):
    """subprocess.Popen, which goes another way there: on a machine without other programs."""

    def __init__(self, words: Any, *_: object, **__: object) -> None:
        raise FileNotFoundError(2, "The system cannot find the file specified", words[0])


def take_away() -> None:
    """Let this process be as one on Windows, but for the libraries, which are there already."""
    sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)  # type: ignore[assignment]
    for module, names in ((os, OS), (signal, SIGNALS)):
        for name in filter(module.__dict__.__contains__, names.split()):
            delattr(module, name)
    refusing = {name: unless_held(name, 2) for name in ("rename", "replace")}
    refusing |= {name: unless_held(name, 1) for name in ("unlink", "remove", "rmdir")}
    changed = {"O_BINARY": O_BINARY, "open": opened, "write": written, "close": closed}
    changed |= {"fsync": synced, "utime": touched, "scandir": Scan, "supports_fd": set()}
    vars(os).update(refusing | changed)
    vars(shutil).update(disk_usage=room, _use_fd_functions=False)
    vars(ctypes).update(CDLL=Library)
    vars(signal).update(signal=handled)
    vars(subprocess).update(Popen=Absent)
    for name in ("time", "monotonic"):
        setattr(time, name, partial(ticking, getattr(time, name)))


def main(commands: list[list[str]]) -> None:
    """Run commands of the package, until one fails."""
    # What they import of others, so that nothing but the package meets what is missing.
    import asyncio  # noqa: F401
    import multiprocessing  # noqa: F401
    import platform
    import sqlite3  # noqa: F401
    import tempfile  # noqa: F401

    import PIL.Image
    import pydantic  # noqa: F401
    import rich.live  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch.distributed.rendezvous
    import torch.utils.flop_counter  # noqa: F401

    PIL.Image.init()
    platform.uname()
    take_away()
    warnings.simplefilter("ignore", EncodingWarning)
    warnings.filterwarnings("error", category=EncodingWarning, module="ornstein")
    from ornstein.cli import main as ornstein

    for words in commands:
        try:
            ornstein(words)
        except SystemExit as ended:
            if ended.code:
                raise


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
