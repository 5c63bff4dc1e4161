"""The index of a set of tar shards: made in one pass, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

import numpy as np

from ornstein.data.cache import cache_folder, keep_facts, recall_facts, unkept
from ornstein.data.coding import Coding
from ornstein.data.conditions import labelled
from ornstein.data.dataset import Dataset, Refused, Source
from ornstein.data.decode import (
    GREY_MODES,
    PICTURE_ENDINGS,
    Bad,
    Head,
    extent,
    head,
    quiet,
    readable,
)
from ornstein.data.facts import many, spanned, tally
from ornstein.data.folder import check_bad, default_size
from ornstein.data.pixels import Size
from ornstein.data.shards import _WORKERS, PLACE, Progress, Shards, shards_in
from ornstein.data.splitting import content_keys, held_out
from ornstein.data.walk import Found, changed, names_below, packed, shown
from ornstein.errors import DataError

FORMAT = 3  # 1 had no identity, 2 scaled each picture of real numbers by itself
BESIDE = 3  # pictures beside archives that are a preview or so
JUDGED = 1000  # pictures that size and channels are chosen by
SAYS = ("cls", "class", "label")  # of a sample's JSON: its class
LONGEST = 1 << 16  # bytes of a file that names a class
_BLOCK = 256
ARRAYS = ("places", "labels", "heldout")


def open_shards(
    path: Path,
    size: Size | None = None,
    allow_bad: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Data set of the pictures in the .tar files at ``path``, which stay there.

    Raises:
        DataError: nothing there can be used, or too many pictures cannot.
    """
    archives = shards_in(path)
    beside = _beside(path, allow_bad)
    found = [(shard.name, shard.stat()) for shard in archives]
    key, former = (
        hashlib.sha256(repr((kind, os.path.realpath(path), size, stats)).encode()).hexdigest()
        for kind, stats in (
            ((FORMAT, readable()), [(name, one.st_size, changed(one)) for name, one in found]),
            (1, [(name, one.st_size, one.st_mtime_ns) for name, one in found]),
        )
    )
    folder = cache_folder()
    place = None if folder is None else folder / f"tar-{key[:32]}"
    facts = None if place is None else recall_facts(place, ARRAYS)
    if facts is None:
        facts = index(archives, size, allow_bad, progress)
        error = None if place is None else keep_facts(place, facts, ARRAYS)
        if place is None or error is not None:
            unkept("the index of the shards", "all are read again at every start", error)
    heldout = np.array(facts["heldout"])
    kin = 2 * np.array(facts["labels"], dtype=np.int32)
    kin[heldout] += 1
    items = Shards(
        archives, facts["places"], kin, facts["channels"], tuple(facts["size"]), facts["identity"],
        former, facts["span"] and tuple(facts["span"]),
    )  # fmt: skip
    everything = np.arange(len(items), dtype=np.int64)
    return Dataset(
        name=path.stem,
        kind="image",
        items=cast(np.ndarray, items),  # it answers as an array does
        train=np.setdiff1d(everything, heldout, assume_unique=True),
        heldout=heldout,
        coding=Coding.from_json(facts["coding"]),
        source=Source(f"shards in {shown(os.fsencode(path.resolve().name))}"),
        refused=tuple(Refused(*pair) for pair in facts["refused"]),
        notes=(*facts["notes"], *beside),
        conditions=(labelled(facts["labels"], names),) if (names := facts["classes"]) else (),
    )


def _beside(path: Path, allow_bad: bool) -> list[str]:
    """A note on pictures beside the archives of a folder, which are left out.

    Raises:
        DataError: there are more than a few, so that they may be what was meant.
    """
    names = names_below(path) if path.is_dir() else iter(())
    found = (name for name in names if Path(name).suffix.lower() in PICTURE_ENDINGS)
    first = next(found, None)
    count = 0 if first is None else 1 + sum(1 for _ in found)
    if count > BESIDE and not allow_bad:
        raise DataError(
            f"'{shown(os.fsencode(path))}' holds .tar archives, which would be read, and "
            f"{count:,} pictures beside them, such as '{shown(os.fsencode(first or ''))}', which "
            "would not; move one or the other elsewhere, or go on without the pictures with "
            "--allow-bad (allow_bad=True)."
        )
    return [f"Left out beside the archives: {many(count, 'pictures')}."] if count else []


def index(
    archives: Sequence[Path], size: Size | None, allow_bad: bool, progress: Progress | None
) -> dict[str, Any]:
    """Read every header and decode every picture once; what training needs to know of them."""
    refused: list[tuple[str, str]] = []  # name and reason
    words: dict[str, int] = {"": -1}
    kind = [*PLACE.descr, ("c", "<i4"), ("tiff", "?")]
    found = np.array(list(_samples(archives, words, refused)), dtype=kind)
    root = archives[0].parent
    with quiet(), ThreadPoolExecutor(_WORKERS) as pool:
        first = list(pool.map(lambda place: head(_file(archives, place)), found[:JUDGED]))
        heads = [h for h in first if isinstance(h, Head)]
        sides = [min(h.height, h.width) for h in heads]
        sizes = list({(h.height, h.width) for h in heads})
        target = size or default_size(sizes, median(sides or [0]))
        grey = all(h.mode in GREY_MODES or h.mode.startswith("I;16") for h in heads)
        kin = np.zeros(len(found), np.int32)  # nobody stands in here
        tiffs = (_file(archives, place) for place in found[found["tiff"]])
        span, said = spanned(map(extent, tiffs))
        items = Shards(archives, found, kin, 1 if grey and heads else 3, target, "", span=span)
        looks = []
        for start in range(0, len(found), _BLOCK):
            block = range(start, min(start + _BLOCK, len(found)))
            looks.append(_look(items, list(pool.map(items.read, block))))
            for item, why in zip(block, looks[-1].bad, strict=True):
                if why:
                    refused.append((_named(archives, found[item]), why))
            if progress is not None:
                progress(block.stop, len(found))
    good = np.concatenate([look.good for look in looks]) if looks else np.empty(0, bool)
    if not good.any():
        why = f" ({tally(reason for _, reason in refused)})" if refused else ""
        raise DataError(
            f"'{shown(os.fsencode(root))}' has no pictures that can be used in its "
            f"{many(len(archives), '.tar files')}{why}; pack them, uncompressed, as 000000.jpg "
            "beside 000000.cls."
        )
    check_bad(root, int(good.sum()), [Refused(*pair) for pair in refused], allow_bad)
    sums = np.concatenate([look.sums for look in looks])[good]
    keys = np.concatenate([look.keys for look in looks])[good]
    heldout = held_out(keys)
    labels = found["c"][good].astype(np.int64)
    classes = sorted(words.keys() - {""}, key=lambda w: (len(w), w) if w.isdigit() else (99, w))
    note = [f"{many(len(archives), 'shards')}; pictures are read from them as they are needed."]
    if len(classes) > 1 and (labels < 0).any():
        note.append(f"{int((labels < 0).sum()):,} pictures say no class.")
    note += said
    order = np.array([*(classes.index(word) for word in list(words)[1:]), -1])  # -1: none said
    return {
        "places": np.ascontiguousarray(found[[*PLACE.names]][good]),  # type: ignore[misc]
        "labels": order[labels],
        "heldout": heldout,
        "classes": classes if len(classes) > 1 else [],
        "channels": items.channels,
        "size": list(target),
        "span": span,
        "identity": _identity(keys, items.channels, target),
        "coding": _coding(np.delete(sums, heldout, axis=0), target).to_json(),
        "refused": refused,
        "notes": note,
    }


class _Look(NamedTuple):
    """What was seen in a block: which are good, why others are not, their keys and moments."""

    good: np.ndarray  # (b,) bool
    bad: list[str]
    keys: np.ndarray  # (b,) uint64
    sums: np.ndarray  # (b, 2, C) int64: of the values and of their squares


def _look(items: Shards, block: Sequence[np.ndarray | Bad]) -> _Look:
    bad = [got.reason if isinstance(got, Bad) else "" for got in block]
    empty = np.zeros(items.shape[1:], np.uint8)
    raw = np.stack([empty if isinstance(got, Bad) else got for got in block])
    wide = raw.astype(np.int64)
    sums = np.stack([wide.sum(axis=(2, 3)), (wide**2).sum(axis=(2, 3))], axis=1)
    return _Look(np.array([not why for why in bad]), bad, content_keys(raw), sums)


def _identity(keys: np.ndarray, channels: int, size: Size) -> str:
    """What tells these pictures from others, wherever they lie and whenever they were copied."""
    digest = hashlib.sha256(repr((channels, *size)).encode())
    digest.update(np.ascontiguousarray(keys, "<u8").tobytes())
    return digest.hexdigest()


def _coding(sums: np.ndarray, size: Size) -> Coding:
    """Mean and deviation of all training pictures, from exact integers (n, 2, C)."""
    count = len(sums) * size[0] * size[1]
    total, squares = sums.sum(axis=0)
    mean = [int(t) / count for t in total]
    variance = [
        (count * int(q) - int(t) ** 2) / count**2 for t, q in zip(total, squares, strict=True)
    ]
    std = [v**0.5 or 1.0 for v in variance]
    return Coding(tuple(mean), tuple(std), "image", low=0.0, high=255.0, levels=256)


def _samples(
    archives: Sequence[Path], words: dict[str, int], refused: list[tuple[str, str]]
) -> Iterator[tuple[int, int, int, int, bool]]:
    """Shard, offset, size, class of every picture, and whether it may hold real numbers.

    Damaged archives go to ``refused``.
    """
    for number, shard in enumerate(archives):
        try:
            with tarfile.open(shard, "r:") as archive:
                for _, parts in groupby(_members(archive), key=_stem):
                    said, places = "", []
                    for member in parts:
                        ending = member.name.rpartition(".")[2].lower()
                        if f".{ending}" in PICTURE_ENDINGS:
                            tiff = ending in ("tif", "tiff")
                            places.append((member.offset_data, member.size, tiff))
                        elif ending in ("cls", "json"):
                            said = _class_in(archive, member) or said
                    label = words.setdefault(said, len(words) - 1)
                    yield from ((number, at, size, label, tiff) for at, size, tiff in places)
                _check_end(archive, shard)
        except (tarfile.TarError, OSError, EOFError):
            refused.append((shard.name, "archive is damaged; what came before is used"))


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The regular files of an archive, which would else remember the header of each."""
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]
        if member.isreg():
            yield member


def _check_end(archive: tarfile.TarFile, shard: Path) -> None:
    """Refuse an archive that does not end in zeros; the reader takes a cut for its end.

    Raises:
        EOFError: something else follows, or nothing.
    """
    with shard.open("rb") as file:
        file.seek(archive.offset)
        if file.read(512) != bytes(512):
            raise EOFError


def _stem(member: tarfile.TarInfo) -> str:
    """What files of one sample share: the path up to the first dot of the name."""
    folder, _, file = member.name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _class_in(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """The class that a .cls or .json names; "" when it names none."""
    opened = archive.extractfile(member) if member.size <= LONGEST else None
    try:
        said = "" if opened is None else opened.read().decode().strip()
        if member.name.endswith("json") and said:
            table = json.loads(said)
            named = (table[key] for key in SAYS if key in table)
            said = next((str(name) for name in named if name is not None), "")
    except (ValueError, TypeError, RecursionError):
        return ""
    return said[:200]


def _file(archives: Sequence[Path], place: np.void) -> Found:
    path, size = archives[place["shard"]], int(place["size"])
    with path.open("rb") as file:
        file.seek(int(place["offset"]))
        data = file.read(size)
    return packed(path, data)


def _named(archives: Sequence[Path], place: np.void) -> str:
    return f"{archives[place['shard']].name}, byte {int(place['offset']):,}"
