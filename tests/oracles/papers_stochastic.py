"""The solvers that draw noise, once more, as their papers or the code all use write them.

numpy alone, like its neighbour papers.py. ``draw(k, j)`` is the j-th draw of step k. From pure
noise, where sigma/alpha is infinite, and to clean data each formula is taken at its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from laws import Array, Denoise
from papers import Draw, Pairs, Walk, ancestral, from_pure_noise

# One step of y = x/alpha from sigma to after, both sigma/alpha; D(y, sigma) is the denoiser.
Step = Callable[[Callable[[Array, float], Array], Array, float, float, Callable[[], Array]], Array]


def walk(step: Step, fresh: bool = True) -> Walk:
    """Make steps in y against sigma/alpha; from pure noise all noise is ``fresh``, or none is."""

    def run(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
        for k, ((a, s), (b, r)) in enumerate(pairwise(pairs)):
            if a == 0 and fresh:
                x = b * D(x, a, s) + r * draw(k)
            elif a == 0:
                x = from_pure_noise(D, x, s, b, r)
            elif r == 0:
                x = b * D(x, a, s)
            else:
                ask = lambda y, sigma, b=b: D(b * y, b, b * sigma)  # noqa: E731
                x = b * step(ask, x / a, s / a, r / b, partial(draw, k))
        return x

    return run


def split(sigma: float, after: float) -> tuple[float, float]:
    """k-diffusion's get_ancestral_step for eta = 1: where to step down to, and the noise back."""
    up = min(after, math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2))
    return math.sqrt(after**2 - up**2), up


def euler_ancestral(D, y, sigma, after, draw):  # noqa: ANN001, ANN201 - a Step
    down, up = split(sigma, after)
    d = (y - D(y, sigma)) / sigma
    return y + d * (down - sigma) + up * draw()


def dpm2_ancestral(D, y, sigma, after, draw):  # noqa: ANN001, ANN201 - a Step
    down, up = split(sigma, after)
    middle = math.exp(0.5 * (math.log(sigma) + math.log(down)))
    d = (y - D(y, sigma)) / sigma
    inner = y + d * (middle - sigma)
    d = (inner - D(inner, middle)) / middle
    return y + d * (down - sigma) + up * draw()


def dpmpp_2s_ancestral(D, y, sigma, after, draw):  # noqa: ANN001, ANN201 - a Step
    down, up = split(sigma, after)
    h = math.log(sigma) - math.log(down)
    inner = math.exp(-0.5 * h) * y - math.expm1(-0.5 * h) * D(y, sigma)
    y = math.exp(-h) * y - math.expm1(-h) * D(inner, math.exp(-0.5 * h) * sigma)
    return y + up * draw()


def churn(D, y, sigma, after, draw):  # noqa: ANN001, ANN201 - a Step
    """EDM, algorithm 2, with the gamma that undoes half of the step."""
    gamma = math.sqrt(sigma / after) - 1
    hat = sigma + gamma * sigma
    y = y + math.sqrt(hat**2 - sigma**2) * draw()
    d = (y - D(y, hat)) / hat
    moved = y + (after - hat) * d
    return y + (after - hat) * (d + (moved - D(moved, after)) / after) / 2


def reverse_vp(D, y, sigma, after, draw):  # noqa: ANN001, ANN201 - a Step
    """Score SDE, eq. 6 with eq. 11, by Euler and Maruyama; beta from 0.1 to 20."""
    t, s = (  # of the integral of beta, 0.1·t + 9.95·t² = log(1 + sigma²)
        (math.sqrt(0.01 + 4 * 9.95 * math.log1p(v * v)) - 0.1) / (2 * 9.95) for v in (sigma, after)
    )
    alpha, beta = 1 / math.sqrt(1 + sigma * sigma), 0.1 + 19.9 * t
    x, variance = alpha * y, 1 - alpha * alpha
    score = (alpha * D(y, sigma) - x) / variance
    x = x + (0.5 * beta * x + beta * score) * (t - s) + math.sqrt(beta * (t - s)) * draw()
    return x * math.sqrt(1 + after * after)


def sde_dpmpp(D: Denoise, x: Array, pairs: Pairs, draw: Draw, order: int = 2) -> Array:
    """k-diffusion's SDE-DPM-Solver++ 2M and 3M for eta = 1, with the whole of D2 in 3M."""
    old: list[tuple[Array, float]] = []
    for k, ((a, s), (b, r)) in enumerate(pairwise(pairs)):
        x0 = D(x, a, s)
        if a == 0 or r == 0:
            x = b * x0 + (r * draw(k) if r > 0 else 0)
            old = [(x0, s / a), *old] if a > 0 else []
            continue
        h = math.log(s / a) - math.log(r / b)
        twice = 2 * h
        y = (r / b) / (s / a) * math.exp(-h) * x / a - math.expm1(-twice) * x0
        places = [(math.log(before / (s / a)) / h, answer) for answer, before in old[: order - 1]]
        if len(places) == 1:
            ((r0, one),) = places
            y = y - 0.5 * math.expm1(-twice) * (x0 - one) / r0
        elif places:
            (r0, one), (r01, two) = places
            r1 = r01 - r0
            near, far = (x0 - one) / r0, (one - two) / r1
            d1, d2 = near + (near - far) * r0 / (r0 + r1), (near - far) / (r0 + r1)
            phi2 = math.expm1(-twice) / twice + 1
            phi3 = phi2 / twice - 0.5
            y = y + phi2 * d1 - 2 * phi3 * d2
        x = b * (y + r / b * math.sqrt(-math.expm1(-twice)) * draw(k))
        old = [(x0, s / a), *old]
    return x


def stochastic_adams(answers: list[tuple[Array, float]], start: float, end: float) -> Array:
    """SA-Solver, eq. 13-17 for tau = 1: the integral of Lagrange's polynomial, by Gauss's rule."""
    u, weight = np.polynomial.legendre.leggauss(40)
    lam = start + 0.5 * (u + 1) * (end - start)
    weight = weight * 0.5 * (end - start) * 2 * np.exp(-2 * (end - lam))
    total = np.zeros_like(answers[0][0])
    for j, (answer, place) in enumerate(answers):
        others = [other for i, (_, other) in enumerate(answers) if i != j]
        basis = np.prod([(lam - o) / (place - o) for o in others], axis=0)
        total = total + (weight * basis).sum() * answer
    return total


def sa_solver(D: Denoise, x: Array, pairs: Pairs, draw: Draw, order: int = 3) -> Array:
    """SA-Solver, algorithm 1 for tau = 1: predict, ask, correct with the same noise."""
    old: list[tuple[Array, float]] = []
    made = None
    for k, ((a, s), (b, r)) in enumerate(pairwise(pairs)):
        x0 = D(x, a, s)
        if a == 0 or r == 0:
            x, made = b * x0 + (r * draw(k) if r > 0 else 0), None
            continue
        start, end = math.log(a / s), math.log(b / r)
        old = [(x0, start), *old][: order + 1]
        if made is not None:
            rest, used, before = made
            x = rest + a * stochastic_adams(old[: used + 1], before, start)
        h = end - start
        rest = r / s * math.exp(-h) * x + r * math.sqrt(-math.expm1(-2 * h)) * draw(k)
        used = min(order, len(old))
        x = rest + b * stochastic_adams(old[:used], start, end)
        made = rest, used, start
    return x


def langevin(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
    """NCSN, algorithm 1: five moves of alpha_i = 0.6·sigma_i²; NCSNv2's denoising is the last."""
    for k, ((a, s), (b, r)) in enumerate(pairwise(pairs)):
        if a == 0:
            x = from_pure_noise(D, x, s, b, r)
            continue
        for j in range(5 if r > 0 else 4):
            step = 0.6 * s * s
            x = x + step / 2 * (a * D(x, a, s) - x) / s**2 + math.sqrt(step) * draw(k, j)
        x = b * x / a if r > 0 else b * D(x, a, s)
    return x


def predictor_corrector(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
    """Score SDE, algorithms 1 and 5, for |z|/|score| = sigma and snr = 0.16; ancestral steps."""
    for k, ((a, s), after) in enumerate(pairwise(pairs)):
        step = 2 * (0.16 * s) ** 2
        x = x + step * (a * D(x, a, s) - x) / s**2 + math.sqrt(2 * step) * draw(k, 0)
        x = ancestral(D, x, [(a, s), after], lambda _, k=k: draw(k, 1))
    return x


WALKS: dict[str, Walk] = {
    "euler-ancestral": walk(euler_ancestral),
    "dpm-2-ancestral": walk(dpm2_ancestral),
    "dpmpp-2s-ancestral": walk(dpmpp_2s_ancestral),
    "churn": walk(churn, fresh=False),
    "euler-maruyama": walk(reverse_vp),
    "sde-dpmpp-1": partial(sde_dpmpp, order=1),
    "sde-dpmpp-2m": sde_dpmpp,
    "sde-dpmpp-3m": partial(sde_dpmpp, order=3),
    "sa-solver": sa_solver,
    "pc": predictor_corrector,
    "langevin": langevin,
}
