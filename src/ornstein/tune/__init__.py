"""Solver and levels chosen from the problem: measured against a denoiser's own trajectories.

truth, fresh = (Truth.of(process, [Start(denoise, noise)]) for noise in (some, other))
best = tune(truth, fresh, steps=8).best
sample(denoise, x, best.levels(process), SOLVERS[best.solver]())
"""

from ornstein.tune.search import (
    FREE,
    Trial,
    Tuned,
    Tuning,
    candidates,
    is_deterministic,
    levels_at,
    price,
    tune,
)
from ornstein.tune.truth import TRUTH_PRICE, Start, Truth

__all__ = [
    "FREE", "TRUTH_PRICE", "Start", "Trial", "Truth", "Tuned", "Tuning", "candidates",
    "is_deterministic", "levels_at", "price", "tune",
]  # fmt: skip
