"""The options that say how guidance leads, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein.cli.options import Amount, asked, say_once
from ornstein.errors import UsageError

if TYPE_CHECKING:
    from ornstein.bundle import Bundle

GUIDED = "ornstein.guided"
CLASS = "class"  # what a word alone is


class Interval(click.ParamType[tuple[float, float]]):
    """Two numbers, LOW:HIGH."""

    name = "low:high"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Return both.

        Raises:
            click.BadParameter: no such numbers.
        """
        try:
            low, high = map(float, str(value).split(":"))
        except ValueError:
            self.fail(
                f"'{str(value)[:40]}' is not a pair of numbers; give sigma/alpha as in 0.2:5.",
                param,
                ctx,
            )
        return low, high


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value not in (None, {}):
        ctx.meta.setdefault(GUIDED, {})[param.name] = value


def _keep_said(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    said: dict[str, str] = {}
    for text in value:
        name, _, what = text.rpartition("=")
        say_once(said, name or CLASS, what)
    _keep(ctx, param, said)


def guide_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of guidance; :func:`asked_of` and :func:`led` read them."""
    options: dict[str, dict[str, Any]] = {
        "guide": {"metavar": "KIND", "help": "Kind: cfg, apg, or cfg++ with a scale up to 1."},
        "interval": {
            "type": Interval(),
            "help": "Guide at levels of sigma/alpha in LOW:HIGH only, as in 0.2:5.",
        },
        "rescale": {
            "type": Amount(0, 1, whole=False),
            "help": "Share of the way back to the unguided contrast; 0.7 is usual.",
        },
        "negative": {
            "multiple": True,
            "metavar": "NAME=VALUE",
            "help": "Lead away from this condition; a word alone is a class.",
        },
        "guide-by": {
            "metavar": "RUN-OR-FILE",
            "help": "Lead by a classifier of noisy items, or away from a weaker model.",
        },
    }
    for name, kind in reversed(options.items()):
        keep = _keep_said if name == "negative" else _keep
        command = click.option(f"--{name}", callback=keep, expose_value=False, **kind)(command)
    return command


def _given() -> dict[str, Any]:
    """What the options were given."""
    context = click.get_current_context(silent=True)
    return {} if context is None else dict(context.meta.get(GUIDED, {}))


def asked_of(bundle: Bundle, scaled: bool = False) -> dict[str, Any]:
    """What the options of sampling were given, the manner of guidance too: for ``bundle.how``.

    What is not said of the manner is the model's own. Scales of cfg++ have another meaning, so to
    it and from it nothing of the model's own is taken over.

    Args:
        bundle: The model that is sampled.
        scaled: Whether the scale is said elsewhere than by --guidance.

    Raises:
        UsageError: there is no such kind, interval or share; cfg++ without a scale; or guidance
            that would do nothing.
    """
    asked_for = _asked(bundle, scaled)
    given = [f"--{name.replace('_', '-')}" for name in _given()]
    deaf = [option for option in given if option in ("--guide", "--rescale")]
    if bundle.leads.judge and deaf:
        raise UsageError(
            "a classifier leads by its gradient, which has no kinds and is not rescaled; leave "
            f"{deaf[0]} out."
        )
    way = bundle.how(**asked_for)
    unsaid = not scaled and "guidance" not in asked_for
    if given and unsaid and way.guide.off(way.guidance) and not bundle.leads.lent:
        raise UsageError(
            f"guidance is off (its scale is 1), so {given[0]} would do nothing; add --guidance 2."
        )
    return asked_for


def _asked(bundle: Bundle, scaled: bool) -> dict[str, Any]:
    from ornstein.guide import Guide

    plain, given, own = asked(), _given(), bundle.sampler.guide
    if not given.keys() & {"guide", "interval", "rescale"}:
        return plain
    kind = given.get("guide", own.kind)
    other = kind != own.kind and "cfg++" in (kind, own.kind)
    plainest = Guide() if other else own
    low, high = given.get("interval", (plainest.low, plainest.high))
    guide = Guide(kind, low, high, given.get("rescale", plainest.rescale))
    if other and not scaled and "guidance" not in plain:
        raise UsageError(
            f"this model's own scale is for {own.kind} and means something else for {kind}; add "
            f"--guidance {0.6 if kind == 'cfg++' else 2} to --guide {kind}."
        )
    return {**plain, "guide": guide}


def led(bundle: Bundle, runs: Path) -> Bundle:
    """The model with what is asked to lead its guidance.

    Raises:
        UsageError: there is no such model, or it does not fit.
    """
    given = _given()
    if not given.keys() & {"negative", "guide_by"}:
        return bundle
    from ornstein.bundle import load_any

    by = load_any(given["guide_by"], runs) if "guide_by" in given else None
    by = None if by is None else by.to(bundle.device)
    return bundle.led(negative=given.get("negative"), by=by)


def led_text(settings: Mapping[str, Any]) -> str:
    """How samples were guided beyond the scale, in few words; empty when not."""
    guide = settings.get("guide", {})
    off = settings.get("guidance") == 1 and guide.get("kind") != "cfg++"
    if off and "guided_by" not in settings:
        return ""
    low, high = guide.get("low", 0), guide.get("high")
    said = settings.get("negative", {})
    away = ", ".join(f"{name} {said_of(value)}" for name, value in said.items())
    words = [
        guide.get("kind", "") if guide.get("kind") != "cfg" else "",
        f"levels {low:g} to {'inf' if high is None else f'{high:g}'}" if low or high else "",
        f"rescaled {guide['rescale']:g}" if guide.get("rescale") else "",
        f"away from {away}" if away else "",
        f"by {settings['guided_by'][:8]}" if "guided_by" in settings else "",
    ]
    return ", ".join(word for word in words if word)


def said_of(value: object) -> str:
    """What was said of a condition, as one would say it on the command line."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(map(said_of, value)) or "none"
    return str(value or "nothing")
