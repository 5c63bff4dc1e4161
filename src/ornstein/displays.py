"""How a training shows itself: a bar in a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ornstein import jsons

if TYPE_CHECKING:
    from rich.live import Live as Foot
    from rich.text import Text

    from ornstein.run import Progress

BAR_WIDTH = 32
PLAIN_SECONDS = 30.0  # without a terminal, one line so often


class Quiet:
    """Says nothing and remembers what was saved."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.last: dict[str, Any] = {}

    def note(self, text: str) -> None:
        """A line for the head of the display, or a warning."""

    def step(self, info: Mapping[str, Any]) -> None:
        """The state after a step."""
        self.last = dict(info)

    def saved(self, path: Path, kind: str) -> None:
        """Something worth opening was written; the last of each kind is remembered."""
        self.files[kind] = path

    def close(self) -> None:
        """Leave the terminal as it was."""


class Lines(Quiet):
    """A line every half minute, at the first and last step, and when something is saved."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.clock = clock
        self._shown: float | None = None

    def note(self, text: str) -> None:
        """Print the line."""
        click.echo(text)

    def step(self, info: Mapping[str, Any]) -> None:
        """Print the state if it is time."""
        super().step(info)
        now = self.clock()
        due = self._shown is None or now - self._shown >= PLAIN_SECONDS
        if due or info["step"] == info["steps"]:
            self._shown = now
            click.echo("  ".join([f"step {info['step']:,}/{info['steps']:,}", *facts_of(info)]))

    def saved(self, path: Path, kind: str) -> None:
        """Print what was saved."""
        super().saved(path, kind)
        click.echo(f"saved {kind}  {path}")


class Json(Quiet):
    """One JSON object a line, each with an ``event``."""

    def note(self, text: str) -> None:
        """Print a note."""
        self._write("note", {"text": text})

    def step(self, info: Mapping[str, Any]) -> None:
        """Print a step."""
        super().step(info)
        self._write("step", info)

    def saved(self, path: Path, kind: str) -> None:
        """Print a file."""
        super().saved(path, kind)
        self._write("saved", {"path": str(path), "kind": kind})

    def _write(self, event: str, fields: Mapping[str, Any]) -> None:
        click.echo(jsons.dumps({"event": event, **fields}))


class Live(Quiet):
    """Two lines that stay at the foot of the terminal while notes scroll above them."""

    def __init__(self) -> None:
        super().__init__()
        self._foot: Foot | None = None

    def note(self, text: str) -> None:
        """Print the line above the bar."""
        if self._foot is None:
            click.echo(text)
        else:
            self._foot.console.print(text, markup=False, highlight=False)

    def step(self, info: Mapping[str, Any]) -> None:
        """Move the bar."""
        super().step(info)
        foot = self._foot or self._start()
        foot.update(_two_lines(info))

    def saved(self, path: Path, kind: str) -> None:
        """Print what was saved above the bar."""
        super().saved(path, kind)
        self.note(f"saved {kind}  {path}")

    def close(self) -> None:
        """Stop the bar where it is."""
        if self._foot is not None:
            self._foot.stop()
            self._foot = None

    def _start(self) -> Foot:
        from rich.console import Console
        from rich.live import Live as Foot

        self._foot = Foot(console=Console(), refresh_per_second=4)
        self._foot.start()
        return self._foot


class Count:
    """Counts work done in one line: for sampling, which has no loss to show.

    The time left follows from what is done since the first call: before it may lie other work, and
    what it tells may be done already.

    Args:
        what: What is being done.
        shown: Whether to print anything.
        clock: Seconds.
    """

    def __init__(
        self, what: str, shown: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.what, self.shown, self.clock = what, shown, clock
        self._live = Live() if shown and sys.stdout.isatty() else None
        self._said = clock()
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done; at the end the bar is over."""
        now = self.clock()
        began, before = self._first = self._first or (now, done)
        left = (now - began) / (done - before) * (total - done) if done > before else None
        if self._live is not None:
            self._live.step({"step": done, "steps": total, "seconds_left": left})
            if done >= total:
                self._live.close()
        elif self.shown and now - self._said >= PLAIN_SECONDS:
            self._said = now
            known = "" if left is None else f"  left {duration(left)}"
            click.echo(f"{self.what} {done:,}/{total:,}{known}")

    def __enter__(self) -> Count:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.close()


def _two_lines(info: Mapping[str, Any]) -> Text:
    """A bar with step and time left, and below it the rest, cut to the terminal."""
    from rich.text import Text

    done = round(BAR_WIDTH * info["step"] / max(1, info["steps"]))
    left = info.get("seconds_left")
    head = f" {info['step']:,}/{info['steps']:,}"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("━" * done, style="cyan").append("━" * (BAR_WIDTH - done), style="bright_black")
    text.append(head if left is None else f"{head}  left {duration(left)}")
    return text.append("\n" + "  ".join(facts_of({**info, "seconds_left": None})))


def display(as_json: bool, quiet: bool) -> Quiet:
    """The display that fits where the output goes."""
    if as_json:
        return Json()
    if quiet:
        return Quiet()
    return Live() if sys.stdout.isatty() else Lines()


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The display that was brought along, or one that fits here and is closed at the end."""
    if progress is not None:
        yield progress
        return
    own = display(as_json=False, quiet=False)
    try:
        yield own
    finally:
        own.close()


def facts_of(info: Mapping[str, Any]) -> list[str]:
    """Loss, held-out loss, speed, time left and cost so far, each in a few letters."""
    parts = []
    if info.get("loss") is not None:
        parts.append(f"loss {info['loss']:.4f}")
    if info.get("heldout") is not None:
        parts.append(f"held out {info['heldout']:.4f}")
    if info.get("rate") is not None:
        parts.append(f"{amount(info['rate'])}/s")
    if info.get("seconds_left") is not None:
        parts.append(f"left {duration(info['seconds_left'])}")
    if info.get("elapsed") is not None:
        parts.append(cost(info["elapsed"]))
    return parts


def amount(number: float) -> str:
    """Three digits: 0.98, 12.3, 1,230."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float) -> str:
    """A time as one says it: 45 s, 3 min 20 s, 5 h 40 min, 2 d 3 h."""
    whole = max(0, round(seconds))
    for unit, size, lower, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {lower}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def cost(elapsed: float) -> str:
    """What was used up so far: time on a device, or time times cores."""
    torch = sys.modules.get("torch")  # loaded by whoever trains; not worth loading for this
    if torch is not None and torch.cuda.is_available():
        return f"cost {duration(elapsed)} of GPU"
    cores = torch.get_num_threads() if torch is not None else 1
    return f"cost {duration(elapsed * cores)} of one core"
