"""The manifest of a checkpoint: which files, of which size and SHA-256; and the checks on them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ornstein import __version__
from ornstein.errors import ModelFileError
from ornstein.training import disk

FORMAT = 1
MANIFEST = "MANIFEST.json"
STATE = "state.json"
MAX_JSON = 1 << 26
NAME = re.compile(r"(\.old-)?step-(\d{9,15})")
STEM = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")


class Damaged(ModelFileError):  # noqa: N818 - it reads as what it says
    """A checkpoint that does not hold what its manifest says."""


class Listed(NamedTuple):
    """What the manifest says of a file."""

    size: int
    sha256: str


def name_of(step: int) -> str:
    """Return the directory name of the checkpoint after ``step`` steps."""
    return f"step-{step:09d}"


def public(path: Path) -> str:
    """Return the name a checkpoint goes by, also while it is moved aside."""
    return path.name.removeprefix(".old-")


def step_of(path: Path) -> int:
    """Return the step in a checkpoint's directory name, -1 if it is none."""
    found = NAME.fullmatch(path.name)
    return int(found[2]) if found else -1


def write_manifest(folder: Path, step: int, files: Mapping[str, Listed]) -> None:
    """Write the manifest, the last file of a checkpoint."""
    listed = {name: entry._asdict() for name, entry in files.items()}
    manifest = {"format": FORMAT, "ornstein": __version__, "step": step, "files": listed}
    disk.write_file(folder / MANIFEST, _text(manifest))


def read_manifest(path: Path) -> tuple[int, dict[str, Listed]]:
    """Return a checkpoint's step and what is listed for each file.

    Raises:
        Damaged: the manifest is not what was written.
        ModelFileError: written by a newer version.
    """
    data = _read(path / MANIFEST, MAX_JSON)
    try:
        found = json.loads(data)
        claimed = found.pop("checksum", None)
        whole = claimed == _checksum(found)
        number = found["format"]
        if type(number) is int and number > FORMAT and (whole or claimed is None):
            raise _newer(path, number, found.get("ornstein"))
        # Byte for byte what this version writes, so that not even a space may have changed.
        if not whole or data != _text(found):
            raise Damaged(f"{MANIFEST}: checksum differs")
        step, files = found["step"], {n: Listed(**entry) for n, entry in found["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged(f"{MANIFEST}: cannot be read") from error
    if public(path) != name_of(step):
        raise Damaged(f"{MANIFEST}: belongs to step {step}")
    _check(path, files)
    return step, files


def read_listed(folder: Path, name: str, listed: Listed) -> bytes:
    """Return the bytes of a file after comparing them with the manifest.

    Raises:
        Damaged: missing, cut, changed, or not a regular file.
    """
    data = _read(folder / name, listed.size)
    _compare(name, listed, Listed(len(data), hashlib.sha256(data).hexdigest()))
    return data


def check_listed(folder: Path, name: str, listed: Listed) -> None:
    """Compare a file with the manifest without holding it in memory.

    Raises:
        Damaged: as :func:`read_listed`.
    """
    try:
        with disk.opened(folder / name, listed.size) as (file, size):
            found = Listed(size, hashlib.file_digest(file, "sha256").hexdigest())
    except ModelFileError as error:
        raise Damaged(str(error)) from error
    _compare(name, listed, found)


def _compare(name: str, listed: Listed, found: Listed) -> None:
    if found.size != listed.size:
        raise Damaged(f"{name}: {found.size:,} bytes instead of {listed.size:,}")
    if found.sha256 != listed.sha256:
        raise Damaged(f"{name}: hash differs")


def _read(path: Path, cap: int) -> bytes:
    try:
        return disk.read_file(path, cap)
    except ModelFileError as error:
        raise Damaged(str(error)) from error


def _newer(path: Path, number: int, version: object) -> ModelFileError:
    by = version if isinstance(version, str) and len(version) < 30 else "(newer)"
    return ModelFileError(
        f"{path} was written by ornstein {by} (format {number}); this is {__version__} "
        f"(format {FORMAT}). Install a newer version of ornstein."
    )


def _text(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1) + "\n").encode()


def _checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _check(path: Path, files: Mapping[str, Listed]) -> None:
    """Refuse files that no checkpoint has; hidden ones, which systems leave, are passed over."""
    for name, (size, sha256) in files.items():
        stem = name.removesuffix(".safetensors")
        known = name == STATE or (stem != name and STEM.fullmatch(stem))
        sound = type(size) is int and size >= 0 and _HASH.fullmatch(str(sha256))
        if not known or not sound:
            raise Damaged(f"{MANIFEST}: lists {name[:80]!r}")
    try:
        entries = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise Damaged(f"{path.name}: {error.strerror}") from error
    for entry in entries:
        if entry not in files and entry != MANIFEST and not entry.startswith("."):
            raise Damaged(f"{entry[:80]!r}: not part of a checkpoint")
