"""A training in one figure: losses, gradient norm and learning rate against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ornstein.errors import UsageError
from ornstein.viz.schedule import dress, new_figure

Log = Sequence[Mapping[str, Any]]


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and up to ``window`` - 1 before it, (N,)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    mean: np.ndarray = (total[end] - total[start]) / (end - start)
    return mean


def column(log: Log, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the records that have a finite value of this name."""
    found = [(r["step"], r[name]) for r in log if r.get(name) is not None]
    pairs = np.array(found, dtype=np.float64).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    return pairs[:, 0], pairs[:, 1]


def draw_training(log: Log, path: str | Path) -> Path:
    """Draw what a training logged.

    Args:
        log: Records with "step" and any of "loss", "heldout", "grad_norm", "rate".
        path: Where to write; the suffix names the format.

    Raises:
        UsageError: matplotlib is not installed, or nothing was logged.
    """
    steps, loss = column(log, "loss")
    if not len(steps):
        raise UsageError("nothing has been logged yet, so there is no training to draw.")
    figure = new_figure((11, 3.4))
    left, middle, right = figure.subplots(1, 3)
    left.plot(steps, loss, color="#9db7d5", linewidth=0.8)
    left.plot(steps, smooth(loss, max(1, len(loss) // 25)), color="#1f5aa6", label="training")
    held_steps, held = column(log, "heldout")
    left.plot(held_steps, held, "o-", color="#c84830", markersize=3, label="held out")
    left.legend(frameon=False, fontsize=8)
    middle.plot(*column(log, "grad_norm"), color="#288654", linewidth=0.8)
    right.plot(*column(log, "rate"), color="#8a50a6")
    for axis, title in ((left, "loss"), (middle, "gradient norm"), (right, "learning rate")):
        dress(axis, title, "step")
    # A few wild values at the start would flatten all the rest.
    seen = np.concatenate([loss, held])
    low, high = float(seen.min()), float(np.quantile(seen, 0.98))
    if high > low:
        left.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    path = Path(path)
    figure.savefig(path, dpi=120)
    return path
