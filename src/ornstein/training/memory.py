"""Out of memory: which piece of the batch fits, found by trying, and how to keep the batch."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ornstein.errors import OutOfMemoryError, lacks_memory
from ornstein.training.compiling import explained

if TYPE_CHECKING:
    from ornstein.training.loop import Report, Trainer

try:
    import resource
except ImportError:  # Windows; torch does not tell either what a process takes
    resource = None  # type: ignore[assignment]

MISSING = (AttributeError, OSError, TypeError, ValueError)
"""What a call ends in that this system does not have, as that of a library without a name."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
KEPT, GIVEN_BACK = 1 << 30, 1 << 17  # arrays below so many bytes are kept; glibc's own choice


def fitting(trainer: Trainer, total: int) -> Report:
    """Do one step of a training of ``total``; where memory is lacking, say what would fit.

    The trainer is of no use after that: the trials leave it in the middle of nowhere. What is on
    disk is untouched.

    Raises:
        OutOfMemoryError: the step did not fit; names the largest piece of the batch that does.
        ConfigError: the network is to be compiled and cannot be.
    """
    try:
        with explained():
            return trainer.step(total)
    except (RuntimeError, MemoryError) as fault:
        if not lacks_memory(fault):
            raise
    # Out here the traceback is gone, and with it all that the failed step had stored.
    raise _too_large(trainer, _largest_piece(trainer))


def keep_freed() -> None:
    """From now on let this process keep the memory that it frees, to use it again.

    The system's allocator gives large arrays back at once, and the next step asks for them again:
    with thousands of pages to be cleared each time, up to a fifth of the step's time where a
    machine is itself a guest. The most memory that is in use is the same. Where the C library is
    not glibc nothing changes.
    """
    with suppress(*MISSING):
        system = ctypes.CDLL(None)
        system.mallopt(MMAP_THRESHOLD, KEPT)
        system.mallopt(TRIM_THRESHOLD, (1 << 31) - 1)


@contextmanager
def given_back() -> Iterator[None]:
    """Within, large arrays go back to the system when they are freed, after :func:`keep_freed`.

    For work that comes now and then, as saving does: among the arrays of the steps its own would
    one day find no hole that is large enough, and the process would grow by that.
    """
    with suppress(*MISSING):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, GIVEN_BACK)
    try:
        yield
    finally:
        keep_freed()


def used_mb(device: torch.device) -> int | None:
    """Most memory in use so far, in MB: of the device, or of this process; None if not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    if resource is None:
        return None  # type: ignore[unreachable]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most >> (20 if sys.platform == "darwin" else 10)  # bytes there, kilobytes here


def forget_peak(device: torch.device) -> None:
    """From now on :func:`used_mb` counts anew, where the system allows it."""
    _free()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(*MISSING):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed
        Path("/proc/self/clear_refs").write_text("5")


def total_mb(device: torch.device) -> int:
    """Memory that there is, in MB: of the device, or of this machine; 0 where it is not told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory >> 20
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except MISSING:
        return 0


def _too_large(trainer: Trainer, piece: int) -> OutOfMemoryError:
    """Say that a step did not fit, and that pieces of so many items do, or may with many ranks."""
    if piece == 0:
        return OutOfMemoryError(
            f"out of memory: not even one item at a time fits on {trainer.device.type}. Take a "
            "smaller network (net.size=tiny) or smaller items (--size). Nothing that was saved "
            "is lost."
        )
    mine = _mine(trainer)
    accumulate = -(-mine // piece)
    return OutOfMemoryError(
        f"out of memory: {_piece(trainer):,} items at a time do not fit on {trainer.device.type}, "
        f"{piece:,} {'do' if trainer.ranks.count == 1 else 'may'}. The same batch of "
        f"{trainer.settings.batch:,} in pieces of {-(-mine // accumulate):,}: run the same "
        f"command with accumulate={accumulate} added. Nothing that was saved is lost.",
        setting=f"accumulate={accumulate}",
    )


def _largest_piece(trainer: Trainer) -> int:
    """Bisect the largest number of items whose step fits; 0 if not even one does.

    With many ranks it is half of those that did not fit: the others know of no trials.
    """
    low, high = 0, _piece(trainer)
    if trainer.ranks.count > 1:
        return high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(trainer, middle) else (low, middle)
    return low


def _fits(trainer: Trainer, piece: int) -> bool:
    """Try a step of two pieces: in the second one the gradients of the first are held too.

    A first step makes what the optimiser remembers, and does not know yet whether it fits as well.
    """
    whole = trainer.settings
    trainer.settings = trainer.batches.settings = replace(whole, batch=2 * piece, accumulate=2)
    _free()
    try:
        remembered = _remembered(trainer)
        trainer.step(10**6)
        if _remembered(trainer) > remembered:
            trainer.step(10**6)
        return True
    except (RuntimeError, MemoryError) as fault:
        if not lacks_memory(fault):
            raise
        return False
    finally:
        trainer.settings = trainer.batches.settings = whole


def _remembered(trainer: Trainer) -> int:
    """Parameters of which the optimisers remember something."""
    return sum(len(optimizer.state) for optimizer in trainer.optimizers)


def _free() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _mine(trainer: Trainer) -> int:
    """Items of a batch that are this rank's."""
    batch = trainer.settings.batch
    return len(range(batch)[trainer.ranks.rows(batch)])


def _piece(trainer: Trainer) -> int:
    """Items that a step computes at a time."""
    batch, accumulate = trainer.settings.batch, trainer.settings.accumulate
    return -(-_mine(trainer) // min(accumulate, batch // trainer.ranks.count))
