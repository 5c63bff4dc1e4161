"""Averages of the weights of any width, made afterwards from the snapshots of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ornstein.bundle import Bundle
from ornstein.errors import ModelFileError, UsageError
from ornstein.run.run import Run
from ornstein.training.disk import make_folder, remove, write_atomically
from ornstein.training.ema import PROFILES, shares
from ornstein.training.tensorfile import TensorFile

LEAST, MOST = 0.02, 0.25


def store(run: Path, step: int, tensors: dict[str, Tensor]) -> Path:
    """Write the averages of a step into the run, named "width/parameter".

    Raises:
        DiskError: they cannot be written.
    """
    folder = run / "averages"
    make_folder(folder)
    path = folder / f"step-{step:09d}.safetensors"
    write_atomically(path, TensorFile(tensors))
    return path


def stored(run: Path) -> dict[int, Path]:
    """Steps of the snapshots of a run, and their files, oldest first."""
    found = sorted((run / "averages").glob("step-*.safetensors"))
    return {int(path.stem.removeprefix("step-")): path for path in found}


def forget(run: Path, step: int) -> None:
    """Delete snapshots of later steps."""
    for later, path in stored(run).items():
        if later > step:
            remove(path)


def averaged(run: Run, width: float) -> Bundle:
    """Return the run's model with the average of another relative width, at its last snapshot.

    Raises:
        UsageError: a width that cannot be made, or no snapshots.
        ModelFileError: a snapshot cannot be read.
    """
    if not LEAST <= width <= MOST:
        raise UsageError(f"a width of {width:g} cannot be made; it is from {LEAST:g} to {MOST:g}.")
    found = stored(run.folder)
    if not found:
        raise UsageError(
            f"{run.folder} has no snapshots to make another average of. Train with --set "
            "snapshots=16 for them."
        )
    weights = combined(found, width)
    bundle = run.bundle()
    with torch.no_grad():
        for name, parameter in bundle.model.named_parameters():
            parameter.copy_(weights[name])
    return replace(
        bundle,
        weights=f"average of relative width {width:g}, made afterwards",
        provenance={**bundle.provenance, "steps": max(found)},
    )


def combined(found: dict[int, Path], width: float) -> dict[str, Tensor]:
    """The average of a width at the last of some snapshots, by name; one is read at a time."""
    steps = [step for step in found for _ in PROFILES]
    share = shares(PROFILES * len(found), steps, width, max(found)).reshape(-1, len(PROFILES))
    total: dict[str, Tensor] = {}
    for path, row in zip(found.values(), share.tolist(), strict=True):
        part = dict(zip((f"{w:g}" for w in PROFILES), row, strict=True))
        for name, tensor in _read(path).items():
            which, _, parameter = name.partition("/")
            value = part[which] * tensor.double()
            total[parameter] = total[parameter] + value if parameter in total else value
    return {name: value.float() for name, value in total.items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"the snapshot {path} cannot be read: it is damaged.") from error
