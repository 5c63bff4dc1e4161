"""What settings there are, for help texts, documentation and messages."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator
from pydantic.fields import FieldInfo

from ornstein.config.kinds import AUTO, Choice, Said
from ornstein.config.schema import Config
from ornstein.config.section import Section

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Field:
    """One setting.

    Attributes:
        name: Full name, such as "train.batch".
        kind: What it may be, in words: "a whole number from 1 to 1,000,000, or auto".
        default: Value when nothing is said; None is auto.
        about: What it means.
        choices: The names it is one of, or empty.
    """

    name: str
    kind: str
    default: Any
    about: str
    choices: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """Section it stands in, "" for none."""
        return self.name.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        """Its name within the section."""
        return self.name.rpartition(".")[2]


def fields() -> list[Field]:
    """All settings in the order of the file."""
    found = []
    for name, info in Config.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found += [_field(f"{name}.{leaf}", sub) for leaf, sub in kind.model_fields.items()]
        else:
            found.append(_field(name, info))
    return found


def _field(name: str, info: FieldInfo) -> Field:
    hints = [info.annotation, *info.metadata]
    choices = _choices(hints)
    said = next((meta.words for meta in info.metadata if isinstance(meta, Said)), None)
    kind = said or (f"one of {', '.join(choices)}" if choices else _kind(hints))
    if _optional(info.annotation):
        kind += f", or {AUTO}"
    return Field(name, kind, info.get_default(), info.description or "", choices)


def _flatten(hint: object) -> list[Any]:
    """A type and what annotates it, and the same of its members."""
    parts = [hint]
    for part in get_args(hint):
        parts += _flatten(part)
    parts += [p for meta in getattr(hint, "__metadata__", ()) for p in (meta,)]
    return parts


def _choices(hints: list[Any]) -> tuple[str, ...]:
    for hint in hints:
        for part in _flatten(hint):
            if isinstance(part, AfterValidator) and isinstance(part.func, Choice):
                return tuple(part.func.names())
    return ()


def _optional(hint: object) -> bool:
    return any(part is NoneType for part in _flatten(hint))


def _kind(hints: list[Any]) -> str:
    parts = [part for hint in hints for part in _flatten(hint)]
    parts += [item for part in parts for item in getattr(part, "metadata", ())]  # nested Field()
    word = next(word for kind, word in _WORDS.items() if kind in parts)
    return word + _bounds(parts)


def _bounds(parts: list[Any]) -> str:
    low = next((p for p in parts if isinstance(p, (Ge, Gt))), None)
    high = next((p for p in parts if isinstance(p, (Le, Lt))), None)
    if low is None or high is None:
        return ""
    first = f" from {_number(low.ge)}" if isinstance(low, Ge) else f" above {_number(low.gt)}"
    last = f" to {_number(high.le)}" if isinstance(high, Le) else f" and below {_number(high.lt)}"
    return first + last


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
