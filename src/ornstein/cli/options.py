"""What several commands share: options, and names checked against tables when they are used."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ornstein.errors import look_up

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DEBUG = "ornstein.debug"
ASKED = "ornstein.sampler"
PRECISION = "precision"
SAID = "ornstein.conditions"


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


debug_option: Decorator = click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_remember, hidden=True
)
_json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, for programs."
)
_quiet_option: Decorator = click.option(
    "--quiet", is_flag=True, help="Print nothing but errors and the results asked for."
)
bad_option: Decorator = click.option(
    "--allow-bad",
    is_flag=True,
    default=None,
    help="Go on when more than 1 % of the pictures cannot be used.",
)
_runs_option: Decorator = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory that holds the runs.",
)
target_argument: Decorator = click.argument("target", metavar="RUN-OR-FILE")


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every command takes: --json as ``as_json``, --quiet, and --debug unseen."""
    return _json_option(_quiet_option(debug_option(command)))


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --runs, and what every command takes."""
    return _runs_option(common_options(command))


class Amount(click.ParamType[int | float]):
    """A finite number within bounds, whole or not; said in one sentence when it is not."""

    def __init__(self, least: float, most: float, whole: bool = True) -> None:
        self.least, self.most, self.whole = least, most, whole
        self.name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float:
        """Return the number.

        Raises:
            click.BadParameter: no such number.
        """
        kind = "whole number" if self.whole else "number"
        try:
            number = int(str(value)) if self.whole else float(str(value))
        except ValueError:
            number = math.nan
        if not self.least <= number <= self.most:
            least, most = (f"{n:,}".removesuffix(".0") for n in (self.least, self.most))
            self.fail(
                f"'{str(value)[:40]}' is not a {kind} from {least} to {most}.",
                param,
                ctx,
            )
        return number


class Place(click.Path[Path]):
    """Where to write: a folder, or a file if said so; "-" is refused.

    Elsewhere it is the standard output, which does not hold the several files of most commands.
    """

    def __init__(self, file: bool = False) -> None:
        super().__init__(path_type=Path, file_okay=file, dir_okay=not file)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path.

        Raises:
            click.BadParameter: "-", or the other of folder and file is there.
        """
        if str(value) == "-":
            self.fail(
                f"'-' is no {self.name}: nothing is written to the standard output. Name one; "
                "--json prints where things are.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


ITEMS = Amount(1, 100_000)
STEPS = Amount(1, 10_000)
SEED = Amount(0, 2**63 - 1)


def _ask(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value is not None:
        ctx.meta.setdefault(ASKED, {})[param.name] = value


def asked() -> dict[str, Any]:
    """What these options were given, as arguments of ``Bundle.how``."""
    given = click.get_current_context().meta.get(ASKED, {})
    return {name: value for name, value in given.items() if name != PRECISION}


def precision() -> str | None:
    """What --precision was given, where the command has it."""
    context = click.get_current_context(silent=True)
    given = {} if context is None else context.meta.get(ASKED, {})
    found: str | None = given.get(PRECISION)
    return found


def sampler_options(
    command: Callable[..., Any], hidden: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Add the options that say how to sample; :func:`asked` returns them.

    Those that are hidden are heard, so that the command can say why it refuses them.
    """
    kinds: dict[str, tuple[str, click.ParamType[Any] | None]] = {
        "steps": ("Steps of the solver.", STEPS),
        "solver": ("ddim, heun, ...; a wrong name lists them all.", None),
        "grid": ("Levels that the steps visit: uniform, karras, log-snr, ...", None),
        "schedule": ("Process to sample on; any will do for any model.", None),
        "guidance": (
            "Pull towards the class: 1 is off, more is surer and less varied.",
            Amount(0, 100, whole=False),
        ),
        PRECISION: (
            "float32, or bfloat16: faster on GPUs and processors that have it.",
            click.Choice(("float32", "bfloat16")),
        ),
    }
    for name, (says, kind) in reversed(kinds.items()):
        command = click.option(
            f"--{name}",
            type=kind,
            help=says,
            callback=_ask,
            expose_value=False,
            hidden=name in hidden,
        )(command)
    return command


def _say(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | str | None) -> None:
    said: dict[str, str] = ctx.meta.setdefault(SAID, {})
    for text in value if isinstance(value, tuple) else [] if value is None else [f"class={value}"]:
        name, equals, what = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"it needs NAME=VALUE, such as size=3.5, not '{text[:60]}'.")
        say_once(said, name, what)


def say_once(said: dict[str, str], name: str, what: str) -> None:
    """Put what is said under a name among all that is.

    Raises:
        click.BadParameter: something is said under it already.
    """
    if name in said:
        raise click.BadParameter(f"'{name}' is said twice; tags go together, {name}=a|b.")
    said[name] = what


def said() -> dict[str, str]:
    """What the options of :func:`condition_options` were given: the ``cond`` of a bundle."""
    return dict(click.get_current_context().meta.get(SAID, {}))


def condition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is to be made; :func:`said` returns it."""
    kinds = {
        "--class": ("Class to make.", False),
        "--cond": (
            "NAME=VALUE, as often as needed: a class, tags a|b, numbers, a picture's path.", True,
        ),
    }  # fmt: skip
    for name, (says, multiple) in reversed(kinds.items()):
        add = click.option(name, help=says, multiple=multiple, callback=_say, expose_value=False)
        command = add(command)
    return command


def check_heard(of: Mapping[str, Collection[str]], way: str) -> None:
    """Refuse an option that says nothing of what is done, instead of not hearing it.

    Args:
        of: Names of options, and as they are typed the ways that each says something of.
        way: The one that is taken.

    Raises:
        UsageError: the option, and what it goes with.
    """
    source = click.get_current_context().get_parameter_source
    for name, ways in of.items():
        if source(name) == click.core.ParameterSource.COMMANDLINE and way not in ways:
            raise click.UsageError(
                f"--{name} goes with {' or '.join(ways)}, not with {way}; leave it out."
            )


def command_line() -> str:
    """The whole command as it was typed."""
    return shlex.join(["ornstein", *(click.get_current_context().obj or ())])


def chosen(what: str, name: str | None, table: Iterable[str]) -> str | None:
    """Return a name that is in a table, or None when none was given.

    Raises:
        UsageError: it is not there; the near one and all others are named.
    """
    if name is not None:
        look_up(what, name, dict.fromkeys(table))
    return name
