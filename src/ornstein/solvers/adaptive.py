"""The probability flow to a tolerance: an integrator in which each item walks at its own steps.

Peers choose one step for the whole batch, from the norm of all of it, so that a sample depends on
its neighbours. Here every item has its own time, step and verdict; what the others do changes
nothing but how long they wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import Denoiser, Level, per_item, spread
from ornstein.errors import DivergedError, LevelError
from ornstein.solvers.frame import FLOW

Parts = tuple[Tensor, ...]
"""A state of one or more tensors, each (B, *D), such as (x,) or (x, log density)."""

Slope = Callable[[Parts, Tensor], Parts]
"""The right-hand side: called with the parts and a time per item, (B,) float64."""

# Dormand and Prince (1980), orders 5 and 4: nodes, rows, and the difference of the two results.
# The last row is the fifth-order result itself, so its slope serves the next step too.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_ROWS = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


class Arrival(NamedTuple):
    """Where an integration ended.

    Attributes:
        parts: The state at the end, like the one at the start.
        errors: For each part the sum of its local error estimates, root mean square over the
            item, (B,) float64: the size of the error to expect, not a bound of it.
        evaluations: Calls of the slope that each item needed, (B,) int64; those in which a
            finished item only waits do not count.
    """

    parts: Parts
    errors: tuple[Tensor, ...]
    evaluations: Tensor


def integrate(
    slope: Slope,
    parts: Parts,
    start: Tensor | float,
    end: Tensor | float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Arrival:
    """Integrate d(parts)/d(time) = slope from ``start`` to ``end``, forwards or backwards.

    Runge-Kutta 5(4) of Dormand and Prince with the step control of Hairer, Norsett and Wanner
    (Solving Ordinary Differential Equations I, II.4), one for each item: a local error may have
    the size atol + rtol·|state|, as a root mean square over each part.

    Args:
        slope: Answers (parts, time (B,)) with the derivative of each part. It is always asked
            about the whole batch, so it may hold tensors of one row per item.
        parts: State at the start, each (B, *D).
        start: Time of each item, () or (B,).
        end: Time to reach, () or (B,).
        rtol: Local error allowed, relative to the state.
        atol: Local error allowed, absolute.

    Raises:
        DivergedError: an item's step fell below the precision of its time.
    """
    first = parts[0]
    time, end = (
        torch.as_tensor(t, dtype=torch.float64, device=first.device).expand(len(first)).clone()
        for t in (start, end)
    )
    sign = (end - time).sign()
    here = slope(parts, time)
    step = _first_step(slope, parts, here, time, end, rtol, atol)
    errors = tuple(torch.zeros_like(time) for _ in parts)
    calls, rejected = 2 * (sign != 0).long(), torch.zeros_like(time, dtype=torch.bool)
    while bool((active := time != end).any()):
        _check_step(active & (step < 10 * _ulp(time)), time)
        left = (end - time).abs()
        step = torch.minimum(step, left)
        new, there, gaps = _attempt(slope, parts, here, time, sign * step)
        size = _size(gaps, _allowed(parts, new, rtol, atol))
        done = active & (size < 1)
        time = torch.where(done, torch.where(step == left, end, time + sign * step), time)
        parts, here = _where(done, new, parts), _where(done, there, here)
        errors = tuple(
            e + torch.where(done, _rms(g), 0) for e, g in zip(errors, gaps, strict=True)
        )
        calls = calls + len(_ROWS) * active
        # A step is never raised right after it had to be lowered.
        most = torch.where(done, torch.where(rejected, 1.0, 10.0), 1.0)
        step = step * torch.minimum((0.9 * size**-0.2).nan_to_num(0.2).clamp(min=0.2), most)
        rejected = active & ~done
    return Arrival(parts, errors, calls)


def flow(
    denoise: Denoiser,
    x: Tensor,
    t: Level,
    s: Level,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Arrival:
    """Carry x from level t to level s along the probability flow, to either side.

    In the variable of rectified flow, z = x/(alpha + sigma), whose slope eps - x0 is finite from
    pure noise on.

    Args:
        denoise: Answers (x, level) with an Estimate.
        x: Points at level t, (B, *D).
        t: Level of x, () or (B,); not clean.
        s: Level to reach, () or (B,), cleaner or noisier; not clean. From there one takes
            ``denoise(x, s).x0``, or the first step of any solver.
        rtol: As in :func:`integrate`.
        atol: As in :func:`integrate`, in units of z.

    Raises:
        LevelError: one of the levels is clean.
        DivergedError: the step fell below the precision of the clock.
    """
    if bool((t.sigma == 0).any() | (s.sigma == 0).any()):
        raise LevelError(
            "the flow is followed between levels that have noise, and one of these is clean. "
            "Stop at a small sigma and take the denoiser's x0 there."
        )

    def slope(parts: Parts, clock: Tensor) -> Parts:
        level = Level(1 - clock, clock)
        return (FLOW.slope(denoise(parts[0], level), level),)

    with torch.no_grad():
        z = x / spread(FLOW.scale(t), x)
        end = integrate(slope, (z,), FLOW.clock(t), FLOW.clock(s), rtol=rtol, atol=atol)
    scale = FLOW.scale(s).to(x.device)
    return Arrival((end.parts[0] * spread(scale, x),), (end.errors[0] * scale,), end.evaluations)


def _attempt(
    slope: Slope, parts: Parts, here: Parts, time: Tensor, step: Tensor
) -> tuple[Parts, Parts, Parts]:
    """Return the state after a step, its slope, and the estimated error of each part."""
    slopes, new = [here], parts
    for node, row in zip(_NODES, _ROWS, strict=True):
        moves = _mixed(slopes, row, step)
        new = tuple(x + move for x, move in zip(parts, moves, strict=True))
        slopes.append(slope(new, time + node * step))
    return new, slopes[-1], _mixed(slopes, _ERROR, step)


def _mixed(slopes: Sequence[Parts], weights: Sequence[float], step: Tensor) -> Parts:
    """Return step·sum(weight·slope) for each part."""
    return tuple(
        spread(step, of_part[0]) * sum(w * k for w, k in zip(weights, of_part, strict=True) if w)
        for of_part in zip(*slopes, strict=True)
    )


def _first_step(
    slope: Slope, parts: Parts, here: Parts, time: Tensor, end: Tensor, rtol: float, atol: float
) -> Tensor:
    """Guess a first step per item, from the sizes of state, slope and bend (II.4 of the book)."""
    left, sign = (end - time).abs(), (end - time).sign()
    allowed = _allowed(parts, parts, rtol, atol)
    d0, d1 = _size(parts, allowed), _size(here, allowed)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    trial = torch.where(small, 1e-6, 0.01 * d0 / d1).minimum(left)
    moved = tuple(
        x + move for x, move in zip(parts, _mixed([here], (1.0,), sign * trial), strict=True)
    )
    there = slope(moved, time + sign * trial)
    bend = _size(tuple(b - a for a, b in zip(here, there, strict=True)), allowed) / trial
    steep = torch.maximum(d1, bend)
    guess = torch.where(steep <= 1e-15, (1e-3 * trial).clamp(min=1e-6), (0.01 / steep) ** 0.2)
    return guess.minimum(100 * trial).minimum(left)


def _rms(x: Tensor) -> Tensor:
    # Not reshape(len(x), -1), which has no answer for a batch of none.
    return x[:, None].flatten(1).double().square().mean(1).sqrt()


def _size(parts: Parts, allowed: Parts) -> Tensor:
    """Size of each item relative to what is allowed, (B,): that of its worst part."""
    sizes = [_rms(x / most) for x, most in zip(parts, allowed, strict=True)]
    return torch.stack(sizes).amax(0)


def _allowed(parts: Parts, new: Parts, rtol: float, atol: float) -> Parts:
    return tuple(
        atol + rtol * torch.maximum(a.abs(), b.abs()) for a, b in zip(parts, new, strict=True)
    )


def _where(done: Tensor, new: Parts, old: Parts) -> Parts:
    return tuple(torch.where(per_item(done, a), a, b) for a, b in zip(new, old, strict=True))


def _ulp(time: Tensor) -> Tensor:
    return torch.nextafter(time.abs(), torch.full_like(time, torch.inf)) - time.abs()


def _check_step(stuck: Tensor, time: Tensor) -> None:
    if bool(stuck.any()):
        item = int(stuck.nonzero()[0])
        raise DivergedError(
            f"the step of item {item} became too small to go on at time {float(time[item]):.6g}. "
            "The slope there is not smooth or not finite; look at the denoiser, or raise rtol."
        )
