"""Pairs of answers: the one to go to, and the one to go away from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from ornstein.core import Denoiser, Estimate, Level
from ornstein.errors import UsageError
from ornstein.guide.mix import Pair, mixed, towards

# Up to so many rows both answers are asked in one batch: small batches gain, large ones leave the
# cache.
TOGETHER = 32


class Conditional(Protocol):
    """A model that takes conditions, such as ``ornstein.model.Model``."""

    def __call__(self, x: Tensor, level: Level, cond: Mapping[str, Tensor], /) -> Estimate: ...


def together(model: Conditional, cond: Mapping[str, Tensor], null: Mapping[str, Tensor]) -> Pair:
    """One model under two conditions; small batches are asked both at once.

    Args:
        model: Answers (x, level, cond).
        cond: The condition, one row per item.
        null: What stands for no condition, or the condition to go away from (a negative one),
            under the same names.

    Raises:
        UsageError: the two conditions have different names.
    """
    if set(cond) != set(null):
        raise UsageError(
            f"guidance needs the same names on both sides, got {sorted(cond)} and {sorted(null)}."
        )

    def both(x: Tensor, level: Level) -> tuple[Estimate, Estimate]:
        if len(x) > TOGETHER or level.alpha.ndim:
            return model(x, level, cond), model(x, level, null)
        joined = {name: torch.cat([cond[name], null[name]]) for name in cond}
        answer = model(torch.cat([x, x]), level, joined)
        sure, free = (
            Estimate._make(None if part is None else part.chunk(2)[k] for part in answer)
            for k in (0, 1)
        )
        return sure, free

    return both


def apart(good: Denoiser, bad: Denoiser) -> Pair:
    """Two denoisers, such as a model and a smaller or less trained one (arXiv:2406.02507)."""
    return lambda x, level: (good(x, level), bad(x, level))


def classifier_free(
    model: Conditional, cond: Mapping[str, Tensor], null: Mapping[str, Tensor], scale: float
) -> Denoiser:
    """Classifier-free guidance: D_null + scale·(D_cond - D_null), for x0 and eps alike.

    (arXiv:2207.12598, eq. 6, whose w is scale - 1.) Scale 1 is off and costs nothing; 0 ignores
    the condition; above 1 trades diversity for fidelity. The model must have been trained with
    conditions dropped.

    Args:
        model: Answers (x, level, cond).
        cond: The condition, one row per item.
        null: What stands for no condition, under the same names.
        scale: Weight of the difference that the condition makes.

    Raises:
        UsageError: the two conditions have different names.
    """
    pair = together(model, cond, null)
    if scale == 1:
        return lambda x, level: model(x, level, cond)
    return mixed(pair, towards(scale))
