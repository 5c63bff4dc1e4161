"""Trainings in processes of their own, on one rank or several, and ways to harm them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

STEPS = 100
QUICK = [
    "net.name=mlp", "batch=63", "learning_rate=1e-3", "save_every=10", "log_every=1",
    "sample_every=50", "sample.count=4",
]  # fmt: skip
TORCHRUN = [
    "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3",
    "--monitor-interval", "0.1", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
]  # fmt: skip


def start(
    runs: Path,
    *more: str,
    steps: int = STEPS,
    by: Sequence[str] = (),
    within: Sequence[str] = (),
    **environment: str,
) -> subprocess.Popen[str]:
    """Start ``ornstein train two-moons``, or go on with it; ``by`` torchrun if given.

    ``within`` is a command that runs it, such as that of a network namespace.
    """
    words = ["train", "two-moons", "--name", "run", "--runs", str(runs), "--steps", str(steps)]
    modules = [*by, "-m", "ornstein"] if by else ["ornstein"]
    return subprocess.Popen(
        [*within, sys.executable, "-m", *modules, *words, "--seed", "5", *QUICK, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def losses(runs: Path) -> dict[int, float]:
    """The logged losses by step."""
    log = runs / "run" / "log.jsonl"
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {r["step"]: r["loss"] for r in map(json.loads, whole) if "loss" in r}


def step(runs: Path) -> int:
    """The last step in the log."""
    log = runs / "run" / "log.jsonl"
    return max(losses(runs), default=0) if log.exists() else 0


def ranks(process: subprocess.Popen[str]) -> dict[int, int]:
    """The living ranks that descend from a process: rank to pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and process.pid in ancestors(int(entry.name)):
            try:
                words = (entry / "environ").read_bytes().split(b"\0")
            except OSError:  # just gone
                continue
            rank = [word.removeprefix(b"RANK=") for word in words if word.startswith(b"RANK=")]
            found.update({int(rank[0]): int(entry.name)} if rank else {})
    return found


def ancestors(pid: int) -> list[int]:
    """A process, its parent, and so on."""
    found = []
    while pid > 1:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def wait_for(moment: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until ``moment()`` is true."""
    until = time.monotonic() + seconds
    while not moment():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def ended(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str]:
    """Exit code of a training, and what it said."""
    try:
        said = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said
