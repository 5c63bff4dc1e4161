"""Checkpoints that a crash, a full disk or a flipped bit cannot turn into a lost training.

A checkpoint is a directory ``step-000012000`` of safetensors files, ``state.json`` and a
``MANIFEST.json`` with the size and SHA-256 of each file. It is written aside, synced, renamed and
read back; only then is an older one deleted. So at every moment a whole one is there to go on
from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ornstein.errors import DiskError, DivergedError, ModelFileError
from ornstein.training import disk
from ornstein.training.manifest import (
    NAME,
    STATE,
    STEM,
    Damaged,
    Listed,
    check_listed,
    name_of,
    public,
    read_listed,
    read_manifest,
    step_of,
    write_manifest,
)
from ornstein.training.tensorfile import TensorFile

READ_BACK_HASHES = 10**9  # larger checkpoints are read back by their sizes only


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read whole.

    Attributes:
        step: Steps done.
        path: Its directory.
        tensors: File stem ("model", "ema", "optim") to named tensors, on the CPU.
        state: The JSON values saved beside them.
        warnings: One sentence for each newer checkpoint that was damaged and passed over.
    """

    step: int
    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    warnings: tuple[str, ...] = ()


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Save a checkpoint so that at every moment an older one or this one can be loaded.

    Afterwards the newest ``keep`` are left. Checkpoints of later steps, left from a training that
    was rolled back, are deleted: they are not this training's future.

    Args:
        folder: The run's ``checkpoints`` directory; made when missing, unlike the run's own.
        step: Steps done.
        tensors: File stem to named tensors.
        state: JSON values.
        keep: Number of checkpoints to leave, at least 1.

    Returns:
        The directory of the checkpoint.

    Raises:
        DiskError: full, read-only or vanished disk; the older checkpoints are untouched.
        DivergedError: a tensor holds a value that is not finite; nothing is written.
    """
    _check_finite(tensors)
    text = json.dumps(dict(state), sort_keys=True, allow_nan=False, indent=1).encode()
    needed = sum(t.nbytes + 256 for group in tensors.values() for t in group.values()) + len(text)
    found = list_checkpoints(folder)
    safe = f"Your last good checkpoint (step {step_of(found[0]):,}) is safe." if found else ""
    final = folder / name_of(step)
    with disk.explained("saving", folder, needed, safe):
        # A run directory that vanished is not made anew: its settings and log would be missing.
        disk.make_folder(folder, parents=False)
        disk.remove_leftovers(folder)
        fresh = disk.aside(final)
        try:
            _write(fresh, step, tensors, text)
            _put_in_place(fresh, final)
        except OSError:
            disk.remove(fresh)
            raise
    _read_back(final, hashes=needed <= READ_BACK_HASHES)
    with disk.explained("deleting older checkpoints", folder, 0, f"Step {step:,} is saved."):
        _delete_others(folder, final, keep)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint directories in ``folder``, newest first, unread."""
    if not folder.is_dir():
        return []
    named = {path.name: path for path in folder.iterdir() if NAME.fullmatch(path.name)}
    # A crash between two renames may leave a checkpoint only under the name it was moved to.
    paths = [
        path for name, path in named.items() if name == public(path) or public(path) not in named
    ]
    return sorted(paths, key=step_of, reverse=True)


def load_latest(folder: Path) -> Checkpoint | None:
    """Load the newest checkpoint that is whole; None if there is none at all.

    Raises:
        ModelFileError: one was written by a newer version, or there are some and all are damaged.
    """
    faults: list[str] = []
    for path in list_checkpoints(folder):
        try:
            found = load_checkpoint(path)
        except Damaged as error:
            faults.append(f"{public(path)} is damaged ({error})")
            continue
        using = f"Using {public(path)} instead."
        return replace(found, warnings=tuple(f"checkpoint {fault}. {using}" for fault in faults))
    if faults:
        raise ModelFileError(
            f"no checkpoint in {folder} can be read: {'; '.join(faults)}. Put a copy back, or "
            "delete that folder to start from the beginning."
        )
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Load one checkpoint, every file checked against its size and SHA-256.

    Raises:
        Damaged: a file is missing, cut, changed, foreign or not a regular file; it is named.
        ModelFileError: written by a newer version.
    """
    if path.is_symlink():
        raise Damaged("it is a link, not a folder")
    step, files = read_manifest(path)
    tensors: dict[str, dict[str, Tensor]] = {}
    state: dict[str, Any] = {}
    for name, listed in sorted(files.items()):
        data = read_listed(path, name, listed)
        try:
            if name == STATE:
                state = dict(json.loads(data))
            else:
                tensors[name.removesuffix(".safetensors")] = load(data)
        except (ValueError, TypeError, RecursionError, SafetensorError) as error:
            raise Damaged(f"{name}: cannot be read") from error
    return Checkpoint(step, path, tensors, state)


def _check_finite(tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    for stem, group in tensors.items():
        if not STEM.fullmatch(stem):
            raise ValueError(f"'{stem}' cannot name a file of a checkpoint")
        for name, value in group.items():
            if not bool(torch.isfinite(value).all()):
                raise DivergedError(
                    f"{stem} tensor '{name}' holds a value that is not finite; such a checkpoint "
                    "is not saved. Go on from the last good checkpoint with a lower learning rate."
                )


def _write(
    fresh: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], text: bytes
) -> None:
    disk.make_folder(fresh)
    files = {STATE: Listed(len(text), disk.write_file(fresh / STATE, text))}
    for stem, group in tensors.items():
        name, data = f"{stem}.safetensors", TensorFile(group)
        files[name] = Listed(len(data), disk.write_file(fresh / name, data))
    write_manifest(fresh, step, files)
    disk.sync_folder(fresh)


def _put_in_place(fresh: Path, final: Path) -> None:
    """Give the new directory its name; one that has it already is moved aside, not lost."""
    if final.exists() or final.is_symlink():
        old = final.with_name(f".old-{final.name}")
        disk.remove(old)
        disk.rename(final, old)
    disk.rename(fresh, final)


def _read_back(final: Path, *, hashes: bool) -> None:
    try:
        for name, listed in read_manifest(final)[1].items():
            if hashes:
                check_listed(final, name, listed)
            elif (final / name).stat().st_size != listed.size:
                raise Damaged(f"{name}: size differs")
    except (ModelFileError, OSError) as error:
        raise DiskError(
            f"{final} does not read back as it was written ({error}). The older checkpoints are "
            "kept; the disk may be failing."
        ) from error


def _delete_others(folder: Path, final: Path, keep: int) -> None:
    here = step_of(final)
    paths = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    past = [path for path in paths if step_of(path) <= here and path.name == public(path)]
    kept = set(sorted(past, key=step_of)[-max(1, keep) :])
    for path in paths:
        if path not in kept:
            # First out of sight, so that a crash cannot leave half a checkpoint under its name.
            gone = disk.aside(path)
            disk.rename(path, gone)
            disk.remove(gone)
