"""What is asked of the items to be made: words, numbers and pictures, turned into tensors."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ornstein.data import read_item
from ornstein.data.conditions import CLASS, Declared
from ornstein.errors import OrnsteinWarning, UsageError, near

Said = Mapping[str, object]
"""Names of conditions to what is asked: a class, tags, numbers, a picture; None is "not said"."""

SHOWN = 40  # names that a message lists


class Heard(NamedTuple):
    """One thing that is asked.

    Attributes:
        value: As the network takes it, (1, ...).
        text: The same as JSON, for the settings of what is made; of a picture its hash.
    """

    value: Tensor
    text: Any


def joined(said: Said | None, class_name: str | None) -> dict[str, object]:
    """What is asked, the class among it.

    Raises:
        UsageError: the class is asked for twice.
    """
    asked = {n: None if isinstance(v, str) and not v else v for n, v in (said or {}).items()}
    if class_name is None:
        return asked
    if asked.get(CLASS, class_name) != class_name:
        raise UsageError(
            f"the class is said to be '{class_name}' and '{asked[CLASS]}'; say it once."
        )
    return {**asked, CLASS: class_name}


def texts(conditions: Sequence[Declared], said: Said) -> tuple[str | None, dict[str, Any]]:
    """The class that is asked for, and all else that is, as JSON for the settings of samples."""
    told = heard(conditions, said)
    words = {name: told[name].text if name in told else None for name in said}
    # Models of older versions may know numbers or tags under the name of classes.
    classed = any((known.name, known.kind) == (CLASS, "class") for known in conditions)
    named = words.pop(CLASS) if classed and words.get(CLASS) else None
    return named, words


def heard(conditions: Sequence[Declared], said: Said) -> dict[str, Heard]:
    """Understand what is asked of a model with these conditions.

    Raises:
        UsageError: a condition that it does not know, or a value that it cannot have.
    """
    known = {declared.name: declared for declared in conditions}
    for name, value in said.items():
        if name not in known:
            raise _unknown(name, value, known)
    return {
        name: READERS[known[name].kind](known[name], value)
        for name, value in said.items()
        if value is not None
    }


def turns(numbers: Tensor, shares: Sequence[float]) -> Tensor:
    """Class of each item by its number, (n,): in turn where all shares are equal, else by them.

    Multiples of the golden ratio fill the unit interval evenly from any number on, so that of n
    items every class has its share to within a few, whatever n is.
    """
    if len(set(shares)) <= 1:
        return numbers % len(shares)
    places = numbers.double() * ((5**0.5 - 1) / 2) % 1
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(ends, places * ends[-1], right=True)


def _unknown(name: str, value: object, known: Mapping[str, Declared]) -> UsageError:
    if name == CLASS:
        return _unclassed(value, known)
    have = ", ".join(f"{c.name} ({c.kind})" for c in known.values())
    return UsageError(
        f"this model knows no condition '{name}'.{near(name, known)} "
        f"{f'It knows: {have}.' if known else 'It knows none; leave it out.'}"
    )


def _unclassed(value: object, known: Mapping[str, Declared]) -> UsageError:
    """A class is asked for where none is known; another condition may have the name."""
    said = [c.name for c in known.values() if str(value) in c.names]
    if said:
        return UsageError(
            f"this model knows no condition 'class'; '{value}' is said by '{said[0]}': use "
            f"--cond '{said[0]}={value}', in Python cond={{'{said[0]}': '{value}'}}."
        )
    have = ", ".join(f"{c.name} ({c.kind})" for c in known.values())
    fix = f"its conditions are: {have}." if known else "leave it out."
    return UsageError(f"this model knows no classes, so there is no '{value}'; {fix}")


def _index(declared: Declared, name: str) -> int:
    if name in declared.names:
        return declared.names.index(name)
    names = declared.names
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    of = "" if declared.name == CLASS else f" of '{declared.name}'"
    what = "class" if declared.kind == "class" else "tag"
    raise UsageError(f"no {what} '{name}'{of}.{near(name, names)} There are: {shown}.")


def _class(declared: Declared, value: object) -> Heard:
    name = str(value)
    return Heard(declared.encode(np.array([_index(declared, name)])), name)


def _tags(declared: Declared, value: object) -> Heard:
    several = value.split("|") if isinstance(value, str) else value
    if not isinstance(several, Sequence):
        raise UsageError(
            f"'{declared.name}' takes tags, such as {'|'.join(declared.names[:2])}; got {value!r}."
        )
    names = [str(name).strip() for name in several if str(name).strip()]
    row = np.zeros((1, len(declared.names)))
    row[0, [_index(declared, name) for name in names]] = 1
    return Heard(declared.encode(row), [name for name in declared.names if name in names])


def _numbers(declared: Declared, value: object) -> Heard:
    several = value.split(",") if isinstance(value, str) else np.ravel(np.asarray(value)).tolist()
    try:
        numbers = [float(number) for number in several]
    except (TypeError, ValueError):
        numbers = []
    count = len(declared.low)
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        what = "a number" if count == 1 else f"{count} numbers, such as 1,2.5"
        raise UsageError(f"'{declared.name}' takes {what}; got '{value}'.")
    for number, low, high in zip(numbers, declared.low, declared.high, strict=True):
        if not low <= number <= high:
            warnings.warn(
                f"{declared.name}={number:g} lies outside what was seen in training, {low:g} to "
                f"{high:g}; expect a guess.",
                OrnsteinWarning,
                stacklevel=2,
            )
    return Heard(declared.encode(np.array([numbers])), numbers[0] if count == 1 else numbers)


def _picture(declared: Declared, value: object) -> Heard:
    assert declared.coding is not None
    if isinstance(value, (str, Path)):
        if not Path(value).is_file():
            raise UsageError(
                f"'{declared.name}' takes a picture, but there is no file '{value}'; give its "
                "path."
            )
        value = read_item(value, declared.shape, declared.coding)
    item = np.asarray(value)
    if item.shape != declared.shape or item.dtype.kind not in "buif":
        raise UsageError(
            f"'{declared.name}' takes an array of shape {declared.shape}; got {item.shape}."
        )
    digest = hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest()
    return Heard(declared.encode(item[None]), f"sha256:{digest[:16]}")


READERS: dict[str, Callable[[Declared, object], Heard]] = {
    "class": _class,
    "tags": _tags,
    "numbers": _numbers,
    "picture": _picture,
}
