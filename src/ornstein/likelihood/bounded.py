"""The same answer by the variational bound, which needs no derivative of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ornstein.bound import bound
from ornstein.bound.decoder import Density, decoder_of
from ornstein.core import GRIDS, ItemNoise
from ornstein.likelihood.answer import BIT, Likelihood
from ornstein.likelihood.fitting import Trained, between_levels, check_items
from ornstein.likelihood.ode import Progress

if TYPE_CHECKING:
    import numpy as np

STEPS = 250
TERMS = ("prior", "steps", "decoder")
"""Of a bound: L_T, the sum of L_{t-1}, and L_0."""


class Point(Density):
    """The normal density around x itself: right where the last noise is below the grain of data.

    A reverse step from there would be as narrow as its grid is fine.
    """

    reads_x = True


def bounded(
    model: Trained,
    items: np.ndarray | Tensor,
    cond: Mapping[str, Tensor] | None = None,
    *,
    steps: int = STEPS,
    dequantised: bool = False,
    seed: int = 0,
    batch: int = 128,
    progress: Progress | None = None,
) -> Likelihood:
    """Bound the likelihood of raw items under the chain of a model on a grid of log-SNR.

    Args:
        model: A bundle.
        items: In raw units, (n, *shape): levels where the model learned levels.
        cond: What is said of the items, (n, ...) each by name.
        steps: Of the chain; each is one call of the network, and more are tighter, most so for
            a model that has learned no variance.
        dequantised: Whether the model learned levels with noise between them, which are then
            bounded as real numbers; else a decoder gives the levels their probabilities.
        seed: Of the noise.
        batch: Items at a time.
        progress: Told how many items are done.

    Raises:
        UsageError: the items do not fit the model.
    """
    raw, width = torch.as_tensor(items), model.coding.step
    check_items(model, raw, width)
    filled = dequantised and width is not None
    decoder = Point(tuple(model.coding.std)) if filled else decoder_of(model.coding)
    levels, dims = GRIDS["log-snr"](model.make_process(), steps), raw[0].numel()
    gained = math.log(width) if filled and width is not None else 0.0
    done: list[Tensor] = []
    terms = dict.fromkeys(TERMS, 0.0)
    for start in range(0, len(raw), batch):
        piece, numbers = raw[start : start + batch], range(start, min(start + batch, len(raw)))
        if filled and width is not None:
            piece = between_levels(piece, width, numbers, seed)
        told = {name: value[start : start + batch] for name, value in (cond or {}).items()}
        x0 = model.coding.encode(piece.double()).to(model.device)
        noise = ItemNoise(seed, numbers)
        found = bound(model.denoiser(told), x0, levels, decoder=decoder, noise=noise)
        scale = BIT if found.unit == "bits/dim" else 1.0
        done.append(dims * (gained - scale * found.items.double().cpu()))
        for name in TERMS:
            terms[name] -= scale * getattr(found, name) * len(numbers) / len(raw)
        if progress is not None:
            progress(len(numbers) + start, len(raw))
    value = torch.cat(done)
    if filled:
        terms["width"] = gained
    return Likelihood(
        items=value,
        dims=dims,
        unit="nats" if width is None else "bits",
        probe_errors=torch.full_like(value, torch.nan),
        solver=0.0,
        evaluations=float(steps),
        dequantisation="none" if width is None else "uniform noise" if filled else "exact decoder",
        of=f"bound by a chain of {steps:,} steps; the likelihood itself is no less",
        terms={name: nats / (1 if width is None else -BIT) for name, nats in terms.items()},
    )
