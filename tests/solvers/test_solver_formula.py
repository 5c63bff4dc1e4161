"""The one formula of the multistep and single-step solvers, and what goes wrong with it elsewhere.

Truths: the transport that keeps the distribution function, scipy's integrals, textbook weights.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from ornstein.core import GRIDS, PROCESSES, VP, Level, Mixture
from ornstein.errors import UsageError
from ornstein.solvers import (
    ANGLE,
    BH1,
    BH2,
    DATA,
    DDIM,
    EXACT,
    FLOW,
    IPNDM,
    LOG_SNR,
    RHO,
    SOLVERS,
    Clock,
    DPMpp3M,
    Frame,
    Multistep,
    SingleStep,
    Solver,
    Tapered,
    UniPC,
    clock_of,
    sample,
)
from ornstein.solvers.weights import Span

MIXTURE = Mixture(
    *(torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.4], [[-1.0], [0.7]], [0.2, 0.4]))
)
X = torch.linspace(-2.5, 2.5, 21, dtype=torch.float64)[:, None]
FRAMES = {"rho": RHO, "data": DATA, "flow": FLOW, "angle": ANGLE}
CLOCKS = {"own": None, "log-snr": LOG_SNR, "vp": clock_of(VP())}


def path(steps: int, first: float = -10, last: float = 5) -> Level:
    """Uniform in log-SNR on the variance-preserving scale; the end is not clean."""
    log_snr = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    return Level(log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt())


@cache
def truth() -> Tensor:
    """Where the path leads, whatever its steps."""
    ends = path(1)
    return MIXTURE.transport(X, ends[0], ends[1])


def error(solver: Solver, steps: int) -> float:
    return float((sample(MIXTURE, X, path(steps), solver) - truth()).abs().mean())


def measured(solver: Solver, steps: int = 96) -> float:
    """The order of accuracy."""
    return math.log2(error(solver, steps) / error(solver, 2 * steps))


# All but 1/rho itself for x0: it grows 1,800-fold on this path, and x0 is no polynomial in it.
@pytest.mark.parametrize(
    ("frame", "clock"), [pair for pair in product(FRAMES, CLOCKS) if pair != ("data", "own")]
)
def test_a_polynomial_on_any_clock_in_any_frame_has_the_order_of_its_answers(
    frame: str, clock: str
) -> None:
    # A peer's method for v (REABSampler) is of first order whatever it claims, by the sigma of t
    # where that of s is meant; here it is the angle on the log-SNR.
    solver = Multistep(FRAMES[frame], CLOCKS[clock], points=3)
    assert measured(solver) == pytest.approx(3, abs=0.2)


OTHERS: dict[str, tuple[Solver, int]] = {
    "UniPC-2 in eps, bh1": (UniPC(RHO, LOG_SNR, 2, BH1), 3),
    "UniPC-2 in eps, bh2": (UniPC(RHO, LOG_SNR, 2, BH2), 3),
    "UniPC-2 in velocity": (UniPC(FLOW, LOG_SNR, 2, BH2), 3),
    "UniPC-1, bh1": (UniPC(DATA, LOG_SNR, 1, BH1), 2),
    "UniPC-1 in eps, bh2": (UniPC(RHO, LOG_SNR, 1, BH2), 2),
    "UniP-2, bh1": (Multistep(DATA, LOG_SNR, 2, BH1), 2),
    "UniP-2 in eps, bh1": (Multistep(RHO, LOG_SNR, 2, BH1), 2),
    "four answers": (Multistep(DATA, LOG_SNR, 4), 4),
    "Heun in lambda": (SingleStep(DATA, LOG_SNR, (1.0,)), 2),
    "Heun in v": (SingleStep(ANGLE, None, (1.0,)), 2),
    "off the middle": (SingleStep(DATA, LOG_SNR, (0.7,)), 2),
    "off the middle in velocity": (SingleStep(FLOW, None, (0.3,)), 2),
    "3S in velocity": (SingleStep(FLOW, LOG_SNR, (1 / 3, 2 / 3), EXACT), 3),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_members_of_the_family_have_their_order_too(name: str) -> None:
    solver, order = OTHERS[name]
    assert solver.order == order
    assert measured(solver, 64 if order == 4 else 96) == pytest.approx(order, abs=0.2)


def test_ipndm_is_of_fourth_order_where_rho_falls_evenly() -> None:
    # Adams and Bashforth's own case: one clock for answers and integral, in even steps. Started
    # from exact answers, since a start at first order would stay in the error.
    solver, error = IPNDM(), []
    for steps in (80, 160):
        rho = torch.linspace(2.0, 0.5, steps + 1, dtype=torch.float64)
        levels, state = Level(torch.ones_like(rho), rho), solver.init()
        for t, s in pairwise(levels[i] for i in range(steps + 1)):
            if float(t.rho) > float(rho[4]):
                x = MIXTURE.transport(X, levels[0], t)
            x, state = solver.step(MIXTURE, x, t, s, state, torch.zeros_like)
        error.append(float((x - MIXTURE.transport(X, levels[0], levels[-1])).abs().mean()))
    assert math.log2(error[0] / error[1]) == pytest.approx(4, abs=0.2)


def densities(frame: str, u: float) -> float:
    """dm/du on u = the log-SNR, of each frame's clock m."""
    half = u / 2
    return {
        "rho": -0.5 * math.exp(-half),
        "data": 0.5 * math.exp(half),
        "flow": -0.125 / math.cosh(half / 2) ** 2,
        "angle": -0.25 / math.cosh(half),
    }[frame]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("start", "length"), [(-12, 18), (-3, 2), (0.5, 1e-3), (4, 1e-6)])
def test_moments_are_the_integrals_whatever_the_length_of_a_step(
    frame: str, start: float, length: float
) -> None:
    t, s = path(1, start, start + length)[0], path(1, start, start + length)[1]
    span = Span(FRAMES[frame], LOG_SNR, t, s)
    scale = float(FRAMES[frame].scale(s))
    for k, got in enumerate([span.stride, *span.moments(3)]):
        want, _ = quad(
            lambda u, k=k: length * u**k * densities(frame, start + length * u),
            0, 1, epsabs=0, epsrel=1e-12,
        )  # fmt: skip
        assert float(got) == pytest.approx(scale * want, rel=1e-8)


def test_unipc_of_third_order_without_its_corrector_is_dpm_solver_3m_with_the_whole_bend() -> None:
    # B(h) drops out of three answers' weights: the two rules differ at the second step only.
    plain = [error(Multistep(DATA, LOG_SNR, 3, rule), 100) for rule in (BH1, BH2)]
    assert plain[0] == pytest.approx(plain[1], rel=0.02)
    one, two = (
        sample(MIXTURE, X, path(9), s) for s in (Multistep(DATA, LOG_SNR, 3, BH2), DPMpp3M())
    )
    assert torch.equal(one, two)


def test_the_corrector_costs_no_question_and_brings_the_point_nearer() -> None:
    # Figure 1 of the paper: at equal questions UniPC-2 is nearer than UniP-2.
    for steps in (15, 30):
        assert error(UniPC(), steps) < 0.6 * error(Multistep(DATA, LOG_SNR, 2, BH2), steps)


def test_a_tapered_walk_ends_with_steps_of_second_and_first_order() -> None:
    levels, x = path(8), X
    solver, state = DPMpp3M(), DPMpp3M().init()
    for i, points in enumerate([3] * 6 + [2, 1]):
        x, state = replace(solver, points=points).step(
            MIXTURE, x, levels[i], levels[i + 1], state, torch.zeros_like
        )
    assert torch.equal(x, sample(MIXTURE, X, levels, Tapered(solver, 8)))
    shorter = sample(MIXTURE, X, levels[:8], Tapered(solver, 8))
    last = sample(MIXTURE, shorter, levels[7:], DDIM())
    torch.testing.assert_close(x, last, rtol=0, atol=1e-14)


@pytest.mark.parametrize("grid", ["karras", "log-snr"])
@pytest.mark.parametrize("name", ["dpmpp-2m", "dpmpp-3m", "dpmpp-2s", "deis-3", "unipc-3"])
def test_the_cosine_chain_can_be_walked_on_any_grid(name: str, grid: str) -> None:
    # A peer rounds levels to its table's steps; several fall on one there, and from 8 steps on it
    # crashes in all these methods.
    pure = Level(torch.tensor(0.0), torch.tensor(1.0))
    for steps, bound in ((8, 2.0), (50, 0.05)):
        levels = GRIDS[grid](PROCESSES["cosine"](), steps)
        x = MIXTURE.transport(X, pure, levels[0])
        end = sample(MIXTURE, x, levels, SOLVERS[name]())
        assert float((end - MIXTURE.transport(X, pure, levels[-1])).abs().mean()) < bound


@pytest.mark.parametrize("name", ["dpmpp-3m", "unipc-3", "deis-t-3", "angle-ab-3", "lms", "dpm-3"])
def test_each_item_may_have_levels_of_its_own(name: str) -> None:
    grids = [path(6, first) for first in (-8, -5, -6.5)]
    stacked = [
        Level(*(torch.stack([getattr(g, part)[i] for g in grids]) for part in ("alpha", "sigma")))
        for i in range(7)
    ]
    solver, x = SOLVERS[name](), X[[2, 9, 15]]
    state, together = solver.init(), x
    for t, s in pairwise(stacked):
        together, state = solver.step(MIXTURE, together, t, s, state, torch.zeros_like)
    alone = torch.cat([sample(MIXTURE, x[k : k + 1], g, solver) for k, g in enumerate(grids)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


def test_clocks_and_frames_lead_back_to_the_level() -> None:
    levels = path(5)
    clocks: list[Clock] = [LOG_SNR, clock_of(VP()), clock_of(PROCESSES["edm"]())]
    frames: list[Frame] = [RHO, DATA, FLOW, ANGLE]
    for clock in [*clocks, *(frame.clock for frame in frames)]:
        back = clock.level(clock(levels))
        torch.testing.assert_close(back.log_snr, levels.log_snr, rtol=1e-9, atol=1e-9)


def test_numbers_that_make_no_solver_are_refused() -> None:
    with pytest.raises(UsageError, match="1 answer or more, got 0"):
        Multistep(RHO, LOG_SNR, points=0)
    for inner in ((), (0.0,), (0.5, 1.5)):
        with pytest.raises(UsageError, match="above 0 and up to 1"):
            SingleStep(RHO, LOG_SNR, inner)
