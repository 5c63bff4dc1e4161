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
from pathlib import Path

import pytest

from figures import figure, times
from ornstein.errors import RunLockedError
from ornstein.training.lock import Holder, RunLock, holder

HOLD = """
import sys, time
from pathlib import Path
from ornstein.errors import RunLockedError
from ornstein.training.lock import RunLock
go = float(sys.argv[2])
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


@pytest.mark.parametrize("name", ["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_where_a_disk_has_no_locks_the_heartbeat_decides(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre mounted without flock answers ENOSYS, some NFS servers ENOLCK."""

    def flock(*_: int) -> None:
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("ornstein.training.lock.fcntl.flock", flock)
    with RunLock(tmp_path) as lock:
        lock.beat()
        with pytest.raises(RunLockedError, match=f"by pid {os.getpid()} on"), RunLock(tmp_path):
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


def test_a_lock_that_fails_for_another_reason_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("ornstein.training.lock.fcntl.flock", flock)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), RunLock(tmp_path):
        pass


def test_the_heartbeat_moves_the_time_of_the_file(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        os.utime(tmp_path / "run.lock", (1, 1))
        lock.beat()
        assert time.time() - (tmp_path / "run.lock").stat().st_mtime < 5


@pytest.mark.parametrize("text", ["", "[]", '{"host": 3}', "{", "\0" * 40, '{"pid": "x"}'])
def test_a_torn_lock_file_is_nobodys(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text(text)
    assert holder(tmp_path) is None
    with RunLock(tmp_path):
        assert isinstance(holder(tmp_path), Holder)
