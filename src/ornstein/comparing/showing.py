"""The figure of a comparison: samples of the first seed side by side, and its main numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ornstein.comparing.comparison import Comparison
from ornstein.comparing.families import FAMILIES
from ornstein.comparing.measuring import samples
from ornstein.data import Dataset
from ornstein.viz import limits_of, sheet
from ornstein.viz.compared import Panel, draw_comparison

GRID = 36
CLOUDS = ("vector", "table")  # kinds that are drawn together
PANELS = {
    "frechet": "linear", "matched": "linear", "precision": "linear", "recall": "linear",
    "likelihood": "linear", "each": "log",
}  # fmt: skip
"""Columns that are drawn, and their scales."""


def draw(found: Comparison, data: Dataset, folder: Path) -> Path:
    """Draw a comparison into ``compare.png`` of its folder.

    Raises:
        UsageError: matplotlib is not installed, or every training diverged.
    """
    real = data.raw(data.heldout if len(data.heldout) else data.train)
    sheets = {"real, held out": _sheet(real, data)}
    for family in found.families:
        for part in found.of(family):
            items = samples(part, folder / "parts")
            if items is not None:
                sheets[f"{FAMILIES[family].title}, seed {part.seed}"] = _sheet(items, data)
                break
    return draw_comparison(sheets, _panels(found), folder / "compare.png")


def _panels(found: Comparison) -> list[Panel]:
    titles = found.titles()
    gone = "frechet" if "matched" in titles else ""  # the one with a floor is drawn
    return [
        Panel(
            titles[name],
            {FAMILIES[family].title: found.values(name, family) for family in found.families},
            found.floor.get(name),
            scale,
        )
        for name, scale in PANELS.items()
        if name in titles and name != gone
    ]


def _sheet(items: np.ndarray, data: Dataset) -> Image.Image:
    """The first items; pictures in a grid, vectors as a cloud in the axes of the real ones."""
    if data.kind == "image":
        return sheet(data.coding.show(items[:GRID]), data.kind)
    shown = items if data.kind in CLOUDS else items[: GRID // 2]
    limits = limits_of([data.raw(data.train)], data.kind)
    return sheet(shown[:1000], data.kind, limits=limits, labels=data.coding.captions)
