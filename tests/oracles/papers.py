"""Each solver once more, in numpy and in the variables of its paper or of the code all use.

Nothing here knows the project. Levels are pairs (a, s) of x = a·x0 + s·eps; D(x, a, s) is
E[x0 | x].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from laws import Array, Denoise

Pairs = Sequence[tuple[float, float]]
Draw = Callable[..., Array]  # of the number of the step, and of the draw in it
Walk = Callable[[Denoise, Array, Pairs, Draw], Array]


def from_pure_noise(D: Denoise, x: Array, s: float, b: float, r: float) -> Array:
    """The limit of every deterministic step for a -> 0, where sigma/alpha is infinite."""
    return b * D(x, 0.0, s) + r * x / s


def euler(D: Denoise, x: Array, pairs: Pairs, draw: Draw, heun: bool = False) -> Array:
    """EDM, algorithm 1 in y = x/alpha against sigma/alpha; ``heun`` is its lines 6 to 8."""
    for (a, s), (b, r) in pairwise(pairs):
        if a == 0:
            x = from_pure_noise(D, x, s, b, r)
            continue
        y, sigma, after = x / a, s / a, r / b
        d = (y - D(x, a, s)) / sigma
        moved = y + (after - sigma) * d
        if heun and r > 0:
            other = (moved - D(b * moved, b, r)) / after
            moved = y + (after - sigma) * (d + other) / 2
        x = b * moved
    return x


def flow_heun(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
    """Heun on rectified flow's dz/dt = u, z = (1 - t)·x0 + t·eps, u = (z - x0)/t."""
    for (a, s), (b, r) in pairwise(pairs):
        z, t, after = x / (a + s), s / (a + s), r / (b + r)
        u = (z - D(x, a, s)) / t
        moved = z + (after - t) * u
        if r > 0:
            other = (moved - D((b + r) * moved, b, r)) / after
            moved = z + (after - t) * (u + other) / 2
        x = (b + r) * moved
    return x


def ddim(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
    """DDIM, eq. 12 with sigma = 0, in the variance-preserving scale of the paper."""
    for (a, s), (b, r) in pairwise(pairs):
        n, m = math.hypot(a, s), math.hypot(b, r)
        abar, before = (a / n) ** 2, (b / m) ** 2
        x0 = D(x, a, s)
        eps = (x / n - math.sqrt(abar) * x0) / math.sqrt(1 - abar)
        x = m * (math.sqrt(before) * x0 + math.sqrt(max(0.0, 1 - before)) * eps)
    return x


def ancestral(D: Denoise, x: Array, pairs: Pairs, draw: Draw, large: bool = False) -> Array:
    """DDPM, eq. 6-7 and algorithm 2, with the betas the levels imply; z = 0 in the last step."""
    for k, ((a, s), (b, r)) in enumerate(pairwise(pairs)):
        n, m = math.hypot(a, s), math.hypot(b, r)
        abar, before = (a / n) ** 2, (b / m) ** 2
        alpha = abar / before
        beta = 1 - alpha
        mean = (
            math.sqrt(before) * beta / (1 - abar) * D(x, a, s)
            + math.sqrt(alpha) * (1 - before) / (1 - abar) * x / n
        )
        variance = beta if large else beta * (1 - before) / (1 - abar)
        x = m * (mean + math.sqrt(variance) * draw(k)) if r > 0 else m * mean
    return x


def dpmpp(
    D: Denoise, x: Array, pairs: Pairs, draw: Draw, order: int = 2, bend: float = 2.0
) -> Array:
    """DPM-Solver++ 1, 2M (algorithm 2), 3M; ``bend`` weighs D2 in 3M, 1 as published."""
    old: list[tuple[Array, float]] = []
    for (a, s), (b, r) in pairwise(pairs):
        clock = math.log(a / s) if a > 0 else -math.inf
        h = (math.log(b / r) if r > 0 else math.inf) - clock
        x0 = D(x, a, s)
        E1 = -math.expm1(-h)
        move = E1 * x0
        known = [o for o in old if math.isfinite(h)][: order - 1]
        if known:
            r0 = (clock - known[0][1]) / h
            near = (x0 - known[0][0]) / r0
            if len(known) == 1:
                move = move + E1 * near / 2
            else:
                r1 = (known[0][1] - known[1][1]) / h
                far = (known[0][0] - known[1][0]) / r1
                D1 = near + r0 / (r0 + r1) * (near - far)
                D2 = (near - far) / (r0 + r1)
                phi2 = 1 - E1 / h
                phi3 = phi2 / h - 0.5
                move = move + phi2 * D1 - bend * phi3 * D2
        x = r / s * x + b * move
        old = [(x0, clock), *old] if a > 0 else []
    return x


WALKS: dict[str, Walk] = {
    "ddpm": ancestral,
    "ddpm-large": partial(ancestral, large=True),
    "ddim": ddim,
    "euler": euler,
    "heun": partial(euler, heun=True),
    "heun-flow": flow_heun,
    "dpmpp-1": partial(dpmpp, order=1),
    "dpmpp-2m": partial(dpmpp, order=2),
    "dpmpp-3m": partial(dpmpp, order=3),
    "dpmpp-3m-published": partial(dpmpp, order=3, bend=1.0),
}
