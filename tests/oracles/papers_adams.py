"""The Adams-Bashforth methods once more, in numpy: LMS, DEIS, iPNDM and the exponential ones.

As ``papers``: nothing here knows the project, which solves for weights from moments. Here the
Lagrange basis is integrated, in closed form or by scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from laws import Array, Denoise
from numpy.polynomial import Polynomial
from papers import Draw, Pairs, Walk, from_pure_noise
from scipy.integrate import quad

Weigh = Callable[[Sequence[Polynomial], float, float], list[float]]


def lam(a: float, s: float) -> float:
    """Half the log-SNR."""
    return math.inf if s == 0 else -math.inf if a == 0 else math.log(a / s)


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
}
