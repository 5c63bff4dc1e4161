"""Schedules beside each other: curves against time, and the same picture noised by each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ornstein.core import DDPM, Process
from ornstein.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES_AT = 1000  # steps into which a process of continuous time is cut to have betas


def curves(process: Process, steps: int = CURVES_AT) -> dict[str, np.ndarray]:
    """Values of a schedule at t = 1/steps, 2/steps, ..., 1.

    Any process has betas once it is cut into steps and put on the variance-preserving scale:
    1 - beta is the ratio of successive alpha² there, which for a DDPM table is the table.

    Returns:
        "t", "beta", "keep" (√(1 - beta), the factor that keeps x from growing), "alpha2" (the ᾱ of
        DDPM), "log_snr", "bits" (what x tells of a Gaussian x0 of unit variance, per dimension)
        and "norm" (standard deviation of x for data of unit variance, on the process's own scale),
        each (steps,).
    """
    if isinstance(process, DDPM):
        steps = process.steps
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    level = process(t)
    alpha2 = level.unit().alpha ** 2
    keep2 = alpha2[1:] / alpha2[:-1]
    named = {
        "t": t[1:],
        "beta": 1 - keep2,
        "keep": keep2.sqrt(),
        "alpha2": alpha2[1:],
        "log_snr": level.log_snr[1:],
        "bits": -0.5 * torch.log2(1 - alpha2[1:]),  # SNR + 1 is 1/sigma² on this scale
        "norm": level.norm[1:],
    }
    return {name: values.numpy() for name, values in named.items()}


class Panel(NamedTuple):
    """One panel: which curve, its title, the scale of its axis and what part of it is shown."""

    key: str
    title: str
    scale: str
    limits: tuple[float | None, float | None] = (None, None)


PANELS = (
    Panel("beta", "beta of a step", "log"),
    Panel("keep", "√(1 − beta): what a step keeps", "linear", (-0.03, 1.03)),
    Panel("alpha2", "signal left: alpha² (ᾱ of DDPM)", "linear", (-0.03, 1.03)),
    Panel("log_snr", "log-SNR", "linear", (-20, 12)),
    Panel("bits", "information left: ½·log₂(1 + SNR), bits", "linear", (-0.2, 6)),
    Panel("norm", "standard deviation of x", "log", (0.5, None)),
)


def compare(processes: Mapping[str, Process], path: str | Path) -> Path:
    """Draw the curves of several processes in one figure.

    Args:
        processes: Name to process.
        path: Where to write; the suffix names the format (.png, .svg, .pdf).

    Raises:
        UsageError: matplotlib is not installed, or there is nothing to draw.
    """
    if not processes:
        raise UsageError("name at least one schedule to draw.")
    figure = new_figure((12.5, 6.4))
    axes = figure.subplots(2, len(PANELS) // 2).flat
    found = {name: curves(process) for name, process in processes.items()}
    for axis, panel in zip(axes, PANELS, strict=True):
        for name, values in found.items():
            finite = np.isfinite(values[panel.key])
            axis.plot(values["t"][finite], values[panel.key][finite], label=name, linewidth=1.6)
        dress(axis, panel.title, "time t")
        axis.set_yscale(panel.scale)
        axis.set_ylim(*panel.limits)
    axes[-1].set_ylim(top=max(2.0, *axes[-1].get_ylim()))
    axes[0].legend(frameon=False, fontsize=8)
    path = Path(path)
    figure.savefig(path, dpi=120)
    return path


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of ``size`` inches that belongs to no window.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Empty
    except ImportError as error:
        raise UsageError(
            "this figure needs matplotlib, which is not installed: pip install matplotlib."
        ) from error
    return Empty(figsize=size, layout="constrained")


def dress(axis: Axes, title: str, below: str) -> None:
    """Give a panel its title, the name of its lower axis and light lines."""
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(below, fontsize=8)
    axis.tick_params(labelsize=7, which="both")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
