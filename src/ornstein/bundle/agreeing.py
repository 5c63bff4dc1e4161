"""Estimates of a model that upscales, made to agree exactly with the small items it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ornstein.core import Denoiser, per_item
from ornstein.data.lowered import LOW, NOISED
from ornstein.edit import Measurement, Shrink, projected

if TYPE_CHECKING:
    from ornstein.bundle.bundle import Bundle


def agreeing(bundle: Bundle, denoise: Denoiser, cond: Mapping[str, Tensor]) -> Denoiser:
    """Put the smaller versions into every estimate, of items that are told them without noise.

    E[x0 | x, low] has ``low`` for its smaller version, so this takes from the network's answer
    nothing but error. Beyond it stays what the small version does not say (the range and the null
    space of arXiv:2212.00490).

    Args:
        bundle: The model.
        denoise: Its guided denoiser.
        cond: What it is told, (B, ...) each.
    """
    factor = bundle.upscales
    if factor is None or LOW not in cond:
        return denoise
    low = cond[LOW].to(bundle.device)
    said = low.flatten(1).isfinite().all(1)
    exact = said & (cond[NOISED.format(LOW)].to(low)[:, 0] == 0)
    if not bool(exact.any()):
        return denoise
    told = per_item(exact, low).to(low)
    shrink = Shrink(factor)
    # An operator that reads 0 of an item leaves its estimate as it is.
    return projected(denoise, Measurement(lambda x0: shrink(x0) * told, low.nan_to_num() * told))
