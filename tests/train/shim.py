"""Stand-ins for ``os`` that fail, die or keep a record at the k-th file operation."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = {
    "open", "write", "fsync", "close", "rename", "replace", "unlink", "rmdir", "mkdir",
}  # fmt: skip


class Shim:
    """Passes everything on to ``os``, and calls ``before`` ahead of each file operation."""

    def __init__(self, before: Callable[[int, str, tuple[Any, ...]], None]) -> None:
        self.before = before
        self.count = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self.count += 1
            self.before(self.count, name, args)
            return real(*args, **kwargs)

        return call


def die_at(k: int) -> Shim:
    """End the process as if killed, just before the k-th operation."""

    def before(count: int, name: str, args: tuple[Any, ...]) -> None:
        if count == k:
            os._exit(9)

    return Shim(before)


def fail_at(
    k: int, number: int = errno.ENOSPC, names: frozenset[str] = frozenset(CHANGES)
) -> Shim:
    """Let the k-th operation among ``names``, and all writes after it, fail with ``number``."""
    seen = 0

    def before(count: int, name: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if name in names:
            seen += 1
            changes = name in {"write", "mkdir", "rename", "replace", "fsync"}
            if seen >= k and (changes or (name == "open" and args[1] & os.O_CREAT)):
                raise OSError(number, os.strerror(number))

    return Shim(before)


class Recorder(Shim):
    """Keeps what was done to the disk under ``root``, for playing power cuts.

    Entries: ("mkdir", path), ("create", path, n), ("write", n, bytes), ("sync", n), ("syncdir",
    path), ("rename", old, new), ("unlink", path), ("rmdir", path); paths relative to root, n
    numbers the file.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(lambda *_: None)
        self.root = root
        self.log: list[tuple[Any, ...]] = []
        self.handles: dict[int, tuple[str, Any]] = {}
        self.files = 0

    def _path(self, path: Any) -> str:  # noqa: ANN401
        return os.path.relpath(path, self.root)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            answer = real(*args, **kwargs)
            self._note(name, args, answer)
            return answer

        return call

    def _note(self, name: str, args: tuple[Any, ...], answer: Any) -> None:  # noqa: ANN401
        if name == "open" and args[1] & os.O_CREAT:
            self.files += 1
            self.handles[answer] = ("file", self.files)
            self.log.append(("create", self._path(args[0]), self.files))
        elif name == "open":
            self.handles[answer] = ("dir", self._path(args[0]))
        elif name == "write":
            self.log.append(("write", self.handles[args[0]][1], bytes(args[1][:answer])))
        elif name == "fsync":
            kind, what = self.handles[args[0]]
            self.log.append(("sync" if kind == "file" else "syncdir", what))
        elif name == "close":
            self.handles.pop(args[0], None)
        elif name in {"rename", "replace"}:
            self.log.append(("rename", self._path(args[0]), self._path(args[1])))
        else:
            self.log.append((name, self._path(args[0])))
