"""Is every rank alive? A rank that is frozen or cut off is named, and the others end.

A collective operation waits for all ranks, and cannot tell one that draws a preview from one that
will never answer. So each rank counts aloud in a store, from a thread of its own.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from math import inf
from threading import Event, Thread

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore

from ornstein.errors import RankError, UsageError

ENVIRONMENT = "ORNSTEIN_RANK_TIMEOUT"
SECONDS = 120.0
UV = sys.platform != "win32"  # torch has no libuv there, and its own rendezvous does without


def patience() -> float:
    """Seconds of silence that are too long: ORNSTEIN_RANK_TIMEOUT, or 120.

    Raises:
        UsageError: it is no number of seconds.
    """
    said = os.environ.get(ENVIRONMENT) or str(SECONDS)
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise UsageError(
            f"{ENVIRONMENT} is '{said[:40]}'; it must be a number of seconds above 0, such as 120."
        )
    return seconds


class Pulse:
    """Counts aloud, listens to the others, and ends this process when one has fallen silent.

    Two threads: one that talks and listens, which may hang on a dead network, and one that only
    looks at the clock.

    Args:
        rank: Which rank this is.
        count: How many there are.
        name: Under which they count.

    Attributes:
        seconds: Silence that is too long: 120, or ORNSTEIN_RANK_TIMEOUT.
    """

    def __init__(self, rank: int, count: int, name: str) -> None:
        self.rank, self.count, self.name = rank, count, name
        self.seconds = patience()
        self._every = min(2.0, self.seconds / 10)
        self._heard = dict.fromkeys(range(count), time.monotonic())
        self._done = Event()
        for task in (self._talk, self._watch):
            Thread(target=task, daemon=True).start()

    def stop(self) -> None:
        """Fall silent without being missed."""
        self._done.set()

    def _talk(self) -> None:
        place, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        limit = timedelta(seconds=self.seconds)
        said, last = 0, dict.fromkeys(range(self.count), b"")
        try:
            # A connection of its own: that of the process group may be waiting for something.
            store = PrefixStore(self.name, TCPStore(place, port, timeout=limit, use_libuv=UV))
            while not self._done.wait(self._every):
                said += 1
                store.set(str(self.rank), str(said))
                for rank in range(self.count):
                    heard = store.get(str(rank))
                    if heard != last[rank]:
                        last[rank], self._heard[rank] = heard, time.monotonic()
        except RuntimeError:
            return  # the store is gone, with its rank; then nobody is heard any more

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._done.wait(self._every):
            now = time.monotonic()
            if now - before > 0.5 * self.seconds:  # it was we who slept
                self._heard = dict.fromkeys(self._heard, now)
            before = now
            silent = [r for r, heard in self._heard.items() if now - heard > self.seconds]
            if silent:
                self._end(silent)

    def _end(self, silent: list[int]) -> None:
        if self.rank in silent:  # then nothing at all was heard: the store itself is out of reach
            silent = [r for r in silent if r != self.rank]
        who = f"rank{'s' if len(silent) > 1 else ''} {', '.join(map(str, silent))}"
        print(
            f"error: {who} silent for {self.seconds:g} s, seen from rank {self.rank}. What was "
            "saved stays: run the same command to go on.",
            file=sys.stderr,
            flush=True,
        )
        # The main thread waits inside a collective operation, which no exception can reach.
        os._exit(RankError.exit_code)
