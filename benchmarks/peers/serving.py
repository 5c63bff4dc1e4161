"""One piece of work, done each time it is asked for: ``python SCRIPT '{"task": "train", ...}'``.

A line on standard input asks for it once; a line of JSON on standard output answers with its
seconds. So several programs in several environments can take turns, and only one works at a time.
Needs torch only; knows nothing of ornstein.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

COUNTING = threading.Event()


@dataclass(frozen=True)
class Ask:
    """What is asked of a program.

    Attributes:
        task: "train" for a step of training, "sample" for a walk with DDIM.
        batch: Pictures in a step, or in a walk.
        steps: Evaluations of a walk that is timed.
        options: "channels_last", "bfloat16", "compile", or what the program knows besides.
    """

    task: str = "train"
    batch: int = 64
    steps: int = 4
    options: tuple[str, ...] = ()

    def has(self, option: str) -> bool:
        """Whether an option is on."""
        return option in self.options

    def shaped(self, net: nn.Module) -> Any:  # noqa: ANN401 - a compiled net is a callable
        """The network with the options that are the same for every peer."""
        if self.has("channels_last"):
            net = net.to(memory_format=torch.channels_last)
        return torch.compile(net) if self.has("compile") else net

    def autocast(self) -> torch.autocast:
        """Bfloat16 where asked, but not while operations are counted.

        Autocast fails under the counter in inference mode, and the operations are the same.
        """
        half = self.has("bfloat16") and not COUNTING.is_set()
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=half)


@dataclass(frozen=True)
class Work:
    """What a program can do.

    Attributes:
        net: The network, to be counted.
        once: Do it once.
        evaluations: Evaluations of the network when sampling with the library's defaults.
        batch: Pictures in one piece of work.
        says: What else there is to tell.
    """

    net: nn.Module
    once: Callable[[], object]
    evaluations: int
    batch: int = 64
    says: dict[str, object] = field(default_factory=dict)


def serve(prepare: Callable[[Ask], Work]) -> None:
    """Prepare what the command line asks for; then answer until standard input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    words = json.loads(sys.argv[1])
    ask = Ask(**{**words, "options": tuple(words["options"])})
    torch.manual_seed(0)
    work = prepare(ask)
    forget_peak()
    before = memory("VmRSS")
    first, flops = counted(work.once, ask.has("compile"))
    facts = {"parameters": sum(p.numel() for p in work.net.parameters()), "first": first}
    facts |= {"flops": flops, "evaluations": work.evaluations, "batch": work.batch}
    answer(out, {**facts, "threads": torch.get_num_threads(), **work.says})
    for _ in sys.stdin:
        processor = time.process_time()
        spent = seconds(work.once)
        processor = time.process_time() - processor
        grown = memory("VmHWM") - before
        answer(out, {"seconds": spent, "processor": processor, "grown": grown})


def seconds(once: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    once()
    return time.perf_counter() - start


def counted(once: Callable[[], object], compiled: bool) -> tuple[float, int | None]:
    """Do it the first time: its seconds, and the operations of all matrix products.

    Those of a compiled network cannot be counted.
    """
    first = seconds(once)
    if compiled:
        return first, None
    COUNTING.set()
    with FlopCounterMode(display=False) as counter:
        once()
    COUNTING.clear()
    return first, counter.get_total_flops()


def memory(kind: str) -> int:
    """Bytes that this process holds ("VmRSS") or held at most ("VmHWM"); 0 where not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    # Not getrusage: its peak is that of the process which started this one, if that was larger.
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(kind))


def forget_peak() -> None:
    """From now on the peak counts; what was needed to come here does not."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory otherwise
        Path("/proc/self/clear_refs").write_text("5")


def answer(out: TextIO, facts: dict[str, object]) -> None:
    """Write one line."""
    out.write(json.dumps(facts) + "\n")
    out.flush()
