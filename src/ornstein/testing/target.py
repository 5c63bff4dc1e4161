"""Does a target give back x0 and eps, and does it weigh errors as it says?"""

from __future__ import annotations

import torch
from torch import Tensor

from ornstein.core import Level, Target, spread
from ornstein.errors import TargetError
from ornstein.testing.affine import gap
from ornstein.testing.report import Finding, Report, report

LEVELS = [
    Level(torch.tensor(float(a)), torch.tensor(float(s)))
    for a, s in [(1, 0.01), (0.9, 0.4), (0.6, 0.8), (1, 30), (0.02, 1), (3, 4)]
]
PURE = Level(torch.tensor(0.0), torch.tensor(1.0))
CLEAN = Level(torch.tensor(1.0), torch.tensor(0.0))


def check_target(target: Target) -> Report:
    """Measure a prediction target.

    The findings are "round trip" (what a perfect network says is read as x0 and eps), "gain" (its
    square is that of dF/dx0 at fixed x), and for "pure noise" and "clean data" that the target is
    either usable there or refused by its own check.
    """
    return report(
        type(target).__name__,
        {
            "round trip": lambda: _round_trip(target, LEVELS),
            "gain": lambda: _gain(target),
            "pure noise": lambda: _end(target, PURE),
            "clean data": lambda: _end(target, CLEAN),
        },
    )


def _points() -> tuple[Tensor, Tensor]:
    x0 = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
    return x0, x0.flip(0) ** 2 - 1


def _round_trip(target: Target, levels: list[Level]) -> Finding:
    x0, eps = _points()
    read = [
        target.estimate(target.of(x0, eps, level), level.mix(x0, eps), level) for level in levels
    ]
    error = gap([part for each in read for part in (each.x0, each.eps)], [x0, eps] * len(levels))
    return Finding(error < 1e-8, f"x0 and eps come back within {error:.0e}", error)


def _gain(target: Target) -> Finding:
    x0, eps = _points()
    ratios = []
    for level in LEVELS:
        # Another x0 and the eps that keeps x where it is.
        moved = eps - spread(level.alpha / level.sigma, eps)
        slope = (target.of(x0 + 1, moved, level) - target.of(x0, eps, level)).mean()
        ratios.append(target.gain2(level) / slope**2)
    error = gap(ratios, [torch.ones(())] * len(ratios))
    text = f"gain2 is (dF/dx0)² at fixed x, within a share of {error:.0e}"
    return Finding(error < 1e-6, text, error)


def _end(target: Target, level: Level) -> Finding:
    try:
        target.check(level)
    except TargetError:
        return Finding(True, "refused")
    found = _round_trip(target, [level])
    return Finding(found.good, found.text if found.good else "neither usable nor refused")
