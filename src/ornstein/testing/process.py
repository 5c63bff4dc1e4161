"""Does a process lose signal steadily, and do its time, drift and diffusion belong together?"""

from __future__ import annotations

import math

import torch

from ornstein.core import Process
from ornstein.core.grid import karras
from ornstein.solvers import DPMpp2M
from ornstein.testing.affine import gap, law_after, noised
from ornstein.testing.report import Finding, Report, report
from ornstein.testing.solver import GAUSSIAN

TIMES = torch.linspace(0, 1, 1001, dtype=torch.float64)


def check_process(process: Process) -> Report:
    """Measure a process.

    The findings are "levels" (finite, never negative), "fall" (the log-SNR falls at every time),
    "time" (is the inverse of the schedule), "span" (finite, within the log-SNRs of the process),
    "drift" and "diffusion" (agree with differences of alpha and sigma²) and "law" (a walk on its
    levels gives the law of the data).
    """
    return report(
        type(process).__name__,
        {
            "levels": lambda: _levels(process),
            "fall": lambda: _fall(process),
            "time": lambda: _time(process),
            "span": lambda: _span(process),
            "drift": lambda: _rate(process, drift=True),
            "diffusion": lambda: _rate(process, drift=False),
            "law": lambda: _law(process),
        },
    )


def _levels(process: Process) -> Finding:
    level = process(TIMES)
    scales = torch.stack([level.alpha, level.sigma]) + 0.0
    good = bool(torch.isfinite(scales).all() & (scales >= 0).all() & (level.norm > 0).all())
    (a, b), (c, d) = scales[:, [0, -1]].tolist()
    ends = f"alpha {a:.3g} to {b:.3g}, sigma {c:.3g} to {d:.3g}"
    return Finding(good, ends if good else f"alpha or sigma is negative or not finite: {ends}")


def _fall(process: Process) -> Finding:
    snr = process(TIMES).log_snr
    wrong = (~(snr[1:] < snr[:-1])).nonzero()
    if len(wrong):
        at = float(TIMES[int(wrong[0])])
        return Finding(False, f"the log-SNR does not fall after time {at:.3f}", at)
    return Finding(True, f"the log-SNR falls from {float(snr[0]):.4g} to {float(snr[-1]):.4g}")


def _time(process: Process) -> Finding:
    inside = TIMES[1:-1]
    error = gap([process.time(process(inside).log_snr)], [inside])
    return Finding(error < 1e-6, f"time(log_snr) returns to its time within {error:.0e}", error)


def _span(process: Process) -> Finding:
    low, high = process.span
    least, most = (float(process(t).log_snr) for t in (1.0, 0.0))
    good = math.isfinite(high - low) and least - 1e-9 <= low < high <= most + 1e-9
    return Finding(good, f"log-SNR {low:.4g} to {high:.4g}, of {least:.4g} to {most:.4g}")


def _rate(process: Process, drift: bool) -> Finding:
    """Compare with differences of the schedule over a short time: another road to the same."""
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64) + 3e-4  # off the knots of any table
    dt = 1e-6
    before, at, after = process(t - dt), process(t), process(t + dt)
    f = (after.alpha.log() - before.alpha.log()) / (2 * dt)
    g2 = (after.sigma**2 - before.sigma**2) / (2 * dt) - 2 * f * at.sigma**2
    got, want = (process.drift(t), f) if drift else (process.diffusion2(t), g2)
    error = gap([got / (1 + want.abs())], [want / (1 + want.abs())])
    text = f"as differences of the levels have it, within a share of {error:.0e}"
    return Finding(error < 1e-4, text, error)


def _law(process: Process) -> Finding:
    levels = karras(process, 100)
    got, want = law_after(DPMpp2M(), GAUSSIAN, levels), noised(GAUSSIAN, levels[-1])
    error = gap(got, want) / float(levels.alpha[-1]) ** 2
    text = f"mean and covariance of Gaussian data are met within {error:.1g} in 100 steps"
    return Finding(error < 0.05, text, error)
