"""What a run writes as it goes: ``log.jsonl`` of JSON lines, and ``events.log`` for people."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ornstein import jsons
from ornstein.training.disk import BINARY, explained


class Journal:
    """An append-only file of JSON lines, each with the ``step`` it belongs to.

    A line that could not be written (disk full) is kept and written before the next one. A last
    line torn by a crash is cut off before anything is appended.

    Args:
        path: The file; made at the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = b""
        self._mended = False

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line; floats keep every digit.

        Raises:
            DiskError: the disk is full or gone; the line waits for the next call.
        """
        self._waiting += jsons.dumps(dict(entry)).encode() + b"\n"
        self._write()

    def sync(self) -> None:
        """Make all lines durable; called before a checkpoint, so that the log has all up to it.

        Raises:
            DiskError: the disk is full or gone.
        """
        self._write()
        if self.path.exists():
            with explained(f"writing {self.path.name}", self.path.parent, 0):
                handle = os.open(self.path, os.O_RDWR)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def truncate_after(self, step: int) -> None:
        """Cut off all lines from the first one of a later step on: they will be written again."""
        keep = 0
        for end, entry in _lines(self.path):
            if entry.get("step", -1) > step:
                break
            keep = end
        self._waiting = b""
        self._cut(keep)

    def _write(self) -> None:
        if not self._waiting:
            return
        with explained(f"writing {self.path.name}", self.path.parent, len(self._waiting)):
            self._mend()
            _append(self.path, self._waiting)
        self._waiting = b""

    def _mend(self) -> None:
        if not self._mended:
            self._cut(max((end for end, _ in _lines(self.path)), default=0))
            self._mended = True

    def _cut(self, size: int) -> None:
        if self.path.exists() and self.path.stat().st_size > size:
            with explained(f"writing {self.path.name}", self.path.parent, 0):
                os.truncate(self.path, size)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal, oldest first; a torn last line is left out."""
    return [entry for _, entry in _lines(path) if entry]


def read_record(run: Path) -> dict[str, Any]:
    """What a run says of itself in ``run.json``; a torn record reads as none."""
    try:
        found = json.loads((run / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(run: Path, text: str) -> None:
    """Add a line with the time to the run's ``events.log``.

    Raises:
        DiskError: it cannot be written.
    """
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    line = f"{stamp}  {' '.join(text.split())}\n".encode()
    with explained("writing events.log", run, len(line)):
        _append(run / "events.log", line)


def _append(path: Path, data: bytes) -> None:
    """Append all of ``data`` or nothing."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
    try:
        before = os.fstat(handle).st_size
        try:
            while data:
                data = data[os.write(handle, data) :]
        except OSError:
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The end offset and content of each whole line; {} for one that is no JSON object."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {}
            yield end, entry if isinstance(entry, dict) else {}
