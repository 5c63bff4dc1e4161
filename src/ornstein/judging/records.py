"""Where measurements are kept: one file for each step of a run, each a list of reports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ornstein import jsons
from ornstein.errors import DataError
from ornstein.evaluate import Quality
from ornstein.evaluate.stamp import AS_DATA, CLASSES, NONE, UNKNOWN
from ornstein.training.disk import make_folder, write_atomically

NAME = re.compile(r"step-(\d{9})\.json")


class Kept(NamedTuple):
    """One measurement and the step of the model it was made of."""

    step: int
    quality: Quality
    path: Path


def record(quality: Quality, step: int, folder: Path) -> Path:
    """Keep a measurement; one by the same protocol of the same model and step gives way to it.

    What another version of ornstein wrote there stays.

    Raises:
        DiskError: it cannot be written.
    """
    make_folder(folder)
    path = folder / f"step-{step:09d}.json"
    others = [each for each in _entries(path) if not _same(_quality(each), _whole(quality))]
    texts = [jsons.dumps(each, indent=1, ascii_only=False) for each in others]
    write_atomically(path, ("[\n" + ",\n".join([*texts, quality.to_json()]) + "\n]\n").encode())
    return path


def measurements(folder: Path) -> list[Kept]:
    """All that was measured of a run, by step; what is torn or of another version is left out."""
    return [kept for path in sorted(folder.glob("step-*.json")) for kept in _read(path)]


def _same(one: Quality | None, other: Quality) -> bool:
    """Whether both are by one protocol, of one model where that is known."""
    if one is None:
        return False
    return (one.stamp, one.made.get("model")) == (other.stamp, other.made.get("model"))


def _entries(path: Path) -> list[Any]:
    """What a file holds, whoever wrote it; nothing if it is torn."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _quality(entry: object) -> Quality | None:
    try:
        return _whole(Quality.from_json(jsons.dumps(entry)))
    except DataError:
        return None


def _whole(found: Quality) -> Quality:
    """With what older versions did not stamp: which classes samples were asked to be of.

    That they were asked at all was kept only where the judge knows classes.
    """
    asked = UNKNOWN if found.classes and not found.found else NONE
    way = {CLASSES: asked if found.asked is None else AS_DATA, **found.stamp.way}
    return replace(found, stamp=replace(found.stamp, way=way))


def _read(path: Path) -> list[Kept]:
    name = NAME.fullmatch(path.name)
    read = map(_quality, _entries(path) if name else [])
    return [Kept(int(name[1]) if name else 0, found, path) for found in read if found is not None]
