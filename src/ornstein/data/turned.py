"""Pictures of a file with channels last, as data have them: channels first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np


@dataclass(frozen=True, eq=False)
class Turned:
    """Pictures that stay where they are: an array (N, C, H, W) whose parts are turned when read.

    A view of other strides would do for numpy, but not for its users: sums of floats and
    convolutions depend on the order in memory. What is read here is as that of any array.

    Attributes:
        raw: The pictures as they came, (N, H, W, C); a memory map stays one.
    """

    raw: np.ndarray

    ndim = 4

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.raw.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        count, height, width, channels = self.raw.shape
        return count, channels, height, width

    @property
    def nbytes(self) -> int:
        """Bytes of all pictures."""
        return self.raw.nbytes

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.raw)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Read some of them, or one, (C, H, W)."""
        return np.ascontiguousarray(np.moveaxis(self.raw[index], -1, -3))

    def take(
        self, indices: np.ndarray, axis: int = 0, out: None = None, mode: str = "raise"
    ) -> np.ndarray:
        """Read pictures, (B, C, H, W). The arguments are those of numpy.take."""
        return self[np.asarray(indices, dtype=np.int64)]


def in_order(items: np.ndarray) -> np.ndarray:
    """The same items in the order of their axes; of a file they are brought to it when read.

    Args:
        items: Of any axes; pictures that had their channels last are a view (N, C, H, W).
    """
    if items.flags.c_contiguous:
        return items
    raw = items.transpose(0, 2, 3, 1) if items.ndim == 4 else items
    if isinstance(raw, np.memmap) and raw.flags.c_contiguous:
        return cast(np.ndarray, Turned(raw))  # it answers as an array does
    return np.ascontiguousarray(items)
