"""Arrays as data sets: numpy arrays, .npy and .npz files. Pickled objects are never read.

What the axes mean
    2 axes (N, D): vectors.
    3 axes: uint8 or bool are grey pictures (N, H, W). Numbers are grey pictures when H = W, series
    (N, C, L) when L is at least 4 C, and refused in between.
    4 axes: pictures. The channel axis is the one of 1 to 4 entries: (N, H, W, C) or (N, C, H, W).
    When both fit, the array is refused; when neither does, the channel axis is the one shorter
    than both others, and otherwise it is refused.
An .npz may settle it: kind = "image", "series" or "vector", layout = "NHWC" or "NCHW". Its other
arrays say something of the items, see ``ornstein.data.conditions``.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ornstein.data.coding import AXES
from ornstein.data.conditions import CLASS, Condition, coded, tagged
from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.moments import chunks
from ornstein.data.turned import in_order
from ornstein.data.typed import counted, kept, named, typed
from ornstein.errors import DataError

DATA_KEYS = ("x", "data", "images")
LABEL_KEYS = ("y", "labels")
SPLIT_KEYS = ("x_train", "y_train", "x_test", "y_test")  # the usual form of mnist.npz
RESERVED = (*DATA_KEYS, *LABEL_KEYS, *SPLIT_KEYS, "classes", "kind", "layout")
_MOST_CLASSES = 10_000


def open_file(path: Path) -> Dataset:
    """Data set of a .npy or .npz file; a .npy of uint8 or float32 stays memory-mapped."""
    source = Source(path.name)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):  # whatever the file is called
            return from_arrays({"x": found}, name=path.stem, source=source)
        with found as file:
            keys = [k for k in file.files if k in RESERVED or len(file.files) == 1]
            arrays = {key: file[key] for key in keys}
            for key in sorted(set(file.files) - set(keys)):
                with contextlib.suppress(ValueError):  # pickled objects say nothing
                    arrays[key] = file[key]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        why = "it holds pickled Python objects, which are never read"
        pickled = any(word in str(error) for word in ("pickle", "Python objects"))
        raise DataError(
            f"'{path}' cannot be read as a numpy file: "
            f"{why if pickled else 'it is damaged or no such file'}; "
            "save plain numbers with numpy.save or numpy.savez."
        ) from error
    return from_arrays(arrays, name=path.stem, source=source)


def from_arrays(arrays: Mapping[str, np.ndarray], *, name: str, source: Source) -> Dataset:
    """Data set of named arrays, the keys as in an .npz file."""
    heldout = None
    if "x_train" in arrays and "x_test" in arrays:
        parts = [arrays["x_train"], arrays["x_test"]]
        if parts[0].shape[1:] != parts[1].shape[1:]:
            raise DataError(f"'{name}': x_train and x_test hold items of different shapes.")
        raw = np.concatenate(parts)
        heldout = np.arange(len(parts[0]), len(raw), dtype=np.int64)
        both = "y_train" in arrays and "y_test" in arrays
        given = np.concatenate([arrays["y_train"], arrays["y_test"]]) if both else None
    else:
        raw = _data_of(arrays, name)
        given = next((arrays[key] for key in LABEL_KEYS if key in arrays), None)
    kind, items = interpret(raw, name, _word(arrays, "kind"), _word(arrays, "layout"))
    labels, classes = (None, ()) if given is None else _labels(given, len(items), arrays, name)
    beside = [key for key in arrays if key not in RESERVED and len(arrays) > 1]
    told = {key: kept(_told(key, arrays[key], len(items))) for key in beside}
    return make_dataset(
        name,
        kind,
        items,
        labels=labels,
        classes=classes,
        heldout=heldout,
        source=source,
        conditions=[found for found in told.values() if isinstance(found, Condition)],
        notes=tuple(
            f"'{k}' is left out: {why}." for k, why in told.items() if isinstance(why, str)
        ),
    )


def _told(name: str, array: np.ndarray, count: int) -> Condition | str:
    """What an array beside the items says of them, by its type; or why it says nothing.

    Texts are classes, or tags such as red|round; truths are classes, or tags in columns; numbers
    are numbers, NaN where nothing is said; with more axes they are pictures or series. Whole
    numbers called class are classes, as in a table.
    """
    if array.ndim == 0 or len(array) != count:
        return f"it has the shape {array.shape}, not an entry for each of {count:,} items"
    if array.ndim <= 2 and array.dtype.kind in "Ub":
        column = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if column.ndim == 2 and column.dtype.kind == "b":
            names = [str(k) for k in range(column.shape[1])]
            return tagged(column, names, np.ones(count, dtype=bool), name)
        if column.ndim == 1:
            return named(name, [cell or None if isinstance(cell, str) else cell
                                for cell in column.tolist()])  # fmt: skip
    if array.dtype.kind not in "buif":
        return f"an array of type {array.dtype} and {array.ndim} axes has no meaning here"
    if name == CLASS and array.size == count:
        numbers = array.ravel().tolist()
        return typed(name, [n if math.isfinite(n) else None for n in numbers], str)
    if array.ndim <= 2:
        return counted(name, array)
    return coded(interpret(array, name)[1], name)


def _data_of(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    found = [key for key in DATA_KEYS if key in arrays] or (
        list(arrays) if len(arrays) == 1 else []
    )
    if len(found) != 1:
        keys = ", ".join(arrays) or "none of them"
        raise DataError(
            f"'{name}' must hold one data array called x, data or images (or one array only), "
            f"and labels called y; it holds {keys}."
        )
    return arrays[found[0]]


def _word(arrays: Mapping[str, np.ndarray], key: str) -> str:
    return str(arrays[key]) if key in arrays and arrays[key].dtype.kind == "U" else ""


def interpret(
    raw: np.ndarray, name: str, kind: str = "", layout: str = ""
) -> tuple[str, np.ndarray]:
    """Kind of an array, and its items channels first as uint8 or float32.

    Raises:
        DataError: the meaning of the axes cannot be told, or a value is not a finite number.
    """
    if raw.dtype.kind not in "buif":
        raise DataError(
            f"'{name}' is an array of type {raw.dtype}; it must hold real numbers or integers."
        )
    kind = kind or _kind_of(raw, name)
    if kind not in AXES:
        raise DataError(f"'{name}': kind is '{kind}'; it must be one of {', '.join(AXES)}.")
    items = raw[:, None] if kind == "image" and raw.ndim == 3 else raw
    if items.ndim != AXES[kind]:
        raise DataError(f"'{name}' of shape {raw.shape} has too few or many axes for '{kind}'.")
    if kind == "image" and raw.ndim == 4 and _channels_last(raw.shape, name, layout):
        items = items.transpose(0, 3, 1, 2)
    return kind, _numbers(items, kind, name)


def _kind_of(raw: np.ndarray, name: str) -> str:
    shape = raw.shape
    if raw.ndim == 2:
        return "vector"
    if raw.ndim == 4:
        return "image"
    if raw.ndim != 3:
        raise DataError(
            f"'{name}' has shape {shape}; arrays have 2, 3 or 4 axes, the first of them items: "
            "make single numbers (N, 1), and cut a long series into windows (N, 1, L)."
        )
    if raw.dtype == np.uint8 and shape[2] in (3, 4) and shape[1] > 4 * shape[2]:
        raise DataError(
            f"'{name}' has shape {shape}, which looks like one picture (H, W, channels) and not "
            "like many; for one make it (1, H, W, channels) with x[None], for grey pictures so "
            "narrow (N, 1, H, W) with x[:, None]."
        )
    if raw.dtype.kind == "b" or raw.dtype == np.uint8 or shape[1] == shape[2]:
        return "image"
    if shape[2] >= 4 * shape[1]:
        return "series"
    raise DataError(
        f"'{name}' has shape {shape}, which could be grey pictures or series of {shape[1]} "
        "channels; for pictures make it (N, 1, H, W) with x[:, None], for series save an .npz "
        "with kind='series'."
    )


def _channels_last(shape: tuple[int, ...], name: str, layout: str) -> bool:
    if layout in ("NHWC", "NCHW"):
        return layout == "NHWC"
    _, first, middle, last = shape
    if (first <= 4) != (last <= 4):
        return last <= 4
    if first > 4 and (first < min(middle, last) or last < min(first, middle)):
        return last < first
    raise DataError(
        f"'{name}' has shape {shape}: the channel axis cannot be told from it; make pictures "
        "(N, H, W, C) with 1 to 4 channels, x.transpose(0, 2, 3, 1), or save an .npz with "
        "layout='NCHW' or 'NHWC'."
    )


def _numbers(items: np.ndarray, kind: str, name: str) -> np.ndarray:
    """uint8 for 8-bit pictures (a memmap stays one), else float32, all finite."""
    if kind == "image" and items.dtype == np.uint8:
        return in_order(items)
    if kind == "image" and items.dtype.kind == "b":
        return items.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore"):
        numbers = in_order(items.astype(np.float32, copy=False))
    _check_finite(numbers, name)
    if items.size and items.dtype.itemsize > 2 and items.dtype != np.float32:
        _check_digits(items, numbers, name)
    return numbers


def _check_finite(numbers: np.ndarray, name: str) -> None:
    """Refuse what is not finite; some items are looked at together.

    Raises:
        DataError: a value is not.
    """
    count, start, first = 0, 0, None
    for part in chunks(numbers, range(len(numbers))):
        wrong = ~np.isfinite(part)
        if first is None and wrong.any():
            item, *at = (int(i) for i in np.argwhere(wrong)[0])
            first = f"item {start + item} at {at}"
        count, start = count + int(wrong.sum()), start + len(part)
    if count:
        raise DataError(
            f"'{name}' holds {count:,} values that are not finite, the first in {first}; "
            "remove those items or replace the values."
        )


def _check_digits(items: np.ndarray, numbers: np.ndarray, name: str) -> None:
    """Refuse numbers that float32 cannot tell apart, such as 1e9 and units beside it.

    Raises:
        DataError: some channel loses more than a tenth of its deviation.
    """
    over, step = (0, *range(2, items.ndim)), max(1, (1 << 22) // max(1, items[:1].size))
    parts = range(0, len(items), step)
    mean, square, lost = (np.zeros(items.shape[1]) for _ in range(3))
    # Squares of what is near 0 keep their digits.
    first = items[:1].mean(axis=over, dtype=np.float64)
    shape = (1, -1, *(1,) * (items.ndim - 2))
    count = items.size / items.shape[1]
    for k in parts:
        exact = items[k : k + step].astype(np.float64)
        lost = np.maximum(lost, np.abs(exact - numbers[k : k + step]).max(axis=over))
        off = exact - first.reshape(shape)
        mean += off.sum(axis=over) / count
        square += (off**2).sum(axis=over) / count
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    bad = np.flatnonzero((lost > 0.1 * spread) & (spread > 1e-12 * np.abs(first)))
    if len(bad):
        c = int(bad[0])
        raise DataError(
            f"'{name}': float32 cannot tell the numbers of channel {c} apart, of mean "
            f"{first[c] + mean[c]:.6g} and deviation {spread[c]:.3g}; subtract the mean and "
            "divide by the deviation before."
        )


def _labels(
    given: np.ndarray, count: int, arrays: Mapping[str, np.ndarray], name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices and names: integers or strings, named by ``classes`` where it is there."""
    flat = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
    if flat.ndim != 1 or len(flat) != count:
        raise DataError(
            f"'{name}' has {count:,} items, but labels of shape {given.shape}; labels are one "
            "integer or word for each item (of one-hot rows take labels.argmax(1))."
        )
    if flat.dtype.kind == "f" and bool((flat == np.floor(flat)).all()):
        flat = flat.astype(np.int64)
    if flat.dtype.kind not in "buiU":
        raise DataError(f"'{name}' has labels of type {flat.dtype}; use integers or words.")
    names = arrays.get("classes")
    if names is not None and names.dtype.kind == "U" and flat.dtype.kind in "bui":
        if int(flat.min()) < 0 or int(flat.max()) >= len(names):
            raise DataError(f"'{name}' has a label outside its {len(names)} classes.")
        return flat.astype(np.int64), tuple(str(word) for word in names)
    found, index = np.unique(flat, return_inverse=True)
    if flat.dtype.kind == "U" and "" in found[:1]:  # an empty text says no class
        found, index = found[1:], index - 1
        if len(found) == 0:
            raise DataError(f"'{name}' has labels that are all empty; leave them out.")
    if len(found) > _MOST_CLASSES:
        raise DataError(
            f"'{name}' has {len(found):,} different labels; there may be {_MOST_CLASSES:,}."
        )
    return index.astype(np.int64), tuple(str(word) for word in found)
