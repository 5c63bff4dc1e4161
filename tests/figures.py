"""How often the tests of reliability try, and what they found: few times in a quick run, as often
as RELIABILITY asks in `make torture`, which keeps the figures.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

TORTURE = "ORNSTEIN_TORTURE"  # names the file that figures are written to


def times(quick: int, torture: int) -> int:
    """How often to try."""
    return torture if TORTURE in os.environ else quick


def quiet() -> bool:
    """Whether nobody else uses the machine, so that times mean something."""
    return os.getloadavg()[0] < (os.cpu_count() or 1)


def figure(rule: str, fault: str, found: str) -> None:
    """Write down what was found of a fault, one line of JSON."""
    if TORTURE in os.environ:
        line = json.dumps({"rule": rule, "fault": fault, "found": found})
        with Path(os.environ[TORTURE]).open("a") as file:
            file.write(line + "\n")
