"""Stopping on request: a signal sets a flag, the loop looks at it after every step."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

from ornstein.errors import StoppedEarly


def _known(*names: str) -> tuple[signal.Signals, ...]:
    """Those signals that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# SIGBREAK is Windows' Ctrl-Break, the only one there that reaches the ranks of --nproc.
TYPED = _known("SIGINT", "SIGBREAK")
STOPPING = (*TYPED, *_known("SIGTERM", "SIGHUP"))
SAVING = _known("SIGUSR1")

NOTHING_DONE = (
    "stopped before a step was done; what was saved before stays. Run the same command to go on."
)


class StopRequest:
    """Within it, Ctrl-C, SIGTERM or SIGHUP asks to stop; a second Ctrl-C ends at once (130).

    SIGUSR1 asks to save and go on. Outside the main thread, where Python allows no handlers, it
    only stays silent.

    Attributes:
        asked: Name of the signal that asked to stop, None while none did.
        save: Whether somebody asked to save; for whoever saves to take back.
        ours: The process is ours, and ends at once where nothing is begun.
        idle: Nothing is begun, as while libraries load and a plan is made.
    """

    def __init__(self, ours: bool = False) -> None:
        self.asked: str | None = None
        self.save = False
        self.ours, self.idle = ours, True
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOPPING, *SAVING):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Stop here, where nothing is to be saved yet.

        Raises:
            StoppedEarly: somebody asked for it.
        """
        if self.asked:
            raise StoppedEarly(NOTHING_DONE)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in SAVING:
            self.save = True
            return
        if self.ours and self.idle:
            if os.environ.get("RANK", "0") == "0":
                os.write(sys.stderr.fileno(), f"{NOTHING_DONE}\n".encode())
            os._exit(StoppedEarly.exit_code)
        if self.asked is not None and number in TYPED:
            os._exit(130)
        self.asked = signal.Signals(number).name
