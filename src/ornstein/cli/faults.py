"""What a fault looks like from outside: a sentence on stderr, a stable exit code, no traceback."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import click

from ornstein.cli.options import DEBUG
from ornstein.errors import (
    FollowedError,
    OrnsteinError,
    OrnsteinWarning,
    OutOfMemoryError,
    StoppedEarly,
    lacks_memory,
)

UNEXPECTED, USAGE, MEMORY, DISK, INTERRUPTED, PIPE = 1, 2, 71, 74, 130, 141
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def guarded(command: click.Command, args: Sequence[str] | None) -> int:
    """Run a command and return its exit code, whatever happens."""
    given = list(sys.argv[1:] if args is None else args)
    _speak()
    warnings.showwarning = _shown
    try:
        answer = command.main(given, prog_name="ornstein", standalone_mode=False, obj=given)
        with contextlib.suppress(ValueError):  # a closed stream has nothing left to write
            sys.stdout.flush()
    except BrokenPipeError:
        return _broken_pipe()
    except (KeyboardInterrupt, click.Abort):
        _tell("stopped at once; what was saved before stays.")
        return INTERRUPTED
    except Exception as fault:  # noqa: BLE001 - the last resort before the user
        if _wants_traceback(given):
            traceback.print_exc()
        text, code = explain(fault)
        if isinstance(fault, OutOfMemoryError) and fault.setting:
            text += "\n  " + shlex.join(["ornstein", *given, "--set", fault.setting])
        _tell(text)
        return code
    return answer if isinstance(answer, int) else 0


def _speak() -> None:
    """Let an output that lacks a letter, as a pipe on Windows may, get its escape.

    With UTF-8 nothing is lacking.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            utf = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="strict" if utf else "backslashreplace")


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of ours as a sentence, and those of libraries as they are."""
    ours = issubclass(category, OrnsteinWarning)
    text = (
        f"warning: {message}" if ours else f"{filename}:{lineno}: {category.__name__}: {message}"
    )
    _tell(text)


def explain(fault: Exception) -> tuple[str, int]:
    """The sentence and the exit code of a fault."""
    if isinstance(fault, FollowedError):
        return "", fault.exit_code
    if isinstance(fault, StoppedEarly):
        return str(fault), fault.exit_code
    if isinstance(fault, OrnsteinError):
        return f"error: {fault}", fault.exit_code
    if isinstance(fault, click.ClickException):
        return _usage(fault), USAGE
    if lacks_memory(fault):
        return "error: out of memory. Ask for less at a time: a smaller batch or size.", MEMORY
    if isinstance(fault, OSError):
        return _system(fault), DISK
    text = " ".join(str(fault).split())[:300]
    advice = "Run again with --debug to see where, and please report it."
    return f"error: unexpected {type(fault).__name__}: {text}. {advice}", UNEXPECTED


def _usage(fault: click.ClickException) -> str:
    text = " ".join(fault.format_message().split())
    text = text[:1].lower() + text[1:]
    ctx = getattr(fault, "ctx", None)
    where = f" See '{ctx.command_path} --help'." if ctx is not None else ""
    return (
        f"error: {text.rstrip('.')}.{where}" if text[-1:] not in "?!" else f"error: {text}{where}"
    )


def _system(fault: OSError) -> str:
    place = f" ({fault.filename})" if fault.filename else ""
    if fault.errno in FULL:
        return f"error: the disk is full{place}. Make room and run the same command again."
    if fault.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return (
            f"error: no permission to use {fault.filename or 'this place'}. Choose another folder."
        )
    return f"error: {(fault.strerror or str(fault)).lower()}{place}."


def _wants_traceback(args: Sequence[str]) -> bool:
    # The context is gone by now, or never was; only the words are left.
    return "--debug" in args


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads stderr any more
        click.echo(text, err=True, nl=bool(text))


def _broken_pipe() -> int:
    """Nobody reads any more: leave in silence, also at the interpreter's own last flush."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE


__all__ = ["DEBUG", "explain", "guarded"]
