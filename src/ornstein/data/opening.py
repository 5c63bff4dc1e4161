"""One door for data: a name, a path or an array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ornstein.data.arrays import from_arrays, open_file
from ornstein.data.coding import Coding
from ornstein.data.conditions import chosen
from ornstein.data.dataset import Dataset, Source, make_dataset, subset
from ornstein.data.folder import open_folder
from ornstein.data.idx import find_idx, open_idx, read_idx, unpack
from ornstein.data.lowered import lowered
from ornstein.data.pixels import resize_items
from ornstein.data.series import Series, layout_of, open_series
from ornstein.data.shards import is_sharded
from ornstein.data.sound import open_sounds
from ornstein.data.sources import SOURCES, open_penguins, path_of, places
from ornstein.data.tables import Table, open_table, read_text
from ornstein.data.tar_index import open_shards
from ornstein.data.toys import TOY_SIZE, TOYS, open_toy
from ornstein.data.walk import names_below
from ornstein.errors import DataError, UsageError, near

Progress = Callable[[int, int], None]
SIZES = (4, 4096)
CSV = (".csv", ".tsv")


@dataclass(frozen=True)
class Wishes:
    """How a path is to be read; each concerns some kinds of data only.

    Attributes:
        size: Height and width of pictures, length of series.
        allow_bad: Go on when too many pictures cannot be used.
        progress: Told how many pictures are decoded.
        columns: What the columns of a table are, by name.
        label: Column of a table that is the class.
        layout: What a CSV file holds: one of ``LAYOUTS``; None to tell from its shape.
        like: Coding of a model that the data is for.
    """

    size: tuple[int, int] | None = None
    allow_bad: bool = False
    progress: Progress | None = None
    columns: Mapping[str, str] | None = None
    label: str | None = None
    layout: str | None = None
    like: Coding | None = None


def open_data(
    source: str | Path | np.ndarray,
    *,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    limit: int | None = None,
    allow_bad: bool = False,
    progress: Progress | None = None,
    columns: Mapping[str, str] | None = None,
    label: str | None = None,
    layout: str | None = None,
    conditions: Sequence[str] | None = None,
    like: Coding | None = None,
    upscale: int | None = None,
) -> Dataset:
    """Open a data set.

    Args:
        source: A built-in name (``ornstein.data.names()``), a folder of pictures, one picture, an
            .npy or .npz file, a table (.csv), a folder of .tar shards, or an array. Toys take a
            count (two-moons:50000), emoji a size (emoji:64).
        size: Height and width to bring pictures to, one number or (height, width); length of
            the windows of series.
        seed: Draws the toys; the split never depends on it.
        limit: Keep at most this many items, chosen evenly.
        allow_bad: Go on when more than 1 % of a folder's files cannot be used.
        progress: Called with files done and files in all while a folder is decoded.
        columns: What columns of a table are, by name: number, category, date (or date:%d/%m/%y)
            or omit; the others are told from their cells.
        label: Column of a table that is the class.
        layout: What a CSV file holds: a table, series in its rows, or one in its columns; None
            to tell from its shape.
        conditions: Names of the conditions to keep of those that the data say; None for all.
        like: Coding of a model: a table is read by its columns, and nothing is measured.
        upscale: Tell of every item a version so many times smaller, see ``data.lowered``.

    Raises:
        DataError: nothing there, or nothing that can be used (exit code 65).
        UsageError: a size or limit without meaning.
    """
    target = _size(size)
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit} is too small; it must be at least 1.")
    wishes = Wishes(target, allow_bad, progress, columns, label, layout, like)
    dataset = _open(source, wishes, seed, limit)
    if dataset.kind != "table" and (columns or label):
        raise UsageError(
            f"columns and label are for tables; '{dataset.name}' is of kind '{dataset.kind}', "
            "leave them out."
        )
    if target is not None and dataset.kind == "table":
        raise UsageError(
            f"size is for pictures and series; '{dataset.name}' is a table, leave it out."
        )
    if conditions is not None:
        dataset = replace(dataset, conditions=chosen(dataset.conditions, conditions))
    if target is not None and type(dataset.coding) is Coding:
        dataset = _resized(dataset, target)
    if limit is not None:
        dataset = subset(dataset, limit)
    return dataset if upscale is None else lowered(dataset, upscale)


def names() -> tuple[str, ...]:
    """Built-in names, toys first."""
    return (*TOYS, *SOURCES)


def _open(
    source: str | Path | np.ndarray, wishes: Wishes, seed: int, limit: int | None
) -> Dataset:
    if isinstance(source, np.ndarray):
        return from_arrays({"x": source}, name="array", source=Source("an array"))
    name, _, option = str(source).partition(":")
    if isinstance(source, str) and name in TOYS:
        return open_toy(name, min(_count(source, option), limit or _MOST_POINTS), seed)
    known = isinstance(source, str) and name in SOURCES
    if known and name == "fashion-mnist":  # its own opener checks the files in ORNSTEIN_DATA
        return SOURCES[name](option)
    for path in places(source) if isinstance(source, str) else ():
        return replace(open_path(path, wishes), name=str(source))
    if known and name == "penguins":  # a table is read as its user wishes
        like = wishes.like if isinstance(wishes.like, Table) else None
        return open_penguins(option, columns=wishes.columns, label=wishes.label, like=like)
    if known:
        return SOURCES[name](option)
    return open_path(path_of(source), wishes, typed=str(source))


_MOST_POINTS = 10_000_000
_NONE = Wishes()


def _count(source: str, option: str) -> int:
    if not option:
        return TOY_SIZE
    if not option.isdecimal() or not 1 <= int(option) <= _MOST_POINTS:
        raise UsageError(f"'{source}': after the colon comes a number of points, 1 to 10000000.")
    return int(option)


def open_path(path: Path, wishes: Wishes = _NONE, typed: str = "") -> Dataset:
    """Data set of a path: folder of pictures or IDX files, array file, table or one picture."""
    if not _exists(path):
        meant = near(typed, names())
        raise DataError(
            f"'{typed or path}' is neither a path that exists nor a known data set.{meant} "
            f"Known: {', '.join(names())}."
        )
    if path.is_file() and path.suffix.lower() in (".npy", ".npz"):
        return open_file(path)
    if path.is_file() and path.suffix.lower() in CSV:
        return _open_csv(path, wishes)
    if path.suffix.lower() == ".wav" or (path.is_dir() and _sounds(path)):
        return open_sounds(path, _length(wishes.size))
    if is_sharded(path):
        return open_shards(path, wishes.size, wishes.allow_bad, wishes.progress)
    if path.is_dir() and (files := find_idx(path)):
        source = Source(f"IDX files in {path.resolve().name}")
        arrays = [read_idx(unpack(file), file) for file in files]
        count = max(int(arrays[i].max(initial=0)) for i in (1, 3)) + 1
        classes = tuple(str(i) for i in range(count))
        return open_idx(path.name, arrays, classes=classes, source=source)
    return open_folder(path, wishes.size, wishes.allow_bad, wishes.progress)


def _open_csv(path: Path, wishes: Wishes) -> Dataset:
    text, like = read_text(path), wishes.like
    if isinstance(like, (Table, Series)):
        layout = "table" if isinstance(like, Table) else "columns" if like.down else "rows"
    else:
        layout = wishes.layout or layout_of(text)
    if layout == "table":
        known = like if isinstance(like, Table) else None
        return open_table(text, columns=wishes.columns, label=wishes.label, like=known)
    return open_series(text, layout, _length(wishes.size))


def _length(size: tuple[int, int] | None) -> int | None:
    """Length of the windows of series, where it is asked for."""
    if size is not None and size[0] != size[1]:
        raise UsageError(f"series have one size, their length, not {size[0]} and {size[1]}.")
    return None if size is None else size[0]


def _sounds(path: Path) -> bool:
    """Whether most files of a folder are .wav files."""
    names = (name.lower() for name in names_below(path) if "." in name)
    count = Counter(name.endswith(".wav") for name in names)
    return count[True] > count[False]


def _exists(path: Path) -> bool:
    """Whether there is something; a name too long or with a NUL byte names nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, tuple) else (size, size)
    good = len(pair) == 2 and all(isinstance(n, int) and SIZES[0] <= n <= SIZES[1] for n in pair)
    if not good:
        raise UsageError(
            f"size={size} cannot be used; give one whole number or (height, width), each from "
            f"{SIZES[0]} to {SIZES[1]}."
        )
    return pair


def _resized(dataset: Dataset, size: tuple[int, int]) -> Dataset:
    if dataset.kind != "image":
        raise UsageError(
            f"size is for pictures; '{dataset.name}' is of kind '{dataset.kind}', leave it out."
        )
    if dataset.shape[1:] == size:
        return dataset
    note = f"Resized from {dataset.shape[1]}x{dataset.shape[2]} to {size[0]}x{size[1]}."
    return make_dataset(
        dataset.name,
        dataset.kind,
        resize_items(dataset.items, size),
        conditions=dataset.conditions,
        heldout=dataset.heldout,
        source=dataset.source,
        refused=dataset.refused,
        captions=dataset.captions,
        names=dataset.names,
        notes=(*dataset.notes, note),
    )
