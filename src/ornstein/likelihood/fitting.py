"""What a likelihood asks of a trained model, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ornstein.bound.decoder import Standardised
from ornstein.core import Denoiser, Level, Process, item_normal
from ornstein.errors import UsageError


class Coded(Standardised, Protocol):
    """The map between raw units and the model's, such as ``ornstein.data.Coding``."""

    @property
    def step(self) -> float | None: ...

    def encode(self, raw: Tensor, /) -> Tensor: ...


class Trained(Protocol):
    """A trained model, such as ``ornstein.bundle.Bundle``."""

    @property
    def coding(self) -> Coded: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def device(self) -> torch.device: ...

    def make_process(self) -> Process: ...
    def denoiser(self, cond: Mapping[str, Tensor] | None = None, /) -> Denoiser: ...


def ends_of(model: Trained, least: float | None = None) -> tuple[Level, Level]:
    """The level to stop at and the level to start from: the ends of the process of training."""
    process = model.make_process()
    low, high = process.span
    return process.level(high if least is None else -2 * math.log(least)), process.level(low)


def check_items(model: Trained, raw: Tensor, width: float | None) -> None:
    """Refuse items of another shape, or of another kind of number than the model has learned.

    Raises:
        UsageError: which of the two.
    """
    if len(raw) == 0 or tuple(raw.shape[1:]) != tuple(model.shape):
        raise UsageError(
            f"the items have shape {tuple(raw.shape)}; this model knows items of shape "
            f"{tuple(model.shape)}, one or more of them."
        )
    if width is None:
        if not raw.is_floating_point():
            raise UsageError(
                "this model has learned real numbers and these items are whole numbers, so that "
                "a density would compare unlike things. Convert them as its training data were."
            )
        return
    steps = (raw.double() - float(model.coding.low or 0)) / width
    if not bool(((steps - steps.round()).abs() < 1e-6).all()):
        raise UsageError(
            f"this model has learned levels {width:g} apart and these items lie between them, so "
            "they have no probability. Give the levels as they are; the noise between them is "
            "added here."
        )


def check_draws(draws: int, width: float | None, exact: bool) -> None:
    """Refuse draws of a dequantisation that is not there, or that random probes would spoil.

    Raises:
        UsageError: which of the two.
    """
    if draws < 1:
        raise UsageError(f"dequantisation needs at least one draw, got {draws}.")
    if draws > 1 and width is None:
        raise UsageError(
            "several draws are for levels; real numbers need no dequantisation. Leave draws at 1."
        )
    if draws > 1 and not exact:
        raise UsageError(
            "several draws are averaged before the logarithm, where the noise of random probes "
            "would pass for likelihood. Take the exact trace, probes=0, or one draw."
        )


def between_levels(raw: Tensor, width: float, numbers: Sequence[int], seed: int) -> Tensor:
    """Levels with uniform noise as wide as a level added, (n, *D) float64.

    Args:
        raw: Levels.
        width: Distance of two of them.
        numbers: Number of each row, of which and of the seed its noise is a function.
        seed: Another one, other noise.
    """
    normal = item_normal(seed, numbers, raw.shape[1:], stream="dequantise").double()
    filled: Tensor = raw.double() + width * (torch.special.ndtr(normal) - 0.5)
    return filled
