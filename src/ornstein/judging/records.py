"""Where measurements are kept: one file for each step of a run, each a list of reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from ornstein.errors import DataError
from ornstein.evaluate import Quality, Stamp
from ornstein.training.disk import make_folder, write_atomically

NAME = re.compile(r"step-(\d{9})\.json")


class Kept(NamedTuple):
    """One measurement and the step of the model it was made of."""

    step: int
    quality: Quality
    path: Path


def record(quality: Quality, step: int, folder: Path) -> Path:
    """Keep a measurement; one by the same protocol of the same model and step gives way to it.

    Raises:
        DiskError: it cannot be written.
    """
    make_folder(folder)
    path = folder / f"step-{step:09d}.json"
    found = [kept.quality for kept in _read(path)]
    others = [each for each in found if _identity(each) != _identity(quality)]
    texts = [each.to_json() for each in (*others, quality)]
    write_atomically(path, ("[\n" + ",\n".join(texts) + "\n]\n").encode())
    return path


def measurements(folder: Path) -> list[Kept]:
    """All that was measured of a run, by step; what is torn or of another version is left out."""
    return [kept for path in sorted(folder.glob("step-*.json")) for kept in _read(path)]


def _identity(quality: Quality) -> tuple[Stamp, object]:
    """What was measured: the protocol, and the fingerprint of the model where it is known."""
    return quality.stamp, quality.made.get("model")


def _read(path: Path) -> list[Kept]:
    name = NAME.fullmatch(path.name)
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    kept = []
    for each in found if isinstance(found, list) and name else []:
        try:
            kept.append(
                Kept(int(name[1]) if name else 0, Quality.from_json(json.dumps(each)), path)
            )
        except DataError:
            continue
    return kept
