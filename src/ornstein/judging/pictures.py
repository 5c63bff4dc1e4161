"""Pictures for a report: samples beside real items, and samples with what they are nearest to."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ornstein.evaluate import Novelty
from ornstein.judging.measuring import Measured
from ornstein.viz import limits_of, sheet, strip
from ornstein.viz.pictures import as_tiles, best_scale, enlarge
from ornstein.viz.plots import lines

GRID = 64
CLOUDS = ("vector", "table")  # kinds that are drawn together
ROWS = 10  # samples whose neighbours are shown


def sample_sheet(found: Measured) -> Image.Image:
    """Samples from all parts of the seed, evenly chosen; of vectors all."""
    return _sheet(found, found.made.items)


def real_sheet(found: Measured) -> Image.Image:
    """As many held-out items."""
    side = found.plan.reference.heldout
    return _sheet(found, found.plan.data.raw(side.index[: len(found.made.items)]))


def nearest_sheet(found: Measured, novelty: Novelty, rows: int = ROWS) -> Image.Image | None:
    """The samples that lie nearest to a training item, and these items; None where there is none.

    Each row: the relative distance, the sample, then the training items, nearest first.
    """
    data, side = found.plan.data, found.plan.reference.train
    if data.kind in CLOUDS:
        return None
    order = novelty.samples.relative.argsort()[:rows].tolist()
    drawn, labels = [], []
    limits = limits_of([found.made.items[found.mixed[: 5 * GRID]]], data.kind)
    for k in order:
        places = side.index[novelty.samples.places[k].numpy()]
        items = np.concatenate([found.made.items[found.mixed[k]][None], data.raw(places)])
        drawn.append(_tiles(found, items, limits))
        labels.append(f"{float(novelty.samples.relative[k]):.2f}")
    heads = ["sample", *(f"{n}." for n in range(1, len(drawn[0])))]
    return strip(drawn, labels, heads)


def _tiles(found: Measured, items: np.ndarray, limits: np.ndarray) -> np.ndarray:
    data = found.plan.data
    if data.kind == "series":
        return lines(items, (float(limits[0]), float(limits[1])), (120, 80))
    tiles = as_tiles(data.coding.show(items))
    return enlarge(tiles, best_scale(tiles.shape[1], tiles.shape[2], len(items), ROWS))


def _sheet(found: Measured, items: np.ndarray) -> Image.Image:
    data = found.plan.data
    count = len(items) if data.kind in CLOUDS else min(GRID, len(items))
    items = items[np.linspace(0, len(items) - 1, count).round().astype(int)]
    if data.kind == "image":
        return sheet(data.coding.show(items), data.kind)
    # Both sheets have the axes of the real items.
    real = data.raw(found.plan.reference.heldout.index)
    return sheet(items, data.kind, limits=limits_of([real], data.kind))


def data_uri(picture: Image.Image) -> str:
    """The picture itself, where an address would stand."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
