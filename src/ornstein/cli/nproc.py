"""Several processes that train one model on this machine, as torchrun would start them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import click

from ornstein.errors import RankError
from ornstein.training.signals import SAVING, STOPPING

GRACE = 60.0  # seconds that the others have to end by themselves, once one has ended


def start(count: int, words: Sequence[str]) -> int:
    """Run ``ornstein WORDS`` as ``count`` ranks, and return the exit code of the first to end.

    A signal is passed on to all. When one rank ends the others do too: they are told, or find it
    gone; what still runs after a minute is killed.
    """
    port = str(_free_port())
    ranks = [_rank(k, count, port, words) for k in range(count)]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in ranks:
            with suppress(ProcessLookupError):
                process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", number))

    before = {number: signal.signal(number, pass_on) for number in (*STOPPING, *SAVING)}
    try:
        return _ended(ranks)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rank(rank: int, count: int, port: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start one rank, out of reach of the terminal's Ctrl-C, which would come twice."""
    said = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = {
        "OMP_NUM_THREADS": threads,
        **os.environ,
        **{k: str(v) for k, v in said.items()},
    }
    command = [sys.executable, "-m", "ornstein", *words]
    apart = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # what Windows has for a session
    return subprocess.Popen(command, env=environment, start_new_session=True, creationflags=apart)


def _ended(ranks: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all ranks; the exit code of the first that ended other than well."""
    code, until = 0, float("inf")
    running = True
    while running:
        running = any(process.poll() is None for process in ranks)
        for rank, process in enumerate(ranks):
            ended = process.poll()
            if ended and not code:
                code, until = _code(rank, ended), time.monotonic() + GRACE
            if ended is None and time.monotonic() > until:
                process.kill()
        time.sleep(0.05)
    return code


def _code(rank: int, ended: int) -> int:
    """Exit code of a rank; of one that was killed, that of a lost rank, which is said."""
    if ended > 0:
        return ended
    name = signal.Signals(-ended).name
    click.echo(f"error: rank {rank} was ended by {name}.", err=True)
    return RankError.exit_code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
