"""A look at a data set before training: lines for people, a table for programs, one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ornstein.data.dataset import Dataset
from ornstein.data.facts import tally
from ornstein.data.splitting import content_keys

if TYPE_CHECKING:
    from PIL import Image

_NEAR = 4.0  # grey levels of 255: mean difference of the thumbnails of near-duplicates
_MOST_COMPARED = 100_000
_PANEL = 96  # side of a drawn panel in pixels


def report(dataset: Dataset) -> list[str]:
    """What ``ornstein data`` prints, one line each."""
    shape = "x".join(str(n) for n in dataset.shape)
    what = {"image": "pictures", "series": "series", "vector": "vectors"}[dataset.kind]
    values = "256 levels" if dataset.quantised else "real numbers"
    lines = [
        f"{dataset.name}: {len(dataset):,} {what} of {shape}, {values}",
        f"{len(dataset.train):,} for training, {len(dataset.heldout):,} held out",
        f"source: {dataset.source.text}; licence {dataset.source.licence}",
        *dataset.notes,
    ]
    if dataset.refused:
        reasons = tally([r.reason for r in dataset.refused])
        lines.append(f"{len(dataset.refused):,} files left out: {reasons}")
    same, close = duplicates(dataset)
    if same or close:
        lines.append(f"{same:,} exact copies, {close:,} near-duplicates besides")
    if dataset.labels is not None:
        counts = class_counts(dataset)
        least, most = min(counts.values()), max(counts.values())
        some = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:12])
        more = f", and {len(counts) - 12:,} more" if len(counts) > 12 else ""
        lines.append(f"{len(counts):,} classes of {least:,} to {most:,}: {some}{more}")
    mean = ", ".join(f"{v:.4g}" for v in dataset.coding.mean[:4])
    std = ", ".join(f"{v:.4g}" for v in dataset.coding.std[:4])
    lines.append(f"mean {mean}; deviation {std} (measured on the training part)")
    return lines


def details(dataset: Dataset) -> dict[str, Any]:
    """The same as a dict for a JSON file, with every refused file."""
    same, close = duplicates(dataset)
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "shape": list(dataset.shape),
        "count": len(dataset),
        "train": len(dataset.train),
        "heldout": len(dataset.heldout),
        "classes": class_counts(dataset),
        "coding": dataset.coding.to_json(),
        "fingerprint": dataset.fingerprint,
        "exact_copies": same,
        "near_duplicates": close,
        "source": vars(dataset.source).copy(),
        "notes": list(dataset.notes),
        "refused": [{"path": r.path, "reason": r.reason} for r in dataset.refused],
    }


def class_counts(dataset: Dataset) -> dict[str, int]:
    """Number of items of each class, in the order of the classes; empty without labels."""
    if dataset.labels is None:
        return {}
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return {name: int(n) for name, n in zip(dataset.classes, counts, strict=True)}


def duplicates(dataset: Dataset) -> tuple[int, int]:
    """Items that are exact copies of another one, and pictures that are nearly so besides.

    Near means: the same 64-bit difference hash (brighter than the neighbour to the right, on a
    9x8 thumbnail) and thumbnails that differ by less than 4 of 255 levels on average.
    """
    keys = content_keys(dataset.items)
    _, first = np.unique(keys, return_index=True)
    same = len(keys) - len(first)
    if dataset.kind != "image" or min(dataset.shape[1:]) < 9 or len(first) > _MOST_COMPARED:
        return same, 0
    thumbs = _thumbnails(dataset, np.sort(first))
    bits = np.packbits(thumbs[:, :, 1:] > thumbs[:, :, :-1], axis=1).reshape(len(thumbs), 8)
    _, leader, group = np.unique(bits.view("<u8").ravel(), return_index=True, return_inverse=True)
    apart = np.abs(thumbs - thumbs[leader[group]]).mean(axis=(1, 2))
    follows = leader[group] != np.arange(len(thumbs))
    return same, int((follows & (apart < _NEAR)).sum())


def _thumbnails(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Grey 8x9 thumbnails in 0..255 by averaging whole pixels, (N, 8, 9) float32."""
    height, width = dataset.shape[1:]
    rows = np.linspace(0, height, 9).astype(int)[:-1]
    columns = np.linspace(0, width, 10).astype(int)[:-1]
    share = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None]
    out = np.empty((len(indices), 8, 9), dtype=np.float32)
    for start in range(0, len(indices), 4096):
        part = dataset.coding.show(dataset.raw(indices[start : start + 4096]))
        grey = part.mean(axis=1, dtype=np.float32)
        sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2)
        out[start : start + 4096] = sums / share
    return out


def contact_sheet(dataset: Dataset, n: int = 64) -> Image.Image:
    """``n`` items on one picture: pictures enlarged to whole pixels, series and points drawn.

    Items are spread evenly over the classes where there are any, and over the set.
    """
    from PIL import Image

    if dataset.kind == "vector":
        return _scatter(dataset)
    chosen = _spread(dataset, n)
    if dataset.kind == "series":
        tiles = [_curve(item) for item in dataset.raw(chosen)]
    else:
        tiles = [_tile(item) for item in dataset.coding.show(dataset.raw(chosen))]
    columns = int(np.ceil(np.sqrt(len(tiles))))
    width, height = tiles[0].width + 2, tiles[0].height + 2
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width + 1, i // columns * height + 1))
    return sheet


def _spread(dataset: Dataset, n: int) -> np.ndarray:
    """Indices of up to n items, sorted by class, evenly spaced in that order."""
    labels = dataset.labels
    order = np.arange(len(dataset)) if labels is None else np.argsort(labels, kind="stable")
    places = np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)
    return np.asarray(order[places])


def _tile(item: np.ndarray) -> Image.Image:
    from PIL import Image

    channels = item[:3] if len(item) >= 3 else item[[0, 0, 0]]
    tile = Image.fromarray(np.ascontiguousarray(channels.transpose(1, 2, 0)))
    factor = max(1, round(_PANEL / max(tile.size)))
    return tile.resize((tile.width * factor, tile.height * factor), Image.Resampling.NEAREST)


def _curve(item: np.ndarray) -> Image.Image:
    """One panel with a curve for each channel, scaled to the panel's own range."""
    from PIL import Image, ImageDraw

    panel = Image.new("RGB", (2 * _PANEL, _PANEL), "#f4f4f4")
    draw = ImageDraw.Draw(panel)
    low, high = float(item.min()), float(item.max())
    x = np.linspace(4, panel.width - 5, item.shape[1])
    colours = ("#1f4e8c", "#b5432e", "#2e7d4f", "#7a5195")
    for c, channel in enumerate(item):
        y = panel.height - 5 - (channel - low) / ((high - low) or 1.0) * (panel.height - 10)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), colours[c % 4], 1)
    return panel


def _scatter(dataset: Dataset, side: int = 480, most: int = 5000) -> Image.Image:
    """The first two coordinates of up to ``most`` points; darker where there are more."""
    from PIL import Image

    points = dataset.raw(_spread(dataset, most))
    xy = points[:, :2] if points.shape[1] > 1 else np.stack([points[:, 0], 0 * points[:, 0]], 1)
    middle = (xy.max(0) + xy.min(0)) / 2
    half = float((xy.max(0) - xy.min(0)).max()) / 2 or 1.0
    at = ((xy - middle) / half * (side / 2 - 8) + side / 2).astype(int)
    counts = np.zeros((side, side))
    for dx in (0, 1):
        for dy in (0, 1):
            np.add.at(counts, (side - 1 - at[:, 1] - dy, at[:, 0] + dx), 1)
    shade = (255 - 215 * (1 - np.exp(-counts))).astype(np.uint8)
    return Image.fromarray(shade).convert("RGB")
