"""Our solvers behind the plain numpy call in which the oracle records are written.

Any checker with the same contract can call ``adapter:solve`` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ornstein.core import Denoiser, Draw, Estimate, Level, from_x0
from ornstein.solvers import (
    BH1,
    BH2,
    DATA,
    DDIM,
    DEIS,
    DPM2,
    EXACT,
    IPNDM,
    LMS,
    LOG_SNR,
    MIDPOINT,
    PUBLISHED,
    RHO,
    Ancestral,
    Churn,
    DataAB,
    FlowAB,
    Frame,
    Heun,
    Multistep,
    Renoised,
    Rule,
    SASolver,
    SDEDPMpp,
    Solver,
    Tapered,
    UniPC,
    noisy,
    sample,
)
from ornstein.solvers.weights import Framed, bend

FRAMES = {"data": DATA, "x0": DATA, "sample": DATA, "noise": RHO, "eps": RHO, "epsilon": RHO}
Options = dict[str, Any]


class _Given:
    """The noise that a record prescribes for each step."""

    def __init__(self, noise: Callable[[int], np.ndarray]) -> None:
        self.noise = noise

    def at(self, step: int, /) -> Draw:
        return lambda x: torch.as_tensor(self.noise(step)).to(x)


def _line(kw: Options) -> Rule:
    """How a line through two answers is weighed: at its middle, or as it is."""
    return EXACT if kw.get("variant") in ("heun", "taylor") else MIDPOINT


def _parabola(kw: Options) -> Rule:
    """The published third order, unless the record asks for the whole of D2."""
    if kw.get("d2", 1) == 2:
        return _line(kw)
    line = _line(kw).weights
    return Rule(lambda span, u: (line if u.shape[-1] == 1 else PUBLISHED.weights)(span, u))


def _unipc(kw: Options) -> Multistep:
    kind = UniPC if kw.get("corrector", True) else Multistep
    rule = {"bh1": BH1, "bh2": BH2}[kw.get("B", "bh2")]
    frame = FRAMES[kw.get("predict", "data")]
    return kind(frame, LOG_SNR, kw.get("order", 2), rule)


def _dpm(frame: Frame, kw: Options) -> Multistep:
    order = kw.get("order", 2)
    rule = _parabola(kw) if order == 3 else _line(kw)
    frame = FRAMES.get(kw.get("predict", ""), frame)
    return Multistep(noisy(kw["eta"]) if kw.get("eta") else frame, LOG_SNR, order, rule)


def _noised(solver: Solver, kw: Options) -> Solver:
    """The ancestral form, where the record asks for fresh noise."""
    return Renoised(solver, kw["eta"]) if kw.get("eta") else solver


def _sde(kw: Options) -> Multistep:
    order = kw.get("order", 2)
    rule = _parabola(kw) if order == 3 else _line(kw)
    return SDEDPMpp(noisy(kw.get("eta", 1.0)), points=order, rule=rule)


def _churned(made: Solver, steps: int, kw: Options) -> Solver:
    """EDM's algorithm 2, whose gamma is S_churn over the number of steps."""
    if not kw.get("churn"):
        return made
    growth = min(kw["churn"] / steps, math.sqrt(2) - 1)
    return Churn(
        made, growth, kw.get("smin", 0.0), kw.get("smax", math.inf), kw.get("snoise", 1.0)
    )


MADE: dict[str, Callable[[Options], Solver]] = {
    "ddim": lambda kw: DDIM(kw.get("eta", 0.0)),
    "ddpm": lambda kw: Ancestral("large" if kw.get("large") else "small"),
    "euler": lambda kw: _noised(DDIM(), kw),
    "flow_euler": lambda kw: DDIM(),
    "heun": lambda kw: _noised(Heun(), kw),
    "dpm2": lambda kw: _noised(replace(DPM2(), inner=(kw.get("frac", 0.5),)), kw),
    "euler_ancestral": lambda kw: Renoised(DDIM(), kw.get("eta", 1.0)),
    "dpm2_ancestral": lambda kw: Renoised(DPM2(), kw.get("eta", 1.0)),
    "sde_dpmpp": _sde,
    "dpmpp": lambda kw: _dpm(DATA, kw),
    "dpm": lambda kw: _dpm(RHO, kw),
    "unipc": _unipc,
    "deis": lambda kw: DEIS(points=kw.get("order", 2)),
    "lms": lambda kw: LMS(points=kw.get("order", 4)),
    "zeab": lambda kw: DEIS(points=kw["order"]),
    "xeab": lambda kw: DataAB(points=kw["order"]),
    "vab": lambda kw: FlowAB(points=kw["order"]),
    "ipndm": lambda kw: IPNDM(points=kw.get("order", 4)),
    "sa": lambda kw: SASolver(noisy(kw.get("tau", 1.0) ** 2), points=kw.get("order", 2)),
}


def _made(name: str, steps: int, kw: Options) -> Solver:
    """The solver; lower order at the end where diffusers does so unasked, or the record asks."""
    if name not in MADE:
        raise NotImplementedError(name)
    made = _churned(MADE[name](kw), steps, kw)
    asked = kw.get("lower_order_final", name in ("unipc", "deis"))
    few = steps < kw.get("lower_order_final_below", steps + 1)
    return Tapered(made, steps) if asked and few and isinstance(made, Multistep) else made


def _groups(steps: int, order: int, alone: bool) -> list[int]:
    """Into how many questions each single step on a given grid is cut; the last one ``alone``."""
    sizes = [min(order, steps - k) for k in range(0, steps, order)]
    return [*sizes[:-1], sizes[-1] - 1, 1] if alone and sizes[-1] > 1 else sizes


def _single(denoise: Denoiser, x: Tensor, levels: Level, frame: Frame, kw: Options) -> Tensor:
    """DPM-Solver's single-step methods where the inner levels are those of the grid itself."""
    kind, steps, order = Framed(frame, LOG_SNR), len(levels) - 1, kw.get("order", 2)
    alone = kw.get("lower_order_final", False) and steps % order == 0
    i = 0
    for size in _groups(steps, order, alone or float(levels.sigma[-1]) == 0):
        t, last = levels[i], ()
        first = denoise(x, t)
        now = kind.answer(first, t)
        for k in range(1, size + 1):
            s, rule = levels[i + k], EXACT if k == 3 else _line(kw)
            x = bend(frame.point(first, t, s, torch.zeros_like), rule, kind.span(t, s), now, last)
            last = () if k == size else (kind.answer(denoise(x, s), s),)
        i += size
    return x


SINGLE: dict[str, Frame] = {"dpmpp_single": DATA, "dpm_single": RHO}


def solve(
    denoiser: Callable[[np.ndarray, float, float], np.ndarray],
    start: np.ndarray,
    grid: Sequence[tuple[float, float]],
    solver: str,
    *,
    noise: Callable[[int], np.ndarray] | None = None,
    **kw: Any,  # noqa: ANN401 - the contract of the records
) -> np.ndarray:
    """Walk from ``start`` at grid[0] to grid[-1], all in numpy float64.

    Raises:
        NotImplementedError: a solver that is not offered.
    """
    pairs = torch.tensor(grid, dtype=torch.float64)
    x, levels = torch.as_tensor(start), Level(pairs[:, 0], pairs[:, 1])

    def denoise(x: Tensor, level: Level) -> Estimate:
        x0 = denoiser(x.numpy(), float(level.alpha), float(level.sigma))
        return from_x0(torch.as_tensor(x0), x, level)

    if solver in SINGLE:
        return _single(denoise, x, levels, SINGLE[solver], kw).numpy()
    source = None if noise is None else _Given(noise)
    return sample(denoise, x, levels, _made(solver, len(grid) - 1, kw), source).numpy()
