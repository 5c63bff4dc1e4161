"""Guidance: functions from denoisers to a denoiser, so they work with every solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from ornstein.core import Denoiser, Estimate, Level
from ornstein.errors import UsageError

# Up to so many rows both answers are asked in one batch: small batches gain, large ones leave the
# cache.
TOGETHER = 32


class Conditional(Protocol):
    """A model that takes conditions, such as ``ornstein.model.Model``."""

    def __call__(self, x: Tensor, level: Level, cond: Mapping[str, Tensor], /) -> Estimate: ...


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
    if set(cond) != set(null):
        raise UsageError(
            f"guidance needs the same names on both sides, got {sorted(cond)} and {sorted(null)}."
        )

    def denoise(x: Tensor, level: Level) -> Estimate:
        if scale == 1:
            return model(x, level, cond)
        if len(x) <= TOGETHER and level.alpha.ndim == 0:
            joined = {name: torch.cat([cond[name], null[name]]) for name in cond}
            both = model(torch.cat([x, x]), level, joined)
            sure, free = (
                Estimate._make(None if part is None else part.chunk(2)[k] for part in both)
                for k in (0, 1)
            )
        else:
            sure, free = model(x, level, cond), model(x, level, null)
        # A variance is that of the conditional answer.
        return sure._replace(
            x0=torch.lerp(free.x0, sure.x0, scale), eps=torch.lerp(free.eps, sure.eps, scale)
        )

    return denoise
