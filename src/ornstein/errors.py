"""Errors of use: each is one clear sentence, and carries the exit code of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")

# Words of a fault that is a lack of memory; the last ones are of cuBLAS, cuDNN and such.
LACKING = ("out of memory", "DefaultCPUAllocator", "STATUS_ALLOC_FAILED")


class OrnsteinError(Exception):
    """Something the user can mend; the command line prints its text without a traceback."""

    exit_code = 2


class UsageError(OrnsteinError):
    """A call or command that cannot be understood."""


class LevelError(OrnsteinError):
    """Noise levels in the wrong order, or a level where the formula has no value."""


class TargetError(OrnsteinError):
    """A prediction target that cannot be used at the levels asked for."""


class ConfigError(OrnsteinError):
    """An unknown or impossible setting."""


class DataError(OrnsteinError):
    """Data that cannot be found, read or used."""

    exit_code = 65


class ModelFileError(OrnsteinError):
    """A model file or checkpoint that is damaged, foreign or newer than this version."""

    exit_code = 65


class RankError(OrnsteinError):
    """Another process of the same training ended, is frozen or cannot be reached."""

    exit_code = 69


class FollowedError(OrnsteinError):
    """Rank 0 ended before its work was done, and has said why; this rank ends with it.

    Args:
        code: Exit code of rank 0.
    """

    def __init__(self, code: int) -> None:
        super().__init__("rank 0 ended, and has said why.")
        self.exit_code = code


class DivergedError(OrnsteinError):
    """Training or sampling produced numbers that are not finite."""

    exit_code = 70


class OutOfMemoryError(OrnsteinError):
    """The work does not fit into memory.

    Args:
        text: The sentence.
        setting: KEY=VALUE that makes it fit, if one is known.
    """

    exit_code = 71

    def __init__(self, text: str, setting: str | None = None) -> None:
        super().__init__(text)
        self.setting = setting


class RunLockedError(OrnsteinError):
    """The run directory is in use, or already holds something else."""

    exit_code = 73


class DiskError(OrnsteinError):
    """The disk is full, read-only or gone."""

    exit_code = 74


class StoppedEarly(OrnsteinError):  # noqa: N818 - a stop is not a failure
    """Stopped on request with everything saved; the same command goes on."""

    exit_code = 75


class OrnsteinWarning(UserWarning):
    """Something its owner should know and that stops nothing; the command line prints its text."""


def lacks_memory(fault: BaseException) -> bool:
    """Whether a fault is a lack of memory: Python's, a device's or torch's CPU allocator's."""
    # Told by names and words, so that nobody has to import torch for it.
    return isinstance(fault, MemoryError) or (
        isinstance(fault, RuntimeError)
        and (
            type(fault).__name__ == "OutOfMemoryError"
            or any(words in str(fault) for words in LACKING)
        )
    )


def look_up(
    what: str, name: str, table: Mapping[str, Entry], error: type[OrnsteinError] = UsageError
) -> Entry:
    """Return an entry of one of our tables.

    Args:
        what: What it is a table of, for the message, such as "solver".
        name: Key of the table.
        table: Names to entries.
        error: Raised for an unknown name.

    Raises:
        OrnsteinError: no such entry; the near one and all others are named.
    """
    if name not in table:
        raise error(
            f"unknown {what} '{name[:60]}'.{near(name, table)} There are: {', '.join(table)}."
        )
    return table[name]


def near(name: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the option closest to ``name``, or ``""``."""
    names = {option.lower(): option for option in options}
    found = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f" Did you mean '{names[found[0]]}'?" if found else ""
