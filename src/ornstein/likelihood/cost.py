"""What a likelihood will cost, told before it is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ornstein.likelihood.divergence import chosen, divergence
from ornstein.likelihood.fitting import Trained, ends_of

USUAL_CALLS = 110  # of the network for each item at a tolerance of 1e-4, as measured on pictures
ORDER = 5  # of the integrator: how the calls grow with the tolerance


class Cost(NamedTuple):
    """Passes through the network for each item, and the time for all.

    Attributes:
        forward: Calls of the network, about.
        backward: Passes back through it, about.
        seconds: By the clock, from one call measured here.
    """

    forward: int
    backward: int
    seconds: float


def cost(
    model: Trained,
    count: int,
    *,
    draws: int = 1,
    probes: int | None = None,
    tolerance: float = 1e-4,
    batch: int = 128,
) -> Cost:
    """Measure one call and tell what ``likelihood`` of ``count`` items will take, about."""
    rows = min(batch, count * draws)
    x = torch.randn(rows, *model.shape, device=model.device)
    _, noise = ends_of(model)
    denoise = model.denoiser(None)
    way = chosen(x[0].numel(), probes)
    directions = list(way.directions(x))

    def once(some: Sequence[torch.Tensor]) -> float:
        begun = time.monotonic()
        _, products = divergence(lambda z: denoise(z, noise).eps, x, some)
        products.sum().item()  # which waits for a device that works on its own
        return time.monotonic() - begun

    once(directions[:1])  # the first call pays for what later ones find ready
    few = directions[:4]
    first, several = once(few[:1]), once(few)
    each = max(0.0, several - first) / max(1, len(few) - 1)
    calls = USUAL_CALLS * (tolerance / 1e-4) ** (-1 / ORDER)
    seconds = (first + each * (len(directions) - 1)) * calls * math.ceil(count * draws / rows)
    forward = round(calls) * draws
    return Cost(forward, forward * len(directions), seconds)
