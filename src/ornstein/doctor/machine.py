"""The machine itself: versions, devices and their memory, speed, and room on the disks."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from ornstein import __version__, build
from ornstein.benching import Told, gauge
from ornstein.benching.gauge import threads
from ornstein.caches import ENVIRONMENT, cache_place
from ornstein.training.disk import free_bytes, megabytes
from ornstein.training.memory import total_mb


def machine(runs: Path) -> Iterator[Told]:
    """Tell what a training finds here, one thing after another; it takes about a second.

    Args:
        runs: Directory of the runs, which need not be there yet.

    Raises:
        ConfigError: there are more ranks on this machine than CUDA devices.
    """
    yield _versions()
    yield from _devices()
    found = gauge()
    yield Told("speed", {**found._asdict(), "noisy": found.noisy}, f"speed      {found}")
    yield _room("runs", runs)
    cache = cache_place()
    if cache is not None:
        yield _room("cache", cache)
    else:
        nothing = f"cache      none, for there is no home directory; name one in {ENVIRONMENT}"
        yield Told("room", {"of": "cache", "folder": None, "free_bytes": None}, nothing)


def _versions() -> Told:
    found = {"ornstein": __version__, "python": platform.python_version()}
    found["torch"] = torch.__version__
    kinds = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip}
    built = next((f"for {kind} {number}" for kind, number in kinds.items() if number), None)
    line = "versions   ornstein {ornstein}, Python {python}, torch {torch}".format(**found)
    facts = {**found, "cuda": torch.version.cuda, "rocm": torch.version.hip}
    return Told("versions", facts, f"{line} built {built or 'without CUDA'}")


def _devices() -> Iterator[Told]:
    """The CPU and every CUDA device; one of them is what a training takes."""
    taken, cores = build.fastest_device(), os.cpu_count() or 1
    used = torch.get_num_threads()
    names = {torch.device("cpu"): f"{cores} core{'s' * (cores > 1)}, {threads(used)}"}
    for k in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        names[torch.device("cuda", k)] = torch.cuda.get_device_name(k)
    for device, name in names.items():
        memory, ours = total_mb(device), device == taken
        facts = {"device": str(device), "name": name, "memory_mb": memory, "taken": ours}
        if device.type == "cpu":
            facts |= {"cores": cores, "threads": used}
        said = f"{device}: {name}" + (f", {memory:,} MB" if memory else "")
        yield Told("device", facts, f"device     {said}{'; training takes it' * ours}")


def _room(of: str, folder: Path) -> Told:
    """Room on the disk of a folder, which need not be there yet."""
    place = folder.absolute()
    free = free_bytes(place)
    facts = {"of": of, "folder": str(place), "free_bytes": free}
    return Told("room", facts, f"{of:<10} {place}: {megabytes(free)} free")
