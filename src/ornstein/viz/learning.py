"""Is it learning? The errors of a training by noise level, against what the data allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ornstein.errors import UsageError
from ornstein.viz.schedule import dress, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = Mapping[str, Any]
BLUE, RED, GREEN, GREY = "#1f5aa6", "#c84830", "#288654", "#8a8f98"
MOST = 8  # moments of the training that are drawn


def draw_learning(log: Sequence[Line], path: str | Path) -> Path:
    """Draw errors by level, now and over the training, and how far it has come to remember.

    Args:
        log: Records of a training; those with "levels" are drawn.
        path: Where to write; the suffix names the format.

    Raises:
        UsageError: matplotlib is not installed, or nothing was measured yet.
    """
    found = [(int(line["step"]), line["levels"]) for line in log if line.get("levels")]
    if not found:
        raise UsageError(
            "no errors by level have been measured yet; they are with each sample grid. Wait for "
            "one, or train anew if this run was made by an older version."
        )
    figure = new_figure((12.5, 3.8))
    now, over, steps = figure.subplots(1, 3)
    _draw_now(now, found[-1][1], f"error at step {found[-1][0]:,}")
    _draw_over(over, found)
    _draw_steps(steps, found)
    path = Path(path)
    figure.savefig(path, dpi=120)
    return path


def ratio(levels: Line, part: str, source: str = "model") -> np.ndarray:
    """Error over that of the best linear denoiser on the same items, (L,)."""
    errors = levels[part]
    share: np.ndarray = np.asarray(errors[source], float) / np.asarray(errors["linear"], float)
    return share


def _draw_now(axis: Axes, levels: Line, title: str) -> None:
    across = levels["log_snr"]
    if "heldout" in levels:
        axis.plot(across, ratio(levels, "heldout"), "o-", color=BLUE, label="model, held out")
    axis.plot(across, ratio(levels, "train"), "o--", color=RED, label="model, training items")
    axis.plot(
        across, ratio(levels, "train", "memory"), ":", color=RED, label="memory, training items"
    )
    for line in axis.lines:
        line.set_markersize(3)
    _against_linear(axis, title)
    axis.legend(frameon=False, fontsize=7, loc="lower left")


def _draw_over(axis: Axes, found: Sequence[tuple[int, Line]]) -> None:
    part = "heldout" if "heldout" in found[-1][1] else "train"
    kept = [found[k] for k in np.unique(np.linspace(0, len(found) - 1, MOST).round().astype(int))]
    for place, (step, levels) in enumerate(kept):
        strength = 0.25 + 0.75 * (place + 1) / len(kept)
        axis.plot(
            levels["log_snr"],
            ratio(levels, part),
            color=BLUE,
            alpha=strength,
            label=f"step {step:,}" if place in (0, len(kept) - 1) else None,
        )
    _against_linear(axis, "held out, over the training" if part == "heldout" else "over steps")
    axis.legend(frameon=False, fontsize=7, loc="lower left")


def _draw_steps(axis: Axes, found: Sequence[tuple[int, Line]]) -> None:
    steps = [step for step, _ in found]
    for part, colour, text in (("heldout", BLUE, "held out"), ("train", RED, "training items")):
        if part in found[-1][1]:
            # Levels count equally: their geometric mean.
            means = [float(np.exp(np.log(ratio(levels, part)).mean())) for _, levels in found]
            axis.plot(steps, means, "o-", color=colour, markersize=3, label=f"error, {text}")
    told = [(s, v["memory"], v["doubt"]) for s, v in found if v.get("memory") is not None]
    if told:
        at, memory, doubt = np.array(told, dtype=np.float64).T
        axis.plot(at, memory, color=GREEN, label="way to perfect memory")
        axis.fill_between(at, memory - 2 * doubt, memory + 2 * doubt, color=GREEN, alpha=0.15)
    axis.axhline(1, color=GREY, linewidth=0.8)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_ylim(-0.3, 1.5)
    dress(axis, "mean over levels, and memory", "step")
    axis.legend(frameon=False, fontsize=7)


def _against_linear(axis: Axes, title: str) -> None:
    axis.axhline(1, color=GREY, linewidth=0.8)
    axis.text(
        0.99, 1, "best linear denoiser", color=GREY, fontsize=7, ha="right", va="bottom",
        transform=axis.get_yaxis_transform(),
    )  # fmt: skip
    dress(axis, f"{title}: share of the linear one", "log-SNR: noise left, data right")
    axis.set_yscale("log")
    low = axis.get_ylim()[0]
    highest = max(float(np.max(line.get_ydata())) for line in axis.lines)
    low, high = max(0.05, min(0.5, low)), min(10.0, 1.5 * max(1.0, highest))
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= tick <= high]
    axis.set_ylim(low, high)
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
