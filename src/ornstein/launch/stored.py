"""Arrays that came from Python, kept beside the run that trains on them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.format import write_array

from ornstein.data.arrays import RESERVED
from ornstein.errors import DataError
from ornstein.training.disk import explained, make_folder, remove, replaced


def store_array(
    array: np.ndarray, folder: Path, conditions: Mapping[str, object] | None = None
) -> str:
    """Keep arrays given from Python beside the run that trains on them, so that it can resume.

    Raises:
        DataError: the run has other data already, or one of the arrays holds Python objects.
        DiskError: they cannot be written.
    """
    told = {"y" if k == "class" else k: _plain(k, v) for k, v in (conditions or {}).items()}
    for name in told:
        if name in RESERVED[:3] or (name in RESERVED and name != "y"):
            raise DataError(f"no condition can be called '{name}'; give it another name.")
    if array.dtype.hasobject:
        raise DataError(
            f"the array is of type {array.dtype}; it must hold real numbers or integers, such as "
            "array.astype('float32')."
        )
    arrays = {"x": array, **told}
    path = folder / ("data.npz" if told else "data.npy")
    # What lies there without a run was left by a call that was refused or killed before it began.
    if path.exists() and _begun(folder):
        if not _same(_kept(path), arrays):
            raise DataError(
                f"{folder} holds a run on other data. Give this one a name of its own: "
                "name='other'."
            )
        return str(path)
    size = sum(part.nbytes for part in arrays.values())
    with explained(f"saving {path.name}", folder, size):
        make_folder(folder)
    with replaced(path, size) as file:
        _write(file, arrays if told else array)
    return str(path)


class Stored:
    """Arrays of one call. Another of the same name may write its own until a run has begun.

    Args:
        array: As for :func:`store_array`.
        folder: Of the run.
        conditions: As for :func:`store_array`.
    """

    def __init__(
        self, array: np.ndarray, folder: Path, conditions: Mapping[str, object] | None = None
    ) -> None:
        self.array, self.folder, self.conditions = array, folder, conditions
        self._path: Path | None = None
        self._mark = (0, 0)  # of the file as it was written

    def keep(self) -> str:
        """Store them, and again where another call has put its own there.

        Raises:
            DataError: as :func:`store_array` does.
            DiskError: they cannot be written.
        """
        if self._path is None or self._mark != _mark(self._path):
            self._path = Path(store_array(self.array, self.folder, self.conditions))
            self._mark = _mark(self._path)
        return str(self._path)

    def forget(self) -> None:
        """Remove them, and the folder, where no run began."""
        if _begun(self.folder):
            return
        with suppress(OSError):  # something else is there, or nothing
            if self._path is not None and self._mark == _mark(self._path):
                remove(self._path)
            self.folder.rmdir()


def _mark(path: Path) -> tuple[int, int]:
    """What tells a file from another of its name."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_ino, found.st_mtime_ns


def _begun(folder: Path) -> bool:
    return (folder / "config.toml").is_file()


def _plain(name: str, said: object) -> np.ndarray:
    """What is said of the items under one name, as an array of numbers or texts.

    Of Python objects, as lists with None and columns of pandas are, texts are taken, and nothing
    is said where there is none.

    Raises:
        DataError: there are others.
    """
    try:
        array = np.asarray(said)
    except ValueError as error:
        raise DataError(
            f"the condition '{name}' holds lists of different lengths; write tags as 'red|round'."
        ) from error
    if array.dtype.kind == "U" and isinstance(said, list) and any(map(_missing, said)):
        array = np.array(said, dtype=object)  # beside texts, NaN is the text "nan" for numpy
    if not array.dtype.hasobject:
        return array
    cells = ["" if _missing(cell) else cell for cell in array.ravel().tolist()]
    odd = next((cell for cell in cells if not isinstance(cell, str)), None)
    if odd is not None:
        raise DataError(
            f"the condition '{name}' holds Python objects, such as {str(odd)[:40]!r} of type "
            f"{type(odd).__name__}; say texts (None where nothing is said), numbers (NaN where "
            "nothing is said) or arrays of one shape."
        )
    return np.array(cells, dtype=str).reshape(array.shape)


def _missing(cell: object) -> bool:
    """Whether a cell says nothing: None, NaN, or what pandas has for it."""
    gap = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return gap or type(cell).__name__ in ("NAType", "NaTType")


def _same(kept: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> bool:
    return kept.keys() == arrays.keys() and all(
        np.array_equal(kept[name], arrays[name], equal_nan=kept[name].dtype.kind == "f")
        for name in kept
    )


def _kept(path: Path) -> dict[str, np.ndarray]:
    try:
        found = np.load(path, allow_pickle=False)
        return (
            {"x": found} if path.suffix == ".npy" else {name: found[name] for name in found.files}
        )
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}, the data of a run, cannot be read. Put it back, or give this run a name of "
            "its own: name='other'."
        ) from error


def _write(file: IO[bytes], arrays: np.ndarray | Mapping[str, np.ndarray]) -> None:
    """One array as .npy, or several as .npz: numpy's own savez pickles what it cannot write."""
    if not isinstance(arrays, Mapping):
        write_array(file, arrays, allow_pickle=False)
        return
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                write_array(part, array, allow_pickle=False)
