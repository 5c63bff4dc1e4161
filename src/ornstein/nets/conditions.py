"""What a network may be told besides the noise: classes, tags, numbers, and pictures beside x.

Every condition may be left unsaid for any item: its vector is then one that is learned for that
case, which is what guidance calls the null condition. A name that is missing is unsaid for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.errors import ConfigError, UsageError, near

Conditions = Mapping[str, Mapping[str, Any]]
"""Names to what is declared of each: {"class": {"kind": "class", "count": 10}}; all is JSON."""

MOST = 64  # conditions of one network


class Part(nn.Module):
    """The vector of one condition, (B, width), and what cross-attention sees of it.

    Args:
        width: Length of the vector.
        count: Of classes, tags or numbers.
    """

    is_table = False  # whether its weight is a vector for each name, and no map between spaces

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count

    def tokens(self, value: Tensor | None, rows: int) -> Tensor:
        """Return the vectors to attend to, (B, T, width): here the one of ``forward``."""
        vector: Tensor = self(value, rows)
        return vector[:, None]


class OneOf(Part):
    """One class of several, (B,) int64; the index ``count`` is "not said"."""

    is_table = True

    def __init__(self, width: int, count: int) -> None:
        super().__init__(width, count)
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(count + 1, width)))

    def forward(self, value: Tensor | None, rows: int) -> Tensor:
        """Return a row of the table for each item, (B, width)."""
        if value is None:
            value = torch.full((rows,), self.count, device=self.weight.device)
        return functional.embedding(value, self.weight)


class Tags(Part):
    """Any of several labels, (B, count) of 0 and 1; a row of NaN is "not said".

    The vector is the sum of those of the labels; cross-attention sees one for each label.
    """

    is_table = True

    def __init__(self, width: int, count: int) -> None:
        super().__init__(width, count)
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(count + 1, width)))

    def forward(self, value: Tensor | None, rows: int) -> Tensor:
        """Return the sum for each item, (B, width)."""
        if value is None:
            return self.weight[-1].expand(rows, -1)
        said, value = heard(value, self.weight)
        return torch.where(said, value @ self.weight[:-1], self.weight[-1])

    def tokens(self, value: Tensor | None, rows: int) -> Tensor:
        """Return one vector for each label, 0 for one that is absent, (B, count, width)."""
        if value is None:
            return self.weight[-1].expand(rows, self.count, -1)
        said, value = heard(value, self.weight)
        return torch.where(said[..., None], value[..., None] * self.weight[:-1], self.weight[-1])


class Numbers(Part):
    """Numbers of order one, (B, count); a row with a NaN is "not said"."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__(width, count)
        self.first = nn.Linear(count, width)
        self.second = nn.Linear(width, width)
        self.unsaid = nn.Parameter(torch.zeros(width))

    def forward(self, value: Tensor | None, rows: int) -> Tensor:
        """Return what two linear maps make of the numbers, (B, width)."""
        if value is None:
            return self.unsaid.expand(rows, -1)
        said, value = heard(value, self.unsaid)
        return torch.where(said, self.second(functional.silu(self.first(value))), self.unsaid)


def heard(value: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row says anything, (B, 1), and its numbers, 0 where they are NaN."""
    silent = value.isnan()
    return ~silent.any(1, keepdim=True), value.masked_fill(silent, 0).to(like)


PARTS: dict[str, type[Part]] = {"class": OneOf, "tags": Tags, "numbers": Numbers}
KINDS = (*PARTS, "picture")
ENTRIES = ("add", "concat", "cross-attention")
"""How conditions enter: added to the noise's vector, joined to it, or attended to."""


def of_classes(count: int) -> dict[str, dict[str, Any]]:
    """Declare the one condition "class"; none for a count of 0."""
    return {"class": {"kind": "class", "count": count}} if count else {}


def declared(conditions: Conditions | None) -> dict[str, dict[str, Any]]:
    """Return the declarations sorted by name, so that a network is the same in any order.

    Raises:
        ConfigError: a kind that is not known, or a size that cannot be.
    """
    if conditions is None:
        return {}
    if not isinstance(conditions, Mapping) or len(conditions) > MOST:
        raise ConfigError(f"conditions must be a table of at most {MOST} names, not this.")
    return {str(name): _checked(str(name), conditions[name]) for name in sorted(conditions)}


def _checked(name: str, said: object) -> dict[str, Any]:
    kind = said.get("kind") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or kind not in KINDS:
        raise ConfigError(
            f"the condition '{name}' must be declared with a kind, one of {', '.join(KINDS)}; "
            f"got {said!r}."
        )
    size, axes = ("shape", (2, 3, 4)) if kind == "picture" else ("count", (1,))
    given = said.get(size)
    numbers = list(given) if kind == "picture" and isinstance(given, (list, tuple)) else [given]
    whole = all(type(n) is int and n > 0 for n in numbers)
    if not whole or len(numbers) not in axes or len(said) != 2:
        what = "a list of whole numbers" if kind == "picture" else "a whole number"
        raise ConfigError(
            f"the condition '{name}' of kind '{kind}' must be declared with its {size}, {what} of "
            f"at least 1, and nothing else; got {dict(said)!r}."
        )
    return {"kind": kind, size: numbers if size == "shape" else given}


def checked_entry(entry: object) -> str:
    """Return ``entry`` if it is one of ``ENTRIES``; else refuse."""
    if entry not in ENTRIES:
        raise ConfigError(f"entry must be one of {', '.join(ENTRIES)}, not {entry!r}.")
    return str(entry)


def pictures(conditions: Conditions) -> dict[str, tuple[int, ...]]:
    """Shapes of the conditions that are pictures, by name."""
    return {n: tuple(c["shape"]) for n, c in conditions.items() if c["kind"] == "picture"}


def channels_beside(conditions: Conditions, shape: Sequence[int]) -> int:
    """Channels that pictures add to items of a shape: their own, and one that tells "said".

    Raises:
        ConfigError: a picture of another number of axes than the items.
    """
    for name, own in pictures(conditions).items():
        if len(own) != len(shape):
            raise ConfigError(
                f"the condition '{name}' has shape {own}, which cannot lie beside items of shape "
                f"{tuple(shape)}: both need a channel axis and as many others."
            )
    return sum(own[0] + 1 for own in pictures(conditions).values())


_SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}


def beside(x: Tensor, conditions: Conditions, cond: Mapping[str, Tensor]) -> Tensor:
    """Join pictures to x (B, C, *space) as channels, resized to its space.

    Each brings one channel more, 1 where it was said and 0 where it was not, since 0 everywhere
    is also the mean picture.
    """
    parts, space = [x], tuple(x.shape[2:])
    for name, shape in pictures(conditions).items():
        if name not in cond:
            parts.append(x.new_zeros(len(x), shape[0] + 1, *space))
            continue
        value = cond[name]
        if tuple(value.shape[1:]) != shape:
            raise UsageError(
                f"the condition '{name}' is a picture of {shape}, not {tuple(value.shape[1:])}."
            )
        said, flat = heard(value.flatten(1), x)
        said = said.reshape(-1, *(1,) * (x.ndim - 1)).to(x)
        value = resized(flat.reshape(value.shape), space) * said
        parts += [value, said.expand(len(x), 1, *space)]
    return torch.cat(parts, dim=1) if len(parts) > 1 else x


def resized(value: Tensor, space: tuple[int, ...]) -> Tensor:
    """A picture (B, C, *any) at another size, (B, C, *space): smooth, and averaged if smaller."""
    if tuple(value.shape[2:]) == space:
        return value
    smooth = len(space) == 2
    return functional.interpolate(
        value, space, mode=_SMOOTH[len(space)], align_corners=False, antialias=smooth
    )


def refuse_unknown(conditions: Conditions, cond: Mapping[str, Tensor]) -> None:
    """Refuse a name that was not declared.

    Raises:
        UsageError: which; the near one is suggested.
    """
    for name in cond.keys() - conditions.keys():
        known = f"It knows: {', '.join(conditions)}." if conditions else "It knows none."
        raise UsageError(
            f"this network knows no condition '{name}'.{near(name, conditions)} {known}"
        )
