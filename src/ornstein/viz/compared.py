"""Families of models side by side: samples of each, and every number seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ornstein.errors import UsageError
from ornstein.viz.schedule import dress, new_figure


class Panel(NamedTuple):
    """One number of all families.

    Attributes:
        title: What it is.
        values: Of each family, one for each seed; empty where a family has none. Those that are
            not finite are counted, not drawn.
        real: The same of real items, if it has a meaning for them.
        scale: "linear", which starts at 0, or "log".
    """

    title: str
    values: Mapping[str, Sequence[float]]
    real: float | None = None
    scale: str = "linear"


def draw_comparison(
    sheets: Mapping[str, Image.Image], panels: Sequence[Panel], path: str | Path
) -> Path:
    """Draw a sheet of samples for each family, and below them a dot for each seed.

    Args:
        sheets: Title to picture, real items among them.
        panels: Numbers.
        path: Where to write; the suffix names the format (.png, .svg, .pdf).

    Raises:
        UsageError: matplotlib is not installed, or there is nothing to draw.
    """
    if not sheets or not panels:
        raise UsageError("there is nothing to draw: no family has samples.")
    figure = new_figure((12.5, 6.2))
    grid = figure.add_gridspec(2, 1)
    above, below = (figure.add_subfigure(grid[row]) for row in range(2))
    places = above.subplots(1, len(sheets), squeeze=False).flat
    for axis, (title, sheet) in zip(places, sheets.items(), strict=True):
        axis.imshow(sheet, interpolation="none")
        axis.set_axis_off()
        axis.set_title(title, fontsize=9)
    axes = below.subplots(1, len(panels), squeeze=False).flat
    for axis, panel in zip(axes, panels, strict=True):
        for place, values in enumerate(panel.values.values()):
            seen = [value for value in values if math.isfinite(value)]
            axis.plot([place] * len(seen), seen, "o", ms=5, alpha=0.6, color=f"C{place}")
            if words := _lacking(values):
                # At the foot, where a scale from 0 seldom has dots.
                axis.text(place, 0.03 if seen else 0.5, words, fontsize=8, color="0.5",
                          transform=axis.get_xaxis_transform(),
                          ha="center", va="bottom" if seen else "center")  # fmt: skip
        if panel.real is not None:
            axis.axhline(panel.real, color="tab:green", linewidth=1, linestyle="--")
        dress(axis, panel.title, "")
        axis.set_yscale(panel.scale)
        if panel.scale == "linear" and axis.dataLim.ymin >= 0:
            axis.set_ylim(bottom=0)
        axis.set_xticks(range(len(panel.values)), list(panel.values), fontsize=8)
        axis.set_xlim(-0.5, len(panel.values) - 0.5)
    if any(panel.real is not None for panel in panels):
        words = "a dot for each seed; dashed: real items in the place of samples"
        below.supxlabel(words, fontsize=8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def _lacking(values: Sequence[float]) -> str:
    """What is not drawn of a family."""
    many = sum(not math.isfinite(value) for value in values)
    return f"{many} of {len(values)}\nnot finite" if many else "" if values else "none"
