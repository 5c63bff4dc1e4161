"""The description in the header of a model file: its keys, their types and their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ornstein.bundle.parts import Sampler
from ornstein.errors import ModelFileError
from ornstein.guide import Guide

MAX_OPTION = 65_536  # no width, depth or count of ours is larger
MAX_SIDE = 10**8  # of an item, or of a picture beside it: a second of sound has 48,000
MOST_STEPS, MOST_TUNED = 1000, 100  # of tuned levels, and ways that a model is tuned for

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Part(BaseModel):
    """JSON of exactly these keys and types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Made(Part):
    """A name from a table, and arguments."""

    name: Name
    options: dict[str, Any] = {}


class Manner(Part):
    """How guidance is done, where that is not the plainest way."""

    kind: Name
    low: Annotated[float, Field(ge=0)]
    high: Annotated[float, Field(gt=0)] | None
    rescale: Annotated[float, Field(ge=0, le=1)]

    @property
    def made(self) -> Guide:
        """The manner itself; it refuses what cannot be."""
        high = math.inf if self.high is None else self.high
        return Guide(self.kind, self.low, high, self.rescale)


class Sampling(Part):
    """Defaults of sampling."""

    solver: Name
    grid: Name
    schedule: Name | None
    steps: Annotated[int, Field(ge=1, le=100_000)]
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0
    guide: Manner | None = None

    @property
    def made(self) -> Sampler:
        """The same, as bundles have it."""
        guide = self.guide.made if self.guide else Guide()
        return Sampler(**self.model_dump(exclude={"guide"}), guide=guide)


def _falling(places: list[float]) -> list[float]:
    if places[-1] != 0 or any(a <= b for a, b in pairwise(places)):
        raise ValueError("places of levels must fall, to 0")
    return places


class TunedLevels(Part):
    """A solver and levels that were found for the model, and for what."""

    solver: Name
    schedule: Name
    guidance: Annotated[float, Field(ge=0, le=100)]
    places: Annotated[
        list[Annotated[float, Field(ge=0, le=1)]],
        Field(min_length=2, max_length=MOST_STEPS + 1),
        AfterValidator(_falling),
    ]
    error: Annotated[float, Field(ge=0)]
    before: Annotated[float, Field(ge=0)]
    guide: Manner | None = None


def _rising(marks: list[float]) -> list[float]:
    if any(a >= b for a, b in pairwise(marks)):
        raise ValueError("marks must rise")
    return marks


class Measured(Part):
    """The error of the model's x0 by log-SNR, as a share of that of standard normal data."""

    log_snr: Annotated[
        list[float], Field(min_length=2, max_length=10_000), AfterValidator(_rising)
    ]
    ratio: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=10_000)]

    @model_validator(mode="after")
    def _check(self) -> Measured:
        if len(self.log_snr) != len(self.ratio):
            raise ValueError("as many log-SNRs as ratios")
        return self


class Condition(Part):
    """What may be said of the items under one name."""

    name: Name
    kind: Name
    names: Annotated[list[str], Field(max_length=MAX_OPTION)]
    coding: dict[str, Any] | None
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MAX_SIDE)]], Field(max_length=3)]
    low: Annotated[list[float], Field(max_length=MAX_OPTION)]
    high: Annotated[list[float], Field(max_length=MAX_OPTION)]


class Description(Part):
    """All that the header says of a model."""

    format: int
    ornstein: Name
    net: Made
    target: Name
    process: Made
    data_std: Annotated[float, Field(gt=0, le=1e6)]
    learned: bool = False
    uncertainty: Measured | None = None
    coding: dict[str, Any]
    shape: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_SIDE)]], Field(min_length=1, max_length=4)
    ]
    classes: Annotated[list[str], Field(max_length=MAX_OPTION)] = []
    conditions: Annotated[list[Condition], Field(max_length=64)] = []
    sampler: Sampling
    tuned: Annotated[list[TunedLevels], Field(max_length=MOST_TUNED)] = []
    weights: Annotated[str, Field(max_length=200)]
    provenance: dict[str, Any]


class Recognition(Part):
    """All that the header says of a classifier."""

    format: int
    ornstein: Name
    classifier: dict[str, Any]
    data_std: Annotated[float, Field(gt=0, le=1e6)]
    coding: dict[str, Any]
    shape: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_SIDE)]], Field(min_length=1, max_length=4)
    ]
    classes: Annotated[list[str], Field(min_length=1, max_length=MAX_OPTION)]
    weights: Annotated[str, Field(max_length=200)]
    provenance: dict[str, Any]


def known(what: str, name: str, table: Mapping[str, Any]) -> None:
    """Refuse a name that is not in one of our tables."""
    if name not in table:
        raise ModelFileError(
            f"the file names a {what} '{name[:60]}' that this version does not have. It has: "
            f"{', '.join(table)}. A newer version of ornstein may have it."
        )


def bounded(value: object, depth: int = 0, most: int = MAX_OPTION) -> None:
    """Refuse options of a network that could ask for endless work: huge, long or deep ones.

    A shape may be as large as the description's own: what a network holds for each value of an
    item is among its weights, which are compared with the file's before they are made.
    """
    if isinstance(value, dict):
        parts = [(v, MAX_SIDE if k == "shape" else MAX_OPTION) for k, v in value.items()]
    else:
        parts = [(item, most) for item in value] if isinstance(value, list) else []
    if len(parts) > 64 or depth > 5 or (isinstance(value, int) and abs(value) > most):
        raise ModelFileError(
            "an option of the network is larger than anything this version makes."
        )
    for part, own in parts:
        bounded(part, depth + 1, own)
