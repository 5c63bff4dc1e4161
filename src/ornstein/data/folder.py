"""A folder of pictures as a data set.

Every file is tried by its content, whatever its name. Each is decoded once, into the cache.
``ornstein data FOLDER`` reports what was done. The policies:

    size      all pictures of one size up to 64x64: that size. Else square: the median of the
              short sides, at most 64, a multiple of 8. A size asked for always wins.
    channels  1 when every picture is grey, else 3 (RGB). Alpha is composed on white.
    classes   the sub-folder; pictures beside sub-folders are the class "(top)". A single
              sub-folder is no class. Fewer than two pictures per class on average: no classes.
    told      what metadata.csv or metadata.jsonl says, see ``ornstein.data.metadata``.
    bad       more than 1 % and more than 3 bad files stop, unless bad files are allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ornstein.data.cache import Store, cache_folder, key_of, recall
from ornstein.data.conditions import CLASS, Condition, labelled
from ornstein.data.dataset import Dataset, Refused, Source, make_dataset
from ornstein.data.decode import GREY_MODES, Bad, Head, decode, head, quiet
from ornstein.data.facts import classes_of, facts_of, tally
from ornstein.data.metadata import Metadata, read_metadata
from ornstein.data.pixels import Size
from ornstein.data.walk import Found, Passed, shown, walk
from ornstein.errors import DataError

LARGEST_DEFAULT = 64
CACHE_FROM = 256  # fewer files are decoded again each time
_BLOCK = 256
_WORKERS = min(8, os.cpu_count() or 1)
Progress = Callable[[int, int], None]


def open_folder(
    root: Path,
    size: Size | None = None,
    allow_bad: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Data set of the pictures under ``root``, or of the one picture ``root``.

    Raises:
        DataError: nothing there can be used, or too many files cannot.
    """
    single = root.is_file()
    if single:
        status = root.stat()
        name = os.fsencode(root.name)
        files = [Found(str(root.parent), name, status.st_size, status.st_mtime_ns)]
        passed: list[Passed] = []
    else:
        files, passed = walk(str(root))
    table = None if single else read_metadata(root, files)
    if table is not None:
        aside = {table.path.name.encode(), *(file.relative for file in table.aside.values())}
        files = [file for file in files if file.relative not in aside - set(table.rows)]
    items, facts = _read(root, files, size, progress)
    refused = [(name, reason, counts) for name, reason, counts in facts["refused"]]
    if not facts["used"]:
        raise DataError(_nothing(root, refused, passed, single))
    check_bad(root, facts["used"], refused, allow_bad)
    used = [bytes.fromhex(path) for path in facts["used"]]
    conditions, note = _conditions(root, table, used)
    left = [Refused(name, reason) for name, reason, _ in refused]
    left += [Refused(shown(p.relative), p.reason) for p in passed]
    return make_dataset(
        root.stem if single else (root.resolve().name or "pictures"),
        "image",
        items,
        conditions=conditions,
        source=Source(f"pictures in {shown(os.fsencode(root))}"),
        refused=tuple(left),
        names=tuple(map(shown, used)),
        notes=(*facts["notes"], *note),
    )


def _conditions(
    root: Path, table: Metadata | None, used: list[bytes]
) -> tuple[list[Condition], list[str]]:
    """The sub-folders as classes, and what the table beside the pictures says."""
    labels, classes, notes = classes_of(used)
    told: list[Condition] = []
    if table is not None:
        pictures: dict[str, np.ndarray] = {}
        for column in table.columns_of_pictures():
            by_path = {table.aside[cell].relative: table.aside[cell] for cell in column}
            items, facts = _read(root, [by_path[path] for path in sorted(by_path)], None, None)
            place = {bytes.fromhex(path): k for k, path in enumerate(facts["used"])}
            found = {cell: place.get(table.aside[cell].relative) for cell in column}
            pictures.update({cell: items[k] for cell, k in found.items() if k is not None})
        told, more = table.conditions(used, pictures)
        notes = [*notes, *more]
    if labels is not None and CLASS not in [condition.name for condition in told]:
        told = [labelled(labels, classes), *told]
    return told, notes


def _read(
    root: Path, files: Sequence[Found], size: Size | None, progress: Progress | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Decoded pictures, and the facts about them: from the cache, or decoded now."""
    folder = cache_folder() if len(files) >= CACHE_FROM else None
    key = key_of(str(root), files, size)
    kept = None if folder is None else recall(folder, key)
    if kept is not None:
        return kept
    with quiet(), ThreadPoolExecutor(_WORKERS) as pool:
        heads: dict[bytes, Head] = {}
        bad: dict[bytes, Bad] = {}
        alike: dict[Head, Head] = {}  # of a million pictures most have the same few headers
        for start in range(0, len(files), _BLOCK):
            part = files[start : start + _BLOCK]
            for file, got in zip(part, pool.map(head, part), strict=True):
                if isinstance(got, Head):
                    heads[file.relative] = alike.setdefault(got, got)
                else:
                    bad[file.relative] = got
        target = size or default_size(list(heads.values()))
        channels = 1 if all(_is_grey(h.mode) for h in heads.values()) else 3
        good = [f for f in files if f.relative in heads]
        store = Store(folder)
        try:
            used, coloured = _decode_all(pool, good, (channels, *target), store, bad, progress)
            if channels == 3 and not coloured and used:
                channels = 1
                store.drop_colour(target)
            facts = facts_of(heads, used, bad, target, size)
            return store.keep(key, (channels, *target), facts), facts
        except BaseException:
            store.discard()
            raise


def _decode_all(
    pool: ThreadPoolExecutor,
    files: Sequence[Found],
    shape: tuple[int, int, int],
    store: Store,
    bad: dict[bytes, Bad],
    progress: Progress | None,
) -> tuple[list[bytes], bool]:
    """Decode into the store, block by block; returns the files used and whether any has colour.

    Files that fail are added to ``bad``.
    """
    used: list[bytes] = []
    coloured = False
    for start in range(0, len(files), _BLOCK):
        part = files[start : start + _BLOCK]
        block = []
        for file, got in zip(part, pool.map(lambda f: decode(f, shape[1:]), part), strict=True):
            if isinstance(got, Bad):
                bad[file.relative] = got
                continue
            coloured = coloured or len(got) == 3
            block.append(np.broadcast_to(got, shape))
            used.append(file.relative)
        if block:
            store.add(np.stack(block))
        if progress is not None:
            progress(start + len(part), len(files))
    return used, coloured


def _is_grey(mode: str) -> bool:
    return mode in GREY_MODES or mode.startswith("I;16")


def default_size(heads: Sequence[Head]) -> Size:
    """Size chosen from the pictures: the size of all if one and small, else a square."""
    sizes = {(h.height, h.width) for h in heads}
    if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_DEFAULT:
        return next(iter(sizes))
    if not sizes:
        return (LARGEST_DEFAULT, LARGEST_DEFAULT)
    short = min(LARGEST_DEFAULT, int(median(min(h.height, h.width) for h in heads)))
    side = short // 8 * 8 or short
    return (side, side)


def _nothing(
    root: Path, refused: list[tuple[str, str, bool]], passed: list[Passed], single: bool
) -> str:
    place = shown(os.fsencode(root))
    if single:
        return (
            f"'{place}' cannot be used: {refused[0][1]}; give a picture, a folder of pictures, "
            "an .npy or an .npz file."
        )
    reasons = [reason for _, reason, _ in refused] + [p.reason for p in passed]
    if not reasons:
        return f"'{place}' has no pictures: the folder is empty; put pictures into it."
    arrays = [name for name, _, _ in refused if name.endswith((".npy", ".npz"))]
    fix = f"to train on an array name the file: {place}/{arrays[0]}" if arrays else ""
    fix = fix or "use PNG, JPEG, WebP, GIF, BMP, TIFF or PPM pictures of at least 4 px"
    return (
        f"'{place}' has no pictures that can be used: looked at {len(reasons):,} files, "
        f"{tally(reasons)}; {fix}."
    )


def check_bad(
    root: Path, used: Sequence[object], refused: list[tuple[str, str, bool]], allow_bad: bool
) -> None:
    """Refuse a set of which too much cannot be used.

    Raises:
        DataError: more than 1 % and more than three pictures are bad.
    """
    bad = [(name, reason) for name, reason, counts in refused if counts]
    if allow_bad or len(bad) <= 3 or len(bad) <= 0.01 * (len(bad) + len(used)):
        return
    first = ", ".join(f"'{name}'" for name, _ in bad[:3])
    raise DataError(
        f"'{shown(os.fsencode(root))}': {len(bad):,} of {len(bad) + len(used):,} pictures cannot "
        f"be used ({tally([reason for _, reason in bad])}), the first {first}; remove them, or go "
        "on without them with --allow-bad (allow_bad=True)."
    )
