"""The solvers of higher order once more, in numpy, with the formulas of their papers.

As ``papers``: nothing here knows the project. The project integrates by quadrature and solves for
weights; here integrals are closed forms or scipy's, and updates are written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from laws import Array, Denoise
from numpy.polynomial import Polynomial
from papers import Draw, Pairs, Walk, from_pure_noise
from scipy.integrate import quad

Weigh = Callable[[Sequence[Polynomial], float, float], list[float]]
LAMBDA = "half the log-SNR, log(a/s)"


def lam(a: float, s: float) -> float:
    """Half the log-SNR."""
    return math.inf if s == 0 else -math.inf if a == 0 else math.log(a / s)


def on_unit_scale(clock: float) -> tuple[float, float]:
    """The variance-preserving level of a lambda."""
    return 1 / math.sqrt(1 + math.exp(-2 * clock)), 1 / math.sqrt(1 + math.exp(2 * clock))


def lagrange(places: Sequence[float]) -> list[Polynomial]:
    """The polynomials that are 1 at one place and 0 at the others."""
    return [
        math.prod(
            (Polynomial([-v, 1]) / (u - v) for v in places if v != u), start=Polynomial([1.0])
        )
        for u in places
    ]


def plainly(basis: Sequence[Polynomial], low: float, high: float) -> list[float]:
    """Integrals of the basis."""
    return [p.integ()(high) - p.integ()(low) for p in basis]


def against_exp(basis: Sequence[Polynomial], low: float, high: float) -> list[float]:
    """Integrals of e^u·p(u) du, which is e^u·(p - p' + p'' - ...)."""
    whole = [sum((-1) ** k * p.deriv(k) for k in range(p.degree() + 1)) for p in basis]
    return [math.exp(high) * w(high) - math.exp(low) * w(low) for w in whole]


def against(density: Callable[[float], float]) -> Weigh:
    """Integrals of density(u)·p(u) du, by scipy."""
    return lambda basis, low, high: [
        quad(lambda u, p=p: density(u) * p(u), low, high, epsabs=1e-13, epsrel=1e-12)[0]
        for p in basis
    ]


def adams(
    D: Denoise,
    x: Array,
    pairs: Pairs,
    draw: Draw,
    *,
    order: int,
    scale: Callable[[float, float], float],
    slope: Callable[[Array, Array, float, float], Array],
    place: Callable[[float, float], float],
    weigh: Weigh,
) -> Array:
    """Adams-Bashforth on z = x/scale: the Lagrange basis in ``place``, integrated."""
    old: list[tuple[float, Array]] = []
    for (a, s), (b, r) in pairwise(pairs):
        x0 = D(x, a, s)
        eps = (x - a * x0) / s
        u, v = place(a, s), place(b, r)
        known = [(u, slope(x0, eps, a, s)), *old][:order]
        if math.isfinite(u) and math.isfinite(v):
            weights = weigh(lagrange([at for at, _ in known]), u, v)
            moved = sum(w * f for w, (_, f) in zip(weights, known, strict=True))
            x = scale(b, r) * (x / scale(a, s) + moved)
        else:
            x = b * x0 + r * eps
        old = known if math.isfinite(u) else []
    return x


def eps_of(x0: Array, eps: Array, a: float, s: float) -> Array:
    """The slope of x/a."""
    return eps


def velocity(x0: Array, eps: Array, a: float, s: float) -> Array:
    """The slope of x/(a + s)."""
    return eps - x0


def ratio(a: float, s: float) -> float:
    """sigma/alpha."""
    return s / a if a > 0 else math.inf


def vp_time(a: float, s: float, low: float = 0.1, high: float = 20.0) -> float:
    """The t at which low·t + (high - low)·t²/2 is log(1 + rho²); no place for clean data."""
    if s == 0 or a == 0:
        return math.inf
    total = math.log1p((s / a) ** 2)
    return (math.sqrt(low**2 + 2 * (high - low) * total) - low) / (high - low)


def vp_speed(t: float, low: float = 0.1, high: float = 20.0) -> float:
    """The derivative of rho = sqrt(e^total - 1) by t."""
    total = low * t + (high - low) * t * t / 2
    return (low + (high - low) * t) * math.exp(total) / (2 * math.sqrt(math.expm1(total)))


IN_RHO = {"scale": lambda a, s: a, "slope": eps_of, "place": ratio, "weigh": plainly}
IN_FLOW = {
    "scale": lambda a, s: a + s,
    "slope": velocity,
    "place": lambda a, s: s / (a + s),
    "weigh": plainly,
}
IN_LOG_RHO = {**IN_RHO, "place": lambda a, s: -lam(a, s), "weigh": against_exp}
# azula's docstring, with sigma of s where the code has sigma of t.
ROSENBROCK = {
    "scale": math.hypot,
    "slope": lambda x0, eps, a, s: (a * eps - s * x0) / math.hypot(a, s),
    "place": lambda a, s: -lam(a, s),
    "weigh": against(lambda u: 0.5 / math.cosh(u)),
}


def data_ab(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
    """The same for x/s against e^lambda, where x0 is the slope."""
    return adams(
        D, x, pairs, draw, order=3, scale=lambda a, s: s, slope=lambda x0, eps, a, s: x0,
        place=lam, weigh=against_exp,
    )  # fmt: skip


def ipndm(D: Denoise, x: Array, pairs: Pairs, draw: Draw) -> Array:
    """PNDM's transfer (DDIM's formula with a mean of the last four eps)."""
    table = [[1], [1.5, -0.5], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
    old: list[Array] = []
    for (a, s), (b, r) in pairwise(pairs):
        old = [(x - a * D(x, a, s)) / s, *old][:4]
        mean = sum(w * e for w, e in zip(table[len(old) - 1], old, strict=True))
        x = from_pure_noise(D, x, s, b, r) if a == 0 else b * (x - s * mean) / a + r * mean
    return x


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
    "lms": partial(adams, order=4, **IN_RHO),
    "deis-2": partial(adams, order=2, **IN_LOG_RHO),
    "deis-3": partial(adams, order=3, **IN_LOG_RHO),
    "deis-t-3": partial(
        adams, order=3, **{**IN_RHO, "place": vp_time, "weigh": against(vp_speed)}
    ),
    "data-ab-3": data_ab,
    "angle-ab-3": partial(adams, order=3, **ROSENBROCK),
    "flow-ab-2": partial(adams, order=2, **IN_FLOW),
    "flow-ab-3": partial(adams, order=3, **IN_FLOW),
    "flow-eab-3": partial(
        adams,
        order=3,
        **{
            **IN_FLOW,
            "place": lambda a, s: -lam(a, s),
            "weigh": against(lambda u: 0.25 / math.cosh(u / 2) ** 2),
        },
    ),
    "ipndm": ipndm,
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
