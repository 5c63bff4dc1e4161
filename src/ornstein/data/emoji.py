"""The Noto emoji: 32 px ones that ship with the package, any size from the npm package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ornstein.data.pixels import fit, flatten, to_array
from ornstein.errors import DataError

ASSETS = Path(__file__).parent / "assets"
# 259 country flags would swamp the samples; components (skin tones, hair) mean nothing alone.
LEFT_OUT = ("Flags", "Component")


@dataclass(frozen=True)
class Emoji:
    """Pictures (N, 3, H, W) uint8 on white, class indices, class names, short names, captions."""

    pictures: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    captions: tuple[str, ...]


def shipped_emoji() -> Emoji:
    """The base emoji at 32 px, from the sheet in the package."""
    from PIL import Image

    table = json.loads((ASSETS / "emoji.json").read_text(encoding="utf-8"))
    size, columns = int(table["size"]), int(table["columns"])
    rows = table["emoji"]
    with Image.open(ASSETS / "emoji.png") as picture:
        sheet = np.asarray(picture.convert("RGB"))
    cells = sheet.reshape(-1, size, columns, size, 3).transpose(0, 2, 4, 1, 3)
    return Emoji(
        pictures=np.ascontiguousarray(cells.reshape(-1, 3, size, size)[: len(rows)]),
        labels=np.array([row[2] for row in rows], dtype=np.int64),
        classes=tuple(table["categories"]),
        names=tuple(row[0] for row in rows),
        captions=tuple(row[1] for row in rows),
    )


def read_emoji(package: Path, size: int, words: Path | None = None) -> Emoji:
    """The same base emoji from a folder of the npm package emoji-datasource-google.

    Args:
        package: The package's folder, with emoji.json and img/google/64.
        size: Height and width of the pictures; the files are 64x64.
        words: Folder of the npm package emojibase-data for better captions, or None.

    Raises:
        DataError: a file of the package is missing or cannot be read.
    """
    from PIL import Image

    try:
        table = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
        kept = [e for e in table if e["category"] not in LEFT_OUT and e["has_img_google"]]
        kept.sort(key=lambda e: int(e["sort_order"]))
        pictures = []
        for entry in kept:
            with Image.open(package / "img" / "google" / "64" / entry["image"]) as picture:
                pictures.append(to_array(fit(flatten(picture).convert("RGB"), (size, size))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{package}' is not the npm package emoji-datasource-google "
            f"({type(error).__name__}); "
            "get it with `npm install --ignore-scripts emoji-datasource-google@16.0.0`."
        ) from error
    classes = tuple(dict.fromkeys(str(e["category"]) for e in kept))
    labels = _labels_of(words)
    return Emoji(
        pictures=np.stack(pictures),
        labels=np.array([classes.index(e["category"]) for e in kept], dtype=np.int64),
        classes=classes,
        names=tuple(str(e["short_name"]) for e in kept),
        captions=tuple(
            labels.get(_code(e["unified"]), str(e["short_name"]).replace("_", " ")) for e in kept
        ),
    )


def _labels_of(words: Path | None) -> dict[str, str]:
    """English label of each emoji by code point, from emojibase-data."""
    if words is None:
        return {}
    table = json.loads((words / "en" / "data.json").read_text(encoding="utf-8"))
    return {_code(entry["hexcode"]): str(entry["label"]) for entry in table}


def _code(text: str) -> str:
    """Code points without the variation selector, which the two tables treat differently."""
    return text.upper().replace("-FE0F", "")
