"""Names of runs, and where the output of a command goes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ornstein.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST = 120  # letters of a label
SLASHES = ("/", os.sep)


def check_name(name: str) -> None:
    """Refuse a name that could leave the directory of runs or that a file system would not take.

    Raises:
        UsageError: not a plain name.
    """
    if not NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"'{name[:60]}' cannot name a run; use up to 64 letters, digits, '-', '_' and '.', "
            "starting with a letter or digit."
        )


def run_folder(target: str, runs: Path) -> Path | None:
    """The run that ``target`` means: its folder, its name or a file in it; None for others."""
    inside = [Path(target).parent] if Path(target).is_file() else []
    for folder in (Path(target), runs / target, *inside):
        if (folder / "config.toml").is_file():
            return folder
    return None


def run_or_data(target: str, runs: Path) -> Path | None:
    """The run that ``target`` means where it may as well be data; None for data.

    ``photos`` is the run of that name before it is a folder. ``photos/`` and ``./photos`` are
    paths, and a run only where one is kept there.
    """
    path = Path(target)
    written = target.endswith(SLASHES) or (path.name != target and path.is_dir())
    if written and not (path / "config.toml").is_file():
        return None
    return run_folder(target, runs)


def stem_of(target: str, runs: Path) -> str:
    """What to call what comes of a model: a file without its suffix, a run with all its dots."""
    is_file = any((place / target).is_file() for place in (Path(), runs))
    return Path(target).stem if is_file else Path(target).name


def beside(target: str) -> str:
    """Name of a model file beside the one of its run, such as another average; "" for others."""
    from ornstein.bundle.file import FILE

    path = Path(target)
    return path.stem if path.is_file() and path.name != FILE else ""


def label_from(*parts: object) -> str:
    """A folder name of plain letters that tells what was made; empty parts are left out.

    One that is too long, or that lost more than spaces, as names in other scripts do, ends in a
    digest of all of it, so that other parts make another name.
    """
    whole = "-".join(str(part) for part in parts if part)
    label = re.sub(r"[^A-Za-z0-9+._-]+", "_", whole)
    if len(label) <= LONGEST and label == whole.replace(" ", "_"):
        return label
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{label[: LONGEST - 9]}-{digest}"


def mark_of(paths: Iterable[object]) -> str:
    """First digits of the hash of what is in files; what is no path of a file is left out.

    Pictures in folders of classes often have the same names.
    """
    digest = hashlib.sha256()
    for path in map(str, paths):
        if os.path.isfile(path):  # noqa: PTH113 - Path's own fails on a text of any length
            with Path(path).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:6]


def output_folder(target: str, runs: Path, label: str, out: Path | None) -> Path:
    """Where to put what was made from ``target``.

    Args:
        target: The run or model file as it was named.
        runs: Directory that holds the runs.
        label: Says what was made; the same settings go to the same place.
        out: What the user asked for, if anything.

    Returns:
        ``out``; else ``gallery/<label>`` in the run; else ``<name>-<label>`` here.
    """
    if out is not None:
        return out
    folder = run_folder(target, runs)
    if folder is not None:
        return folder / "gallery" / label
    return Path(f"{stem_of(target, runs)}-{label}")
