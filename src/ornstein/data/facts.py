"""What is said about a folder of pictures: notes, classes, files left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from ornstein.data.decode import Bad, Head
from ornstein.data.pixels import Size
from ornstein.data.walk import shown

TOP = "(top)"


def facts_of(
    heads: dict[bytes, Head],
    used: list[bytes],
    bad: dict[bytes, Bad],
    target: Size,
    asked: Size | None,
) -> dict[str, Any]:
    """What the manifest holds: files used (hex of their path), files refused, and the notes."""
    seen = [heads[path] for path in used]
    return {
        "used": [path.hex() for path in used],
        "refused": [[shown(p), bad[p].reason, bad[p].counts] for p in sorted(bad)],
        "notes": _notes(seen, target, asked) if seen else [],
    }


def _notes(heads: Sequence[Head], target: Size, asked: Size | None) -> list[str]:
    sides = [min(h.height, h.width) for h in heads]
    low, high = min(sides), max(max(h.height, h.width) for h in heads)
    middle = f"{int(median(h.width for h in heads))}x{int(median(h.height for h in heads))}"
    chosen = "" if asked else ", chosen from the pictures; size= changes it"
    notes = [
        f"Sizes {low}-{high} px, median {middle}; brought to {target[1]}x{target[0]}{chosen}."
    ]
    modes = Counter(h.mode for h in heads)
    notes.append("Modes: " + ", ".join(f"{m} {n:,}" for m, n in modes.most_common()) + ".")
    cropped = sum(h.height * target[1] != h.width * target[0] for h in heads)
    larger = sum(h.height < target[0] or h.width < target[1] for h in heads)
    deep = sum(h.mode == "F" or h.mode.startswith("I") for h in heads)
    for count, text in (
        (sum(h.rotated for h in heads), "turned upright by EXIF"),
        (sum(h.animated for h in heads), "animated: only the first frame is used"),
        (sum(h.mode in ("RGBA", "LA", "PA", "La", "RGBa") for h in heads), "put on white"),
        (modes["CMYK"], "converted from CMYK"),
        (deep, "scaled from deep grey to 8 bits"),
        (cropped, "cropped at the centre to fit the shape"),
        (larger, "enlarged"),
    ):
        if count:
            notes.append(f"{count:,} {text}.")
    return notes


def classes_of(paths: Sequence[bytes]) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """Label of each picture, class names, and a note where labels were not made."""
    parts = [path.split(os.sep.encode())[:-1] for path in paths]
    while parts and all(parts_of and parts_of[0] == parts[0][0] for parts_of in parts):
        parts = [parts_of[1:] for parts_of in parts]  # the only sub-folder is no class
    firsts = [shown(parts_of[0]) if parts_of else TOP for parts_of in parts]
    names = sorted(set(firsts))
    if len(names) < 2:
        return None, (), []
    if len(names) * 2 > len(paths):
        return None, (), [f"{len(names):,} sub-folders hold {len(paths):,} pictures: no classes."]
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[first] for first in firsts], dtype=np.int64), tuple(names), []


def tally(reasons: Sequence[str]) -> str:
    """Reasons counted, the most frequent first: "9 truncated, 4 not a picture"."""
    counted = Counter(reason.split(" (")[0] for reason in reasons)
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)
