"""What every network here is: a function of a noisy array, its noise number and a condition."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ornstein.errors import ConfigError
from ornstein.nets.conditions import (
    PARTS,
    Conditions,
    Part,
    checked_entry,
    declared,
    refuse_unknown,
)


class Net(Protocol):
    """A network: ``net(x, noise, cond)`` returns an array like ``x``, or several (``outputs``).

    ``x`` is (B, *shape). ``noise`` is (B,): one number that tells how noisy each item is,
    of order one. ``cond`` maps declared names to tensors, see ``ornstein.nets.conditions``: a
    class is (B,) int64, where the index ``count`` means "not said"; tags and numbers are
    (B, count) and a picture is (B, *its shape), where a row of NaN means "not said". A name that
    is missing is not said for any item.
    """

    def __call__(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Return the output, shaped like ``x`` but with ``outputs`` times its channels."""
        ...

    def options(self) -> dict[str, Any]:
        """Return the arguments, all fit for JSON, that build this network again."""
        ...


def whole(name: str, value: object, least: int = 1) -> int:
    """Return ``value`` if it is a whole number >= ``least``; else say what is allowed."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return value


def wholes(name: str, values: object, least: int = 1) -> tuple[int, ...]:
    """Return ``values`` as a tuple if they are whole numbers >= ``least``; else refuse."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{name} must be a list of whole numbers, not {values!r}.")
    return tuple(whole(f"each of {name}", v, least) for v in values)


def fraction(name: str, value: object) -> float:
    """Return ``value`` as a float if it lies in [0, 1); else refuse."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ConfigError(f"{name} must be a number in [0, 1), not {value!r}.")
    return float(value)


def among(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of the names; else say which there are."""
    names = list(allowed)
    if not isinstance(value, str) or value not in names:
        raise ConfigError(f"{name} must be one of {', '.join(names)}, not {value!r}.")
    return value


def truth(name: str, value: object) -> bool:
    """Return ``value`` if it is true or false; else refuse."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, not {value!r}.")
    return value


def options_of(net: nn.Module) -> dict[str, Any]:
    """Return the arguments of a network that keeps each by its name, fit for JSON."""
    kept = {name: getattr(net, name) for name in inspect.signature(type(net)).parameters}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}


class Embedding(nn.Module):
    """Turns the noise number and the conditions into one vector per item, (B, width).

    The number passes through sines and cosines of fixed frequencies, as in DDPM
    (arXiv:2006.11239), from one slow wave over the whole range to fast ones, then through two
    linear maps. Conditions are added to the result, or joined to it and mapped back to its width,
    or left to :meth:`tokens`. Pictures are not for here: they lie beside x.

    Args:
        width: Length of the vector.
        conditions: What is declared of each, by name.
        entry: One of ``ENTRIES``.
    """

    frequencies: Tensor

    def __init__(
        self, width: int, conditions: Conditions | None = None, entry: str = "add"
    ) -> None:
        super().__init__()
        self.conditions, self.entry = declared(conditions), checked_entry(entry)
        # The noise number spans about 5 units: waves of length 16 to 1/4 tell 0.02 apart.
        # Not computed on the device that is built for: on "meta" torch would load its compiler.
        lengths = torch.logspace(4, -2, 32, base=2.0, device="cpu")
        frequencies = torch.tensor((2 * torch.pi / lengths).tolist())
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.first = nn.Linear(2 * len(lengths), width)
        self.second = nn.Linear(width, width)
        known = {n: c for n, c in self.conditions.items() if c["kind"] in PARTS}
        self.places = {name: _place(name) for name in known}
        for name, said in known.items():
            self.add_module(self.places[name], PARTS[said["kind"]](width, said["count"]))
        joined = entry == "concat" and known
        self.join = nn.Linear((1 + len(known)) * width, width) if joined else None

    def forward(self, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors for ``noise`` (B,) and the conditions of the items.

        Raises:
            UsageError: a condition that was not declared.
        """
        refuse_unknown(self.conditions, cond)
        waves = noise[:, None] * self.frequencies
        waves = torch.cat([waves.sin(), waves.cos()], dim=1).to(self.first.weight.dtype)
        vector: Tensor = self.second(nn.functional.silu(self.first(waves)))
        if self.entry == "add":
            for part, value in self._said(cond):
                vector = vector + part(value, len(noise))
        elif self.join is not None:
            said = [part(value, len(noise)) for part, value in self._said(cond)]
            vector = self.join(torch.cat([vector, *said], dim=1))
        return nn.functional.silu(vector)

    def tokens(self, cond: Mapping[str, Tensor], rows: int) -> Tensor | None:
        """Return what cross-attention attends to, (rows, T, width); None for another entry."""
        if self.entry != "cross-attention" or not self.places:
            return None
        return torch.cat([part.tokens(value, rows) for part, value in self._said(cond)], dim=1)

    def _said(self, cond: Mapping[str, Tensor]) -> Iterator[tuple[Part, Tensor | None]]:
        """Each condition's part, and its value where there is one."""
        for name, place in self.places.items():
            yield cast("Part", getattr(self, place)), cond.get(name)


def _place(name: str) -> str:
    """Name of a condition's part among the weights; a dot has another meaning there."""
    # "class" was the only condition of the first model files and is called so in them.
    dotless = name.replace("%", "%25").replace(".", "%2E")
    return "classed" if name == "class" else f"said {dotless}"
