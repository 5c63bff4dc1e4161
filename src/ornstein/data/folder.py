"""A folder of pictures as a data set.

Every file is tried by its content, whatever its name. Each is decoded once, into the cache.
``ornstein data FOLDER`` reports what was done. The policies:

    size      all pictures of one size up to 64x64: that size. Else square: the median of the
              short sides, at most 64, a multiple of 8. A size asked for always wins.
    channels  1 when every picture is grey, else 3 (RGB). Alpha is composed on white.
    depth     8 bits. 16 bits are scaled from 65,535. Real numbers, and 32 bits, have one range for
              the whole folder, the one that an array of them has, see moments.usual_range.
    classes   the sub-folder; pictures beside sub-folders are the class "(top)". A single
              sub-folder is no class. Fewer than two pictures per class on average: no classes.
    split     folders train and test (val, validation) are no classes: the latter are held out,
              and classes are the folders in them. Else 5 % by content, see data.splitting.
    told      what metadata.csv or metadata.jsonl says, see ``ornstein.data.metadata``.
    bad       more than 1 % and more than 3 bad files stop, unless bad files are allowed.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ornstein.data.cache import FORMAT, Store, cache_folder, recall
from ornstein.data.conditions import CLASS, Condition, labelled
from ornstein.data.dataset import Dataset, Refused, Source, make_dataset
from ornstein.data.decode import GREY_MODES, PICTURE_ENDINGS, Bad, decode, extent, head, quiet
from ornstein.data.facts import classes_of, heldout_of, median, notes_of, spanned, tally
from ornstein.data.listing import Listing
from ornstein.data.metadata import KEY, Metadata, Paths, read_metadata
from ornstein.data.pixels import Range, Size
from ornstein.data.walk import shown
from ornstein.errors import DataError

LARGEST_DEFAULT = 64
CACHE_FROM = 256  # fewer files are decoded again each time
_WORKERS = min(8, os.cpu_count() or 1)
Progress = Callable[[int, int], None]
"""Told how many pictures are decoded, of how many; what it raises ends the opening."""


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
    try:
        return _open(root, size, allow_bad, progress, "")
    except sqlite3.OperationalError:  # no room for temporary files: the listing is in memory
        return _open(root, size, allow_bad, progress, ":memory:")


def _open(
    root: Path, size: Size | None, allow_bad: bool, progress: Progress | None, place: str
) -> Dataset:
    single = root.is_file()
    if single:
        listing = Listing.of(str(root.parent), [os.fsencode(root.name)], place)
    else:
        listing = Listing.below(str(root), place, partial(progress or _nobody, 0, 0))
    table = None if single else read_metadata(root, listing)
    items, notes = _read(listing, size, progress)
    if not len(items):
        raise DataError(_nothing(root, listing.left_out, single))
    check_bad(root, len(items), listing.bad, allow_bad)
    conditions, more = _conditions(root, table, listing.used)
    heldout, held = heldout_of(listing.used)
    if table is None and not single:
        more = [*more, *_captions(root, listing)]
    return make_dataset(
        shown(os.fsencode(root.stem if single else (root.resolve().name or "pictures"))),
        "image",
        items,
        conditions=conditions,
        heldout=heldout,
        source=Source(f"pictures in {shown(os.fsencode(root.resolve().name))}"),
        refused=listing.left_out,
        names=listing.names,
        notes=(*notes, *held, *more),
    )


def _conditions(
    root: Path, table: Metadata | None, used: Sequence[bytes]
) -> tuple[list[Condition], list[str]]:
    """The sub-folders as classes, and what the table beside the pictures says."""
    labels, classes, notes = classes_of(used)
    told: list[Condition] = []
    if table is not None:
        told, more = table.conditions(partial(_draw, root))
        notes = [*notes, *more]
    if labels is not None and CLASS not in [condition.name for condition in told]:
        told = [labelled(labels, classes), *told]
    return told, notes


def _captions(root: Path, listing: Listing) -> list[str]:
    """A hint where texts lie beside pictures, which other programs take for captions."""
    texts = "SELECT path FROM left_out WHERE lower(CAST(path AS TEXT)) GLOB '*.txt' LIMIT 100"
    for (text,) in listing.ask(texts).fetchall():
        place = root / os.fsdecode(text)
        if any(place.with_suffix(end).is_file() for end in PICTURE_ENDINGS):
            said = "classes, tags and numbers are said in one metadata.csv"
            such = f"Texts beside pictures, such as '{shown(text)}', are not read"
            return [f"{such}: {said}, with a column {KEY}."]
    return []


def _draw(root: Path, paths: Paths) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of some paths, and the index of each path among them, -1 for none."""
    listing = Listing.of(str(root), (path for path in paths() if path is not None))
    return _read(listing, None, None)[0], listing.places(paths())


def _read(
    listing: Listing, size: Size | None, progress: Progress | None
) -> tuple[np.ndarray, list[str]]:
    """Decoded pictures, and notes about them: from the cache, or decoded now."""
    wanted = len(listing) >= CACHE_FROM
    folder = cache_folder() if wanted else None
    key = listing.key(size, FORMAT)
    kept = None if folder is None else recall(folder, key, listing)
    if kept is not None:
        return kept
    progress, total = progress or _nobody, len(listing)
    with quiet(), ThreadPoolExecutor(_WORKERS) as pool:
        listing.ask("BEGIN")
        for part in listing.blocks():
            progress(0, total)
            for file, found in zip(part, pool.map(head, part), strict=True):
                listing.note(file, found)
        target = size or _size(listing)
        modes = listing.ask("SELECT DISTINCT mode FROM looked").fetchall()  # left open, it locks
        channels = 1 if all(_is_grey(mode) for (mode,) in modes) else 3
        span, said = spanned(_extents(pool, listing, progress))
        shape = (channels, *target)
        store = Store(folder, total * math.prod(shape))
        if wanted and folder is None:
            store.say()
        try:
            coloured = _decode_all(pool, listing, shape, span, store, progress)
            listing.ask("COMMIT")
            if channels == 3 and not coloured and store.count:
                channels = 1
                store.drop_colour(target)
            notes = notes_of(listing, target, size, store.brightest) if store.count else []
            notes += said
            return store.keep(key, (channels, *target), notes, listing), notes
        except BaseException:
            store.discard()
            raise


def _extents(
    pool: ThreadPoolExecutor, listing: Listing, progress: Progress
) -> Iterator[Range | None]:
    """Least and greatest value of each picture whose format leaves its range open."""
    total = len(listing)
    for part in listing.blocks("open_range"):
        progress(0, total)
        yield from pool.map(extent, part)


def _decode_all(
    pool: ThreadPoolExecutor,
    listing: Listing,
    shape: tuple[int, int, int],
    span: Range | None,
    store: Store,
    progress: Progress,
) -> bool:
    """Decode into the store, block by block; returns whether any picture has colour.

    Files that fail are refused.
    """
    coloured, done, total = False, 0, len(listing)
    made = partial(decode, size=shape[1:], span=span)
    for part in listing.blocks():
        block = []
        for file, got in zip(part, pool.map(made, part), strict=True):
            if isinstance(got, Bad):
                listing.note(file, got)
                continue
            coloured = coloured or len(got) == 3
            block.append(np.broadcast_to(got, shape))
        if block:
            store.add(np.stack(block))
        done += len(part)
        progress(done, total)
    return coloured


def _nobody(done: int, total: int) -> None:
    """Tell nobody."""


def _is_grey(mode: str) -> bool:
    return mode in GREY_MODES or mode.startswith("I;16")


def _size(listing: Listing) -> Size:
    sizes = listing.ask("SELECT DISTINCT height, width FROM looked LIMIT 2").fetchall()
    return default_size(sizes, median(listing, "min(height, width)") if sizes else 0)


def default_size(sizes: Sequence[Size], short: float) -> Size:
    """Size chosen from the pictures: the size of all if one and small, else a square.

    Args:
        sizes: Those that there are; of many, two are enough.
        short: Median of the short sides.
    """
    if len(sizes) == 1 and max(sizes[0]) <= LARGEST_DEFAULT:
        return sizes[0]
    short = min(LARGEST_DEFAULT, int(short)) if sizes else LARGEST_DEFAULT
    side = short // 8 * 8 or short
    return (side, side)


USABLE = "give a picture, a folder of pictures or sounds, an .npy, .npz, .csv or .wav file"
OTHER_FILES = {
    (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"): "unpack it and give the folder",
    (".parquet", ".feather", ".arrow", ".xlsx", ".xls", ".ods"): (
        "save a table as .csv, pictures as files in a folder"
    ),
    (".h5", ".hdf5", ".mat", ".pt", ".pth", ".pkl"): "save arrays with numpy.save or numpy.savez",
    (".mp3", ".flac", ".ogg", ".m4a", ".aac", ".aif", ".aiff"): "save sounds as .wav",
}
"""What to do about a file of a kind that is not read, by its ending."""


def _nothing(root: Path, left: Sequence[Refused], single: bool) -> str:
    place = shown(os.fsencode(root))
    if single:
        suffix = root.suffix.lower()
        fix = next((fix for of, fix in OTHER_FILES.items() if suffix in of), USABLE)
        return f"'{place}' cannot be used: {left[0].reason}; {fix}."
    if not left:
        return f"'{place}' has no pictures: the folder is empty; put pictures into it."
    arrays = (file.path for file in left if file.path.endswith((".npy", ".npz")))
    array = next(arrays, None)
    fix = "use PNG, JPEG, WebP, GIF, BMP, TIFF or PPM pictures of at least 4 px"
    fix = fix if array is None else f"to train on an array name the file: {place}/{array}"
    tables = (file.path for file in left if file.path.lower().endswith((".csv", ".tsv")))
    table = next(tables, None)
    if table is not None:
        fix += f"; CSV files are opened one by one, such as {place}/{table}"
    return (
        f"'{place}' has no pictures that can be used: looked at {len(left):,} files, "
        f"{tally(file.reason for file in left)}; {fix}."
    )


class BadFilesError(DataError):
    """Too many pictures cannot be used.

    Attributes:
        found: How many, of what kinds, and the first of them.
    """

    def __init__(self, place: str, found: str) -> None:
        super().__init__(
            f"'{place}': {found}; remove them, or go on without them with --allow-bad "
            "(allow_bad=True)."
        )
        self.found = found


def check_bad(root: Path, used: int, bad: Sequence[Refused], allow_bad: bool) -> None:
    """Refuse a set of which too much cannot be used.

    Args:
        root: Where it is.
        used: Number of pictures that can be used.
        bad: Those that cannot.
        allow_bad: Go on with any number of them.

    Raises:
        BadFilesError: more than 1 % and more than three pictures are bad.
    """
    total = len(bad) + used
    if allow_bad or len(bad) <= 3 or len(bad) <= 0.01 * total:
        return
    first = ", ".join(f"'{file.path}'" for file in bad[:3])
    raise BadFilesError(
        shown(os.fsencode(root)),
        f"{len(bad):,} of {total:,} pictures cannot be used "
        f"({tally(file.reason for file in bad)}), the first {first}",
    )
