"""The examination: all checks in turn, cheap ones first, within their time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ornstein.doctor import course, data, trials
from ornstein.doctor.patient import Finding, Patient


class Check(NamedTuple):
    """One check.

    Attributes:
        find: Yields what is wrong.
        asks: What the check looks for, as a question.
        needs: Attribute of the patient without which it cannot be made.
    """

    find: Callable[[Patient], Iterable[Finding]]
    asks: str
    needs: str


CHECKS = {
    "opening": Check(lambda p: p.wounds, "do data and model open?", "name"),
    "divergence": Check(course.divergence, "were steps not finite?", "run"),
    "disk": Check(course.disk, "is there room for the next checkpoints?", "run"),
    "memory": Check(course.memory, "is memory almost used up?", "run"),
    "pace": Check(course.pace, "did it become slow?", "run"),
    "loss": Check(course.losses, "does the loss jump or rise?", "run"),
    "memorising": Check(course.memorising, "does it learn by heart?", "run"),
    "floor": Check(course.floors, "at which levels is the best linear denoiser better?", "run"),
    "guidance": Check(trials.guidance, "is guidance too strong, or never learned?", "bundle"),
    "average": Check(course.average, "is the average of the weights far behind?", "run"),
    "range": Check(data.spread, "are there values far from all others?", "data"),
    "constant": Check(data.constant, "are there channels that never change?", "data"),
    "copies": Check(data.copies, "are items there more than once?", "data"),
    "labels": Check(data.labels, "do labels tell something of their items?", "data"),
    "prior": Check(data.prior, "does the process end in noise?", "data"),
    "sampler": Check(trials.sampler, "is the sampler innocent, on an exact denoiser?", "bundle"),
    "half": Check(trials.half, "does half precision give the same answers?", "bundle"),
    "one-batch": Check(trials.one_batch, "can one batch be learned?", "run"),
    "rate": Check(trials.rate, "would a lower rate do better?", "run"),
}
"""Checks by name, in their order; a new one is a function and a line."""


class Answer(NamedTuple):
    """What a check said.

    Attributes:
        check: Its name.
        findings: What is wrong; empty if nothing is.
        made: Whether there was time for it.
    """

    check: str
    findings: tuple[Finding, ...]
    made: bool = True


def examine(patient: Patient) -> Iterator[Answer]:
    """Make every check that can be made of this patient, as long as there is time."""
    for name, check in CHECKS.items():
        if getattr(patient, check.needs) is None:
            continue
        if patient.left <= 0:
            yield Answer(name, (), made=False)
            continue
        yield Answer(name, tuple(check.find(patient)))
