"""Those who train: ornstein by its own command, and peers by their scripts; all as processes.

Each leaves ``samples-*.npy`` (bytes, in the data's own shape) and ``record.json`` in a
folder of its own, and is not run again while these fit what is asked. What was trained for
another question is refused, and ornstein's samples of other steps are made anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ornstein.errors import OrnsteinError, UsageError, near

SCRIPTS = {
    "diffusers": ("diffusers_unconditional.py",),
    "diffusers-tuned": ("diffusers_unconditional.py", "--recipe", "tuned"),
    "lucidrains": ("lucidrains.py",),
}
TITLES = {
    "ornstein": "ornstein, defaults",
    "diffusers": "diffusers' unconditional example, scaled down",
    "diffusers-tuned": "the same network and loss, its training tuned",
    "lucidrains": "denoising-diffusion-pytorch, scaled down",
}
INSTALL = "pip install diffusers accelerate denoising-diffusion-pytorch azula"


@dataclass(frozen=True)
class Ask:
    """What every contestant is asked for."""

    data: str
    minutes: float
    out: Path
    seed: int


def record_of(folder: Path) -> dict[str, Any]:
    """Return what is known of a contestant's run, or nothing."""
    path = folder / "record.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def claim(folder: Path, ask: Ask) -> None:
    """Write into a contestant's folder what it is trained for, or find the same there.

    What older versions left does not say it, and is taken as it is.

    Raises:
        UsageError: it was trained for something else.
    """
    asked = {"data": ask.data, "minutes": ask.minutes, "seed": ask.seed}
    record = record_of(folder)
    known = record.get("asked", asked)
    unlike = [f"{key} {known.get(key)}" for key, value in asked.items() if known.get(key) != value]
    if unlike:
        raise UsageError(
            f"{folder} holds what was made with {', '.join(unlike)}. Ask for the same, or put "
            "this elsewhere: --out OTHER"
        )
    if not record:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text(json.dumps({"asked": asked}, indent=1))


def samples_of(folder: Path) -> np.ndarray | None:
    """All samples that a contestant has made so far, (n, C, H, W), or None."""
    pieces = sorted(folder.glob("samples-*.npy"))
    if not pieces:
        return None
    return np.concatenate([np.load(piece, allow_pickle=False) for piece in pieces])


def check_peers(names: tuple[str, ...], python: Path) -> None:
    """Refuse what cannot be run, before anything is trained.

    Raises:
        UsageError: No such peer, or no such Python.
    """
    for name in names:
        if name not in SCRIPTS:
            raise UsageError(
                f"unknown peer '{name}'; there are {', '.join(SCRIPTS)}.{near(name, SCRIPTS)}"
            )
    check_python(names, python)


def check_python(peers: tuple[str, ...], python: Path) -> None:
    """Refuse to run peers without an environment of their own.

    Raises:
        UsageError: no such Python.
    """
    if peers and not python.exists():
        raise UsageError(
            f"no Python at {python}. Make one for the peers: "
            f"python3 -m venv {python.parent.parent} && {python} -m {INSTALL}"
        )


def run_peer(name: str, ask: Ask, python: Path, items: np.ndarray, n: int) -> None:
    """Train and sample a peer with the Python of its own environment.

    Raises:
        OrnsteinError: Its process failed; its log is named.
    """
    folder = ask.out / name
    folder.mkdir(parents=True, exist_ok=True)
    have = samples_of(folder)
    if have is not None and len(have) >= n:
        return
    data = ask.out / "train.npy"
    np.save(data, items, allow_pickle=False)
    trained = (folder / "weights.safetensors").exists()
    script, *options = SCRIPTS[name]
    command = [str(python), str(Path(__file__).parent / "peers" / script), *options]
    command += ["--data", str(data), "--out", str(folder)]
    command += ["--minutes", str(ask.minutes), "--samples", str(n), "--seed", str(ask.seed)]
    command += ["--stage", "sample" if trained else "both"]
    _call(command, folder / "log.txt")


def run_ornstein(ask: Ask, n: int, steps: int | None) -> None:
    """Train by the command that a user types, everything at its default, then sample."""
    import ornstein

    folder = ask.out / "ornstein"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ornstein", "train", ask.data, "--name", "ornstein"]
    command += ["--minutes", str(ask.minutes), "--seed", str(ask.seed)]
    command += ["--runs", str(ask.out.resolve() / "runs")]
    start = time.monotonic()
    _call(command, folder / "log.txt")
    seconds = time.monotonic() - start
    run = ornstein.open_run("ornstein", ask.out / "runs")
    record = record_of(folder)
    if seconds > 30 * ask.minutes:  # else the run was finished before, and said so
        record |= {"seconds": round(seconds, 1), "load": round(os.getloadavg()[0], 2)}
    record |= {"steps": run.record.get("step")}
    have = samples_of(folder)
    wanted = run.bundle().how(steps=steps).steps
    same = record.get("settings", {}).get("steps", wanted) == wanted
    if have is None or len(have) < n or not same:
        made = run.sample(n, seed=ask.seed + 1, steps=steps)
        np.save(folder / "samples-0000.npy", made.items, allow_pickle=False)
        record |= {"settings": made.settings, "evaluations": made.evaluations}
        record |= {"sampled_here": n, "sampling_seconds": round(made.seconds, 1)}
    (folder / "record.json").write_text(json.dumps(record, indent=1))


def _call(command: list[str], log: Path) -> None:
    """Run to the end; everything it says goes to the log."""
    with log.open("a") as file:
        file.write(" ".join(command) + "\n")
        file.flush()
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = log.read_text().strip().splitlines()[-1]
        raise OrnsteinError(f"{command[0]} ended with {done.returncode}: {tail}. All of it: {log}")
