"""Data for upscaling: every item beside a smaller version of itself, of which a network is told.

The smaller version is made when it is asked for. Beside it stands how much noise was put on it,
a share from 0 to 1 that is 0 here; training draws others (noise conditioning augmentation,
arXiv:2106.15282, section 4.2), so that a model forgives small pictures that are not exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ornstein.data.coding import Coding
from ornstein.data.conditions import Condition, Declared
from ornstein.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ornstein.data.dataset import Dataset

LOW = "low"  # the smaller version
NOISED = "{}-noise"  # how much noise is on a picture, by the picture's name


@dataclass(frozen=True, eq=False)
class Lowered(Condition):
    """Smaller versions of the items, which are its values.

    Attributes:
        factor: How many times smaller each side is.
    """

    factor: int = 1

    def batch(self, indices: np.ndarray) -> Tensor:
        """Smaller versions of the items at ``indices``, as a network takes them."""
        return self.declared.encode(smaller(np.take(self.values, indices, axis=0), self.factor))

    def fold(self) -> bytes:
        """What it says besides the items, for a fingerprint."""
        return repr((self.name, self.factor)).encode()


def smaller(items: np.ndarray, factor: int) -> np.ndarray:
    """Means of blocks, ``factor`` long on each side: (N, C, *space) to float32.

    Raises:
        DataError: vectors and tables, or sides that the factor does not divide.
    """
    sides = items.shape[2:]
    if not sides or any(side % factor for side in sides):
        shown = "x".join(map(str, items.shape[1:]))
        fits = -(-max(sides, default=0) // factor) * factor
        other = f", or a size that it divides: --size {fits}" if len(sides) == 2 else ""
        raise DataError(
            f"items of {shown} cannot be made {factor} times smaller; take pictures or series, "
            f"and a factor that divides their sides{other}."
        )
    split = [part for side in sides for part in (side // factor, factor)]
    blocks = items.reshape(*items.shape[:2], *split)
    means: np.ndarray = blocks.mean(axis=tuple(range(3, blocks.ndim, 2)), dtype=np.float64)
    return means.astype(np.float32)


def lowered(dataset: Dataset, factor: int) -> Dataset:
    """The same data, told of versions ``factor`` times smaller and of the noise on them.

    Raises:
        DataError: items that have none, or data that say something of this name already.
    """
    shape = smaller(dataset.items[:1], factor).shape[1:]
    noise = NOISED.format(LOW)
    if any(condition.name in (LOW, noise) for condition in dataset.conditions):
        raise DataError(f"the data say '{LOW}' already, which upscaling needs; rename it.")
    said = np.ones(len(dataset), dtype=bool)
    low = Declared(LOW, "picture", coding=dataset.coding, shape=shape)
    plain = Coding((0.0,), (1.0,), "vector")
    told = Declared(noise, "numbers", coding=plain, shape=(1,), low=(0.0,), high=(1.0,))
    more = (
        Lowered(low, dataset.items, said, factor),
        Condition(told, np.zeros((len(dataset), 1)), said),
    )
    return replace(dataset, conditions=(*dataset.conditions, *more))


def noised(conditions: Sequence[Declared]) -> tuple[str, ...]:
    """Names of the pictures that may have noise on them."""
    known = [declared.name for declared in conditions]
    return tuple(name for name in known if NOISED.format(name) in known)


def factor_of(conditions: Sequence[Declared], shape: Sequence[int]) -> int | None:
    """How many times an item is larger than the version it is told of; None without one."""
    low = next((c.shape for c in conditions if (c.name, c.kind) == (LOW, "picture")), None)
    return shape[1] // low[1] if low and LOW in noised(conditions) else None
