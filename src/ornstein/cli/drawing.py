"""Strips and films of items at several moments, written where the user asked, and said where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from PIL import Image

from ornstein import jsons

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ornstein.data import Coding

FILM_WIDTH = 400  # a film much narrower than this is enlarged


def displayed(x: Tensor, coding: Coding) -> np.ndarray:
    """Standardised items as what a sheet draws: 8-bit pictures, or raw values."""
    return coding.picture(x) if coding.kind == "image" else coding.decode(x)


def strip_of(
    rows: Sequence[Sequence[np.ndarray]],
    kind: str,
    heads: Sequence[str],
    names: Sequence[str],
) -> Image.Image:
    """Strip of several sequences of the same moments; the rows of one item stand together."""
    from ornstein.viz import limits_of, strip, strip_rows

    limits = limits_of([frame for row in rows for frame in row], kind)
    drawn = [strip_rows(row, kind, limits) for row in rows]
    count = len(drawn[0])
    return strip([row[b] for b in range(count) for row in drawn], list(names) * count, heads)


def write(
    rows: Sequence[Sequence[np.ndarray]],
    films: Sequence[Sequence[np.ndarray]],
    kind: str,
    label: Path,
    heads: Sequence[str],
    names: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> None:
    """Write ``label``.png, a strip of rows, and ``label``.webp, films side by side."""
    from ornstein.viz import film

    label.parent.mkdir(parents=True, exist_ok=True)
    picture, moving = Path(f"{label}.png"), Path(f"{label}.webp")
    strip_of(rows, kind, heads, names).save(picture)
    film(side_by_side(films, kind), moving)
    report({"strip": picture, "film": moving}, as_json, quiet)


def side_by_side(films: Sequence[Sequence[np.ndarray]], kind: str) -> list[Image.Image]:
    """Frames that show the same moment of several films, one after another from the left."""
    from ornstein.viz import limits_of, sheet

    limits = limits_of([frame for one in films for frame in one], kind)
    frames = []
    for moment in zip(*films, strict=True):
        parts = [sheet(items, kind, limits=limits) for items in moment]
        gap, width = 8, parts[0].width
        canvas = Image.new("RGB", (len(parts) * (width + gap) - gap, parts[0].height), "white")
        for k, part in enumerate(parts):
            canvas.paste(part, (k * (width + gap), 0))
        # A few small pictures make a frame too small to watch.
        factor = max(1, round(FILM_WIDTH / canvas.width))
        size = (canvas.width * factor, canvas.height * factor)
        frames.append(canvas.resize(size, Image.Resampling.NEAREST))
    return frames


def report(files: dict[str, Path], as_json: bool, quiet: bool) -> None:
    """Say where things are."""
    if as_json:
        click.echo(jsons.dumps({kind: str(path) for kind, path in files.items()}))
    elif not quiet:
        for kind, path in files.items():
            click.echo(f"{kind:<10} {path}")
