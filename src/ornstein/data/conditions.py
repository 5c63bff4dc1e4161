"""What is said of the items besides themselves: a class, tags, numbers, or another picture.

A condition is known by its name. What a network and a model file need of it, the kind, the names
and the statistics, is apart from its values, which stay with the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ornstein.data.coding import Coding, measure, read_coding
from ornstein.errors import DataError, near

if TYPE_CHECKING:
    from torch import Tensor

CLASS = "class"  # the condition that sub-folders and labels make
NAMED, CODED = ("class", "tags"), ("numbers", "picture")
KINDS = (*NAMED, *CODED)
_AXES = {1: "vector", 2: "series", 3: "image"}


@dataclass(frozen=True)
class Declared:
    """What may be said under one name, and how it is made numbers for a network.

    Attributes:
        name: What it is called.
        kind: One of ``KINDS``.
        names: Of the classes or tags; empty for numbers and pictures.
        coding: Between raw units and those of the network; None for names.
        shape: Of one value: (count,) for numbers, (C, *space) for a picture; () for names.
        low: The least seen of each number.
        high: The greatest.
    """

    name: str
    kind: str
    names: tuple[str, ...] = ()
    coding: Coding | None = None
    shape: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            DataError: which of it.
        """
        fits = {
            "class": len(self.names) > 0,
            "tags": len(self.names) > 0,
            "numbers": len(self.shape) == 1 and len(self.low) == len(self.high) == sum(self.shape),
            "picture": len(self.shape) in (2, 3),
        }
        coded = self.kind in CODED
        if (
            not fits.get(self.kind)
            or coded != (self.coding is not None)
            or coded == bool(self.names)
        ):
            raise DataError(f"the condition '{self.name}' cannot be of kind '{self.kind}'.")
        if len(set(self.names)) < len(self.names):
            raise DataError(f"two {self.kind} names of the condition '{self.name}' are the same.")

    @property
    def net(self) -> dict[str, Any]:
        """What a network must know of it, see ``ornstein.nets.conditions``."""
        if self.kind == "picture":
            return {"kind": self.kind, "shape": list(self.shape)}
        return {"kind": self.kind, "count": len(self.names) or self.shape[0]}

    def means(self, other: Declared) -> bool:
        """Whether values of both mean the same, however they are coded."""
        return (self.kind, self.names, self.shape) == (other.kind, other.names, other.shape)

    def null(self, n: int) -> Tensor:
        """What stands for "not said", n times."""
        import torch

        if self.kind == "class":
            return torch.full((n,), len(self.names))
        return torch.full((n, *(self.shape or (len(self.names),))), torch.nan)

    def encode(self, values: np.ndarray) -> Tensor:
        """Values as a network takes them: indices, 0 and 1, or standardised numbers, (n, ...)."""
        import torch

        if self.coding is not None:
            return self.coding.encode(values)
        kind = np.int64 if self.kind == "class" else np.float32
        return torch.from_numpy(np.asarray(values).astype(kind))

    def to_json(self) -> dict[str, Any]:
        """Plain dict for a JSON file."""
        return {
            "name": self.name,
            "kind": self.kind,
            "names": list(self.names),
            "coding": None if self.coding is None else self.coding.to_json(),
            "shape": list(self.shape),
            "low": list(self.low),
            "high": list(self.high),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Declared:
        """Declaration from the dict of ``to_json``, whose types were checked.

        Raises:
            DataError: what cannot be.
        """
        coding = fields["coding"]
        return cls(
            fields["name"],
            fields["kind"],
            tuple(fields["names"]),
            None if coding is None else read_coding(Coding, coding),
            tuple(fields["shape"]),
            tuple(fields["low"]),
            tuple(fields["high"]),
        )


def class_of(names: Sequence[str], name: str = CLASS) -> Declared:
    """Declare classes of these names."""
    return Declared(name, "class", tuple(names))


@dataclass(frozen=True, eq=False)
class Condition:
    """One condition of a data set.

    Attributes:
        declared: What may be said.
        values: In raw units, (N, ...): index of the class, (N,); 0 and 1 for each tag, (N, tags);
            numbers, (N, count); pictures, (N, C, *space).
        said: Whether each item says anything, (N,) bool; where not, its value is not read.
    """

    declared: Declared
    values: np.ndarray
    said: np.ndarray

    @property
    def name(self) -> str:
        """What it is called."""
        return self.declared.name

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return self.declared.kind

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes or tags."""
        return self.declared.names

    def at(self, kept: np.ndarray) -> Condition:
        """The condition of some of the items; at -1 nothing is said."""
        values, said = np.take(self.values, kept, axis=0), self.said[kept] & (kept >= 0)
        return replace(self, values=values, said=said)

    def batch(self, indices: np.ndarray) -> Tensor:
        """What the items at ``indices`` say, as a network takes it; see ``Declared.null``."""
        import torch

        values = self.declared.encode(np.take(self.values, indices, axis=0))
        said = torch.from_numpy(self.said[indices]).reshape(-1, *(1,) * (values.ndim - 1))
        return torch.where(said, values, self.declared.null(len(values)))

    def measured(self, train: np.ndarray) -> Condition:
        """The same with statistics of the training items, as the items' own coding has them.

        Raises:
            DataError: no item of them says anything.
        """
        heard = train[self.said[train]]
        if len(heard) == 0:
            raise DataError(f"no training item says '{self.name}'; leave this condition out.")
        if self.declared.coding is None:
            return self
        coding = measure(self.values, heard, self.declared.coding.kind)
        seen = self.values[heard] if self.kind == "numbers" else np.empty((1, 0))
        low, high = (tuple(float(v) for v in f(seen, axis=0)) for f in (np.min, np.max))
        return replace(self, declared=replace(self.declared, coding=coding, low=low, high=high))

    def fold(self) -> bytes:
        """All that it says, for a fingerprint."""
        said = np.ascontiguousarray(self.said)
        told = self.values[self.said]
        head = (self.name, self.kind, self.names, told.dtype.str, told.shape)
        return repr(head).encode() + said.tobytes() + np.ascontiguousarray(told).tobytes()


def labelled(labels: np.ndarray, names: Sequence[str], name: str = CLASS) -> Condition:
    """A class for each item, (N,); -1 says none."""
    index = np.asarray(labels).astype(np.int64)
    return Condition(class_of(names, name), index, index >= 0)


def tagged(values: np.ndarray, names: Sequence[str], said: np.ndarray, name: str) -> Condition:
    """Tags of each item, (N, tags) of 0 and 1."""
    return Condition(Declared(name, "tags", tuple(names)), values.astype(np.float32), said)


def coded(values: np.ndarray, name: str, said: np.ndarray | None = None) -> Condition:
    """Numbers, (N,) or (N, count), or a picture of each item, (N, C, *space).

    A number that is not finite says nothing; neither does the rest of its row.
    """
    table = values[:, None] if values.ndim == 1 else values
    if table.dtype != np.uint8 or table.ndim == 2:
        table = table.astype(np.float64 if table.ndim == 2 else np.float32, copy=False)
    finite = np.isfinite(table).reshape(len(table), -1).all(axis=1)
    heard = finite if said is None else finite & said
    table = np.where(heard.reshape(-1, *(1,) * (table.ndim - 1)), table, table.dtype.type(0))
    shape = tuple(int(n) for n in table.shape[1:])
    blank = Coding((0.0,) * shape[0], (1.0,) * shape[0], _AXES[len(shape)])
    kind, each = ("numbers", (0.0,) * shape[0]) if len(shape) == 1 else ("picture", ())
    return Condition(Declared(name, kind, (), blank, shape, each, each), table, heard)


def chosen(conditions: Sequence[Condition], names: Sequence[str]) -> tuple[Condition, ...]:
    """Those of these names only.

    Raises:
        DataError: there is none of such a name.
    """
    known = [condition.name for condition in conditions]
    for name in names:
        if name not in known:
            have = f"There are: {', '.join(known)}." if known else "There are none."
            raise DataError(f"the data have no condition '{name}'.{near(name, known)} {have}")
    return tuple(condition for condition in conditions if condition.name in names)


def as_known(conditions: Sequence[Condition], known: Sequence[Declared]) -> tuple[Condition, ...]:
    """Those that a model knows, coded as the model codes them."""
    codes = {declared.name: declared for declared in known}
    return tuple(
        replace(condition, declared=codes[condition.name])
        for condition in conditions
        if condition.name in codes and condition.declared.means(codes[condition.name])
    )
