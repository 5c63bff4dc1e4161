"""The IDX files of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.errors import DataError

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_UNPACKED_MOST = 1 << 32  # a gzip bomb is stopped here


def find_idx(folder: Path) -> list[Path]:
    """The four files in ``folder``, plain or .gz, in the order of IDX_FILES; [] if one lacks."""
    found = []
    for name in IDX_FILES:
        either = [folder / name, folder / f"{name}.gz"]
        found += [path for path in either if path.is_file()][:1]
    return found if len(found) == len(IDX_FILES) else []


def unpack(path: Path) -> bytes:
    """Bytes of a file, decompressed when its name ends in .gz."""
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            data = file.read(_UNPACKED_MOST)
            if file.read(1):
                raise DataError(f"'{path}' unpacks to more than 4 GB and is not read.")
            return data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read: {type(error).__name__}.") from error


def read_idx(data: bytes, path: Path) -> np.ndarray:
    """Array of unsigned bytes in an IDX file: magic 0, 0, 8, axes; big-endian sizes; values."""
    axes = data[3] if len(data) > 3 else 0
    head = 4 + 4 * axes
    if data[:3] != b"\0\0\x08" or axes < 1 or len(data) < head:
        raise DataError(f"'{path}' is not an IDX file of unsigned bytes.")
    shape = struct.unpack(f">{axes}I", data[4:head])
    body = np.frombuffer(data, dtype=np.uint8, offset=head)
    if body.size != int(np.prod(shape, dtype=object)):
        raise DataError(f"'{path}' holds {body.size:,} bytes, but its header says {shape}.")
    return body.reshape(shape)


def open_idx(
    name: str, arrays: list[np.ndarray], *, classes: tuple[str, ...], source: Source
) -> Dataset:
    """Data set of the four arrays of IDX_FILES; the official test set is held out."""
    images, labels, test_images, test_labels = arrays
    fits = images.ndim == test_images.ndim == 3 and images.shape[1:] == test_images.shape[1:]
    if not fits or len(images) != len(labels) or len(test_images) != len(test_labels):
        raise DataError(f"the files of '{name}' do not belong together: their sizes differ.")
    label = np.concatenate([labels, test_labels]).astype(np.int64)
    if label.max(initial=-1) >= len(classes):
        raise DataError(f"'{name}' has label {label.max()}, but {len(classes)} classes.")
    return make_dataset(
        name,
        "image",
        np.concatenate([images, test_images])[:, None],
        labels=label,
        classes=classes,
        heldout=np.arange(len(images), len(label), dtype=np.int64),
        source=source,
    )
