"""The likelihood of items in raw units under a trained model, by the probability-flow ODE."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ornstein.likelihood.answer import Likelihood
from ornstein.likelihood.density import LogDensity, log_density
from ornstein.likelihood.divergence import chosen
from ornstein.likelihood.fitting import Trained, between_levels, check_draws, check_items, ends_of

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-4  # of float32 arithmetic, and far below what a hundred items can tell
CHECKED = 16  # items of which the solver's error is measured

Progress = Callable[[int, int], None]
"""Called with (items done, items in all)."""


def likelihood(
    model: Trained,
    items: np.ndarray | Tensor,
    cond: Mapping[str, Tensor] | None = None,
    *,
    draws: int = 1,
    probes: int | None = None,
    tolerance: float = TOLERANCE,
    least: float | None = None,
    seed: int = 0,
    batch: int = 128,
    progress: Progress | None = None,
) -> Likelihood:
    """How likely raw items are under a model, by the probability-flow ODE.

    Levels are made real numbers by noise as wide as a level, whose mean log density is a lower
    bound of their log-probability (arXiv:1511.01844, section 3.1). Several draws of it, averaged
    before the logarithm, raise the bound (importance-weighted, arXiv:1509.00519).

    Args:
        model: A bundle.
        items: In raw units, (n, *shape): levels where the model learned levels.
        cond: What is said of the items, (n, ...) each by name, for the likelihood given that.
        draws: Draws of the dequantisation of each item.
        probes: Hutchinson probes of the trace; 0 for the exact trace, None for what fits.
        tolerance: Of each step of the solver.
        least: rho = sigma/alpha to stop at; default the least of the process of training.
        seed: Of dequantisation and probes; item k meets the same in any batch.
        batch: Rows that are integrated together.
        progress: Told how many items are done.

    Raises:
        UsageError: the items do not fit the model, or the options each other.
    """
    raw = torch.as_tensor(items)
    width = model.coding.step
    check_items(model, raw, width)
    exact = chosen(raw[0].numel(), probes).exact
    check_draws(draws, width, exact)
    data, noise = ends_of(model, least)
    done: list[LogDensity] = []
    for rows in _pieces(len(raw), max(1, batch // draws)):
        numbers = [k * draws + draw for k in rows for draw in range(draws)]
        piece = raw[rows.start : rows.stop].repeat_interleave(draws, 0)
        if width is not None:
            piece = between_levels(piece, width, numbers, seed)
        told = {k: v[rows.start : rows.stop] for k, v in (cond or {}).items()}
        found = log_density(
            model.denoiser({k: v.repeat_interleave(draws, 0) for k, v in told.items()}),
            model.coding.encode(piece.double()).to(model.device) * float(data.alpha),
            data,
            noise,
            probes=chosen(raw[0].numel(), probes, numbers, seed),
            tolerance=tolerance,
            check=rows.start == 0,
            watch=_watching(progress, rows, len(raw)),
        )
        done.append(_gathered(found, draws))
    return _answer(model, done, raw[0].numel(), width, float(data.rho), float(data.alpha), draws)


def _pieces(count: int, size: int) -> Iterator[range]:
    """Numbers of the items in pieces, the first one small: the solver is checked on it."""
    first = min(CHECKED, size, count)
    yield range(first)
    for start in range(first, count, size):
        yield range(start, min(start + size, count))


def _watching(progress: Progress | None, rows: range, count: int) -> Callable[[float], None]:
    most = 0.0

    def watch(share: float) -> None:
        nonlocal most
        most = max(most, share)
        if progress is not None:
            progress(rows.start + int(most * len(rows)), count)

    return watch


def _gathered(found: LogDensity, draws: int) -> LogDensity:
    """One row for each item: the log of the mean density of its draws."""
    value, probe, solver, calls = (part.reshape(-1, draws) for part in found)
    mean = value.logsumexp(1) - math.log(draws)
    return LogDensity(mean, probe[:, 0], solver.mean(1), calls.sum(1))


def _answer(
    model: Trained,
    done: list[LogDensity],
    dims: int,
    width: float | None,
    rho: float,
    alpha: float,
    draws: int,
) -> Likelihood:
    """Change to raw units, and say what came out."""
    value, probe, _, calls = (torch.cat(part) for part in zip(*done, strict=True))
    std = model.coding.std
    # From x at its level to standardised x0, and from there to raw units, channel by channel.
    value = value + dims * math.log(alpha) - dims / len(std) * sum(math.log(s) for s in std)
    if width is None:
        left = f"{rho * min(std):.2g}" + (f" to {rho * max(std):.2g}" if len(set(std)) > 1 else "")
        of = (
            f"density in raw units of samples that stop at sigma/alpha = {rho:.2g}, with noise of "
            f"standard deviation {left} left: p at sigma_min, not p_0"
        )
    else:
        value = value + dims * math.log(width)
        of = (
            f"probability of levels under samples that stop at sigma/alpha = {rho:.2g}, with "
            f"noise of {rho * max(std) / width:.2g} of a level left; an upper bound of the bits"
        )
    many = f"importance-weighted, {draws} draws of uniform noise" if draws > 1 else "uniform noise"
    return Likelihood(
        items=value.cpu(),
        dims=dims,
        unit="nats" if width is None else "bits",
        probe_errors=probe.cpu(),
        solver=float(done[0].solver_error.mean()),
        evaluations=float(calls.double().mean()),
        dequantisation="none" if width is None else many,
        of=of,
    )
