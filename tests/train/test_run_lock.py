"""One training per run: the second is told at once who has it, a dead holder frees it (R13)."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from types import SimpleNamespace

import pytest

import ornstein
from figures import figure, times
from ornstein.errors import RunLockedError
from ornstein.run import Silent
from ornstein.training import lock
from ornstein.training.lock import Holder, RunLock, holder

HOLD = """
import sys, time
from pathlib import Path
from ornstein.errors import RunLockedError
from ornstein.training import lock
from ornstein.training.lock import RunLock
go = float(sys.argv[2])
lock.BEAT_SECONDS = 0.1
time.sleep(max(0, go - time.time()))
try:
    with RunLock(Path(sys.argv[1])):
        print("taken", flush=True)
        time.sleep(float(sys.argv[3]))
except RunLockedError as error:
    print("locked", error, flush=True)
    sys.exit(error.exit_code)
"""


@contextmanager
def another(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run."""
    command = [sys.executable, "-c", HOLD, str(run), "0", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "taken\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_second_is_refused_within_two_seconds_and_told_who_has_it(tmp_path: Path) -> None:
    run = tmp_path / "photos"
    run.mkdir()
    with another(run) as process:
        clock = time.strftime("%H:%M", time.localtime((run / "run.lock").stat().st_mtime))
        began = time.monotonic()
        with pytest.raises(RunLockedError) as caught, RunLock(run):
            pass
        assert time.monotonic() - began < 2
        first, fix = str(caught.value).splitlines()
        assert first == (
            f'run "photos" is being trained by pid {process.pid} on this machine since {clock}.'
        )
        assert "--name photos2" in fix
        assert caught.value.exit_code == 73


def test_a_killed_holder_frees_the_run(tmp_path: Path) -> None:
    with another(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = time.monotonic()
        with RunLock(tmp_path):
            assert time.monotonic() - began < 2
            found = holder(tmp_path)
            assert found is not None
            assert found.pid == os.getpid()
    assert holder(tmp_path) is None


def test_a_worker_that_outlives_its_trainer_does_not_keep_the_run(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    trainer = os.fork()
    if trainer == 0:
        lock = RunLock(tmp_path)
        lock.__enter__()
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        os.write(writer, str(worker).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(trainer, 0)
    worker = int(os.read(reader, 20))
    try:
        with RunLock(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.torture
def test_of_several_that_start_together_exactly_one_wins(tmp_path: Path) -> None:
    tries = times(2, 50)
    for k in range(tries):
        run = tmp_path / str(k)
        run.mkdir()
        go = str(time.time() + 1.5)
        command = [sys.executable, "-c", HOLD, str(run), go, "2"]
        crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        said = [process.communicate()[0] for process in crowd]
        assert sum(text == "taken\n" for text in said) == 1
        assert sum(process.returncode == 73 for process in crowd) == 3
        assert all("is being trained by pid" in text for text in said if text != "taken\n")
    figure("R13", "four trainings start at the same instant", f"one winner in {tries}/{tries}")


def test_a_holder_on_another_machine_counts_for_sixty_seconds(tmp_path: Path) -> None:
    other = {"host": "elsewhere", "pid": 4121, "start": time.time() - 500}
    path = tmp_path / "run.lock"
    path.write_text(json.dumps(other))
    with pytest.raises(RunLockedError, match="by pid 4121 on elsewhere"), RunLock(tmp_path):
        pass
    os.utime(path, (time.time() - 61,) * 2)
    with RunLock(tmp_path):
        pass


def without_locks(monkeypatch: pytest.MonkeyPatch, name: str = "ENOSYS") -> None:
    """Let the disk have none."""

    def flock(*_: int) -> None:
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("ornstein.training.lock.fcntl.flock", flock)


@pytest.mark.parametrize("name", ["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_where_a_disk_has_no_locks_the_heartbeat_decides(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre mounted without flock answers ENOSYS, some NFS servers ENOLCK."""
    without_locks(monkeypatch, name)
    with (
        RunLock(tmp_path),
        pytest.raises(RunLockedError, match=f"by pid {os.getpid()} on"),
        RunLock(tmp_path),
    ):
        pass
    with RunLock(tmp_path):  # what was given back is free at once
        pass
    # One that was killed on this very machine: nothing but its silence tells.
    path = tmp_path / "run.lock"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": 1, "start": 0.0}))
    with pytest.raises(RunLockedError), RunLock(tmp_path):
        pass
    os.utime(path, (time.time() - 61,) * 2)
    with RunLock(tmp_path):
        pass


def test_windows_own_lock_tells_who_holds_a_run_and_dies_with_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it locks nobody else can read; with the heartbeat alone a minute had to be waited."""

    def locking(handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(handle, 0, os.SEEK_CUR) > 1_000_000, "who has it could not be read"
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error

    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(
        lock, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2), raising=False
    )
    with (
        RunLock(tmp_path),
        pytest.raises(RunLockedError, match=f"by pid {os.getpid()} on"),
        RunLock(tmp_path),
    ):
        pass
    dead = {"host": socket.gethostname(), "pid": 1, "start": time.time()}
    (tmp_path / "run.lock").write_text(json.dumps(dead))
    with RunLock(tmp_path):
        found = holder(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()


def test_a_lock_that_fails_for_another_reason_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("ornstein.training.lock.fcntl.flock", flock)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), RunLock(tmp_path):
        pass


def beats(run: Path, seconds: float) -> bool:
    """Whether the file of a run is touched within some time."""
    path, until = run / "run.lock", time.monotonic() + seconds
    os.utime(path, (1, 1))
    while path.stat().st_mtime == 1 and time.monotonic() < until:
        time.sleep(0.02)
    return path.stat().st_mtime != 1


@pytest.mark.parametrize("locks", [True, False])
def test_a_holder_beats_by_itself_until_it_gives_the_run_back(
    locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks of a disk that is shared may not reach the other machine, too."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)
    if not locks:
        without_locks(monkeypatch)
    with RunLock(tmp_path):
        assert beats(tmp_path, 10)
        assert beats(tmp_path, 10)
    assert not beats(tmp_path, 0.5)


def test_a_frozen_or_killed_holder_beats_no_more(tmp_path: Path) -> None:
    with another(tmp_path) as process:
        assert beats(tmp_path, 10)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        assert not beats(tmp_path, 0.5)
        process.send_signal(signal.SIGCONT)
        assert beats(tmp_path, 10)
    assert not beats(tmp_path, 0.5)


def test_a_training_that_does_not_save_for_long_keeps_its_run_by_its_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It beat after saves only: an hour between them, and another machine took the run."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)
    without_locks(monkeypatch)
    kept = []

    class Late(Silent):
        def step(self, info: object) -> None:
            path = tmp_path / "run" / "run.lock"
            os.utime(path, (time.time() - 61,) * 2)
            time.sleep(1)
            kept.append(time.time() - path.stat().st_mtime < 30)

    settings = {"net.name": "mlp", "net.size": "tiny", "batch": 16, "save_every": 10**9,
                "sample.count": 1, "sample.steps": 1}  # fmt: skip
    ornstein.train(
        "two-moons", name="run", runs=tmp_path, steps=2, settings=settings, progress=Late()
    )
    assert kept
    assert all(kept)


@pytest.mark.parametrize("text", ["", "[]", '{"host": 3}', "{", "\0" * 40, '{"pid": "x"}'])
def test_a_torn_lock_file_is_nobodys(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text(text)
    assert holder(tmp_path) is None
    with RunLock(tmp_path):
        assert isinstance(holder(tmp_path), Holder)
