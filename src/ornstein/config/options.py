"""Options by name, checked against the signature of what they are for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Set
from typing import Any, TypeVar

from ornstein.errors import ConfigError, OrnsteinError, near

T = TypeVar("T")


def check_options(
    where: str,
    what: str,
    make: Callable[..., Any],
    options: Mapping[str, Any],
    given: Set[str] = frozenset(),
) -> None:
    """Refuse names that ``make`` does not take.

    Args:
        where: Setting they stand in, for the message.
        what: What they are options of, for the message.
        make: Class or function they are passed to.
        options: The options.
        given: Arguments that are not options because others give them.

    Raises:
        ConfigError: a name that is not an argument; the near one is suggested.
    """
    known = [name for name in inspect.signature(make).parameters if name not in given]
    for name in options:
        if name not in known:
            allowed = f"It has: {', '.join(known)}." if known else "It has none."
            raise ConfigError(
                f"unknown option '{name}' of the {what} in {where}.{near(str(name), known)} "
                f"{allowed}"
            )


def bind(where: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """Call ``make`` with options that came from a file.

    Raises:
        ConfigError: an option has an impossible value.
    """
    try:
        return make(**options)
    except OrnsteinError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ConfigError(
            f"{where} hold a value that cannot be: {dict(options)!r} ({error})."
        ) from error
