"""One item from a file in the raw units of a known data set: what edits start from."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ornstein.data.coding import Coding
from ornstein.errors import DataError

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as PIL turns colour to grey
_SAVE = "save one array of plain numbers with numpy.save."


def read_item(path: str | Path, shape: tuple[int, ...], coding: Coding) -> np.ndarray:
    """Read one item in raw units: a picture of any size, or numbers of this shape from an .npy.

    Args:
        path: A picture, resized and cropped as in training, or an .npy in which NaN stands for
            what is not known.
        shape: (C, H, W), (C, L) or (D,).
        coding: Says what raw units are.

    Raises:
        DataError: it cannot be read, or has another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file '{path}'; give the path of a picture or an .npy.")
    if path.suffix.lower() == ".npy":
        return _numbers(path, shape)
    if coding.kind == "table":
        raise DataError(f"'{path}': this model makes rows; give a .csv with empty cells.")
    if coding.kind != "image":
        raise DataError(f"'{path}': this model makes {coding.noun}; give an .npy of {shape}.")
    from ornstein.data.opening import open_data

    found = open_data(str(path), size=(shape[1], shape[2])).items[0]
    channels = found.astype(np.float64)
    if len(channels) == 3 and shape[0] != 3:
        channels = np.tensordot(_LUMA, channels, 1)[None]
    if len(channels) != shape[0]:
        channels = np.repeat(channels, shape[0], axis=0)
    if coding.is_uint8:
        return np.asarray(np.rint(channels), dtype=np.uint8)
    low, high = coding.low or 0.0, 1.0 if coding.high is None else coding.high
    return np.asarray(low + channels / 255 * (high - low), dtype=np.float32)


def load_numbers(path: Path) -> np.ndarray:
    """The array of an .npy file, memory-mapped.

    Raises:
        DataError: it is no such file, or holds no real numbers.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' cannot be read as a numpy file; {_SAVE}") from error
    if not isinstance(found, np.ndarray):
        raise DataError(f"'{path}' holds several arrays, as an .npz does; {_SAVE}")
    if found.dtype.kind not in "buif":
        raise DataError(f"'{path}' holds values of type {found.dtype}; {_SAVE}")
    return found


def _numbers(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    item = load_numbers(path)
    if item.shape != shape:
        raise DataError(f"'{path}' holds an array of {item.shape}; an item here is {shape}.")
    return np.array(item, dtype=np.float32)
