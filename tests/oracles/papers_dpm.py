"""DPM-Solver, multistep and single-step, and UniPC once more, with the formulas of their papers.

As ``papers``: nothing here knows the project.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
from laws import Array, Denoise
from papers import Draw, Pairs, Walk, from_pure_noise
from papers_adams import lam


def on_unit_scale(clock: float) -> tuple[float, float]:
    """The variance-preserving level of a lambda."""
    return 1 / math.sqrt(1 + math.exp(-2 * clock)), 1 / math.sqrt(1 + math.exp(2 * clock))


def dpm_multistep(D: Denoise, x: Array, pairs: Pairs, draw: Draw, order: int) -> Array:
    """DPM-Solver in eps, as its authors' multistep code has it, with the whole of D2."""
    old: list[tuple[Array, float]] = []
    for (a, s), (b, r) in pairwise(pairs):
        e = (x - a * D(x, a, s)) / s
        now, h = lam(a, s), lam(b, r) - lam(a, s)
        if not math.isfinite(h):
            x, old = b * (x - s * e) / a + r * e if a > 0 else from_pure_noise(D, x, s, b, r), []
        else:
            y = b / a * x - r * math.expm1(h) * e
            if len(old) == 1 or (old and order == 2):
                y = y - 0.5 * r * math.expm1(h) * (e - old[0][0]) * h / (now - old[0][1])
            elif old:
                r0, r1 = (now - old[0][1]) / h, (old[0][1] - old[1][1]) / h
                near, far = (e - old[0][0]) / r0, (old[0][0] - old[1][0]) / r1
                D2 = (near - far) / (r0 + r1)
                phi2 = math.expm1(h) / h - 1
                y = y - r * phi2 * (near + r0 * D2) - 2 * r * (phi2 / h - 0.5) * D2
            x = y
        old = [(e, now), *old][:2] if a > 0 else []
    return x


def dpm_single(D: Denoise, x: Array, pairs: Pairs, draw: Draw, order: int, data: bool) -> Array:
    """DPM-Solver-2 and -3 (algorithms 1 and 2), and 2S and 3S of DPM-Solver++ (``data``)."""

    def answer(y: Array, a: float, s: float) -> Array:
        x0 = D(y, a, s)
        return x0 if data else (y - a * x0) / s

    def at(b: float, r: float, h: float, turn: Array) -> Array:
        # h and phi change sign between the two; turn is what is added to the first order.
        linear = r / s * x - b * math.expm1(-h) * f if data else b / a * x - r * math.expm1(h) * f
        return linear + (b if data else -r) * turn

    def phi1(h: float) -> float:
        return -math.expm1(-h) if data else math.expm1(h)

    def phi2(h: float) -> float:
        return 1 + math.expm1(-h) / h if data else math.expm1(h) / h - 1

    for (a, s), (b, r) in pairwise(pairs):
        h = lam(b, r) - lam(a, s)
        if not math.isfinite(h):
            x0 = D(x, a, s)
            x = b * x0 + r * (x - a * x0) / s
            continue
        f = answer(x, a, s)
        r1, r2 = (0.5, 1.0) if order == 2 else (1 / 3, 2 / 3)
        one, two = (on_unit_scale(lam(a, s) + share * h) for share in (r1, r2))
        f1 = answer(at(*one, r1 * h, 0 * f), *one)
        if order == 2:
            x = at(b, r, h, phi1(h) / (2 * r1) * (f1 - f))
            continue
        f2 = answer(at(*two, r2 * h, r2 / r1 * phi2(r2 * h) * (f1 - f)), *two)
        x = at(b, r, h, phi2(h) / r2 * (f2 - f))
    return x


def unipc(D: Denoise, x: Array, pairs: Pairs, draw: Draw, order: int, bh1: bool = False) -> Array:
    """UniPC (algorithms 1 and 2, data prediction): R, b and B(h) of its section 3.1."""

    def unified(x: Array, t: tuple, s: tuple, m0: Array, others: list) -> Array:
        """The step from t to s with answers m0 at t and ``others``, (answer, lambda)."""
        (a, sigma), (b, r) = t, s
        h = lam(b, r) - lam(a, sigma)
        hh = -h
        B = hh if bh1 else math.expm1(hh)
        y = r / sigma * x - b * math.expm1(hh) * m0
        if not others:
            return y
        places = np.array([(at - lam(a, sigma)) / h for _, at in others])
        rhs, phi = [], math.expm1(hh) / hh - 1
        for i in range(1, len(others) + 1):
            rhs.append(phi * math.factorial(i) / B)
            phi = phi / hh - 1 / math.factorial(i + 1)
        R = places[None] ** np.arange(len(others))[:, None]
        rhos = [0.5] if len(others) == 1 else np.linalg.solve(R, np.array(rhs))
        total = sum(c * (m - m0) / p for c, (m, _), p in zip(rhos, others, places, strict=True))
        return y - b * B * total

    old: list[tuple[Array, float]] = []
    last: tuple | None = None
    for t, s in pairwise(pairs):
        m0, now = D(x, *t), lam(*t)
        if last is not None:
            x = unified(*last[:4], [(m0, now), *last[4]])
        if t[0] == 0 or s[1] == 0:
            x, last = s[0] * m0 + s[1] * (x - t[0] * m0) / t[1], None
        else:
            last = (x, t, s, m0, old[: order - 1])
            x = unified(*last)
        old = [(m0, now), *old] if t[0] > 0 else []
    return x


WALKS: dict[str, Walk] = {
    "dpm-2m": partial(dpm_multistep, order=2),
    "dpm-3m": partial(dpm_multistep, order=3),
    "dpm-2": partial(dpm_single, order=2, data=False),
    "dpm-3": partial(dpm_single, order=3, data=False),
    "dpmpp-2s": partial(dpm_single, order=2, data=True),
    "dpmpp-3s": partial(dpm_single, order=3, data=True),
    "unipc-2": partial(unipc, order=2),
    "unipc-3": partial(unipc, order=3),
    "unipc-2-bh1": partial(unipc, order=2, bh1=True),
    "unipc-3-bh1": partial(unipc, order=3, bh1=True),
}
