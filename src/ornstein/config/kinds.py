"""What a setting may be: names from our tables, numbers within bounds, or auto."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

AUTO = "auto"  # what TOML, which knows no null, says for None


@dataclass(frozen=True)
class Choice:
    """A setting that is a name from a table, which is imported when it is needed.

    Attributes:
        names: Returns the names.
    """

    names: Callable[[], Iterable[str]]

    def __call__(self, value: str | None) -> str | None:
        """Refuse a name that is not in the table."""
        if value is not None and value not in self.names():
            raise ValueError(value)
        return value


@dataclass(frozen=True)
class Said:
    """What a setting may be, in words, where that does not follow from its type."""

    words: str


def _nets() -> Iterable[str]:
    from ornstein.nets import NETS

    return NETS


def _entries() -> Iterable[str]:
    from ornstein.nets.conditions import ENTRIES

    return ENTRIES


def _processes() -> Iterable[str]:
    from ornstein.core import PROCESSES

    return PROCESSES


def _targets() -> Iterable[str]:
    from ornstein.core import TARGETS

    return TARGETS


def _laws() -> Iterable[str]:
    from ornstein.training.objective import LAWS

    return LAWS


def _weights() -> Iterable[str]:
    from ornstein.training.objective import WEIGHTS

    return WEIGHTS


def _losses() -> Iterable[str]:
    from ornstein.training.variational import LOSSES

    return LOSSES


def _couplings() -> Iterable[str]:
    from ornstein.training.coupling import COUPLINGS

    return COUPLINGS


def _solvers() -> Iterable[str]:
    from ornstein.solvers import SOLVERS

    return SOLVERS


def _grids() -> Iterable[str]:
    from ornstein.core import GRIDS

    return GRIDS


def _or_none(value: object) -> object:
    return None if value == AUTO else value


def pair(value: object) -> object:
    """Turn a list, which TOML has, into a tuple."""
    return tuple(value) if isinstance(value, list) else value


def writable(value: str) -> str:
    """Refuse text that a file of settings cannot hold."""
    value.encode()  # a lone surrogate, from a file name that is not UTF-8, is a ValueError here
    return value


Auto = BeforeValidator(_or_none)
NetName = Annotated[str, AfterValidator(Choice(_nets))]
NetSize = Annotated[str, AfterValidator(Choice(lambda: ("tiny", "small", "medium", "large")))]
EntryName = Annotated[str, AfterValidator(Choice(_entries))]
ProcessName = Annotated[str, AfterValidator(Choice(_processes))]
TargetName = Annotated[str, AfterValidator(Choice(_targets))]
LayoutName = Annotated[str, AfterValidator(Choice(lambda: ("table", "rows", "columns")))]
LawName = Annotated[str, AfterValidator(Choice(_laws))]
WeightName = Annotated[str, AfterValidator(Choice(_weights))]
LossName = Annotated[str, AfterValidator(Choice(_losses))]
VarianceName = Annotated[str, AfterValidator(Choice(lambda: ("small", "learned", "analytic")))]
CouplingName = Annotated[str, AfterValidator(Choice(_couplings))]
SolverName = Annotated[str, AfterValidator(Choice(_solvers))]
GridName = Annotated[str, AfterValidator(Choice(_grids))]
OptimizerName = Annotated[str, AfterValidator(Choice(lambda: ("adamw", "muon")))]
Precision = Annotated[str, AfterValidator(Choice(lambda: ("float32", "bfloat16")))]
Side = Annotated[int, Field(ge=4, le=4096)]  # as data.opening takes them
Sides = Annotated[tuple[Side, Side], BeforeValidator(pair)]
Factor = Annotated[int, Field(ge=2, le=64)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Rho = Annotated[float, Field(ge=0, le=1e6)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Cadence = Annotated[Annotated[int, Field(ge=1, le=10**9)] | None, Auto]
