"""What a model made: items in raw units, each with the settings that make it again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ornstein import jsons
from ornstein.data.coding import Coding
from ornstein.errors import UsageError
from ornstein.training.disk import explained, make_folder, write_atomically
from ornstein.viz.pictures import as_tiles
from ornstein.viz.sheets import sheet

CHUNK = "ornstein"  # name of the PNG text chunk
MOST = 64_000  # bytes of settings in a picture


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Items that a model made; in a notebook they show themselves.

    Attributes:
        items: (n, *shape) in raw units: uint8 for 8-bit pictures, else float32.
        coding: Range and kind of the items.
        seed: Seed they were made from.
        numbers: Number of each item within the seed.
        labels: Class name of each item, or None.
        settings: What they follow from besides: solver, grid, schedule, steps, class, model.
        evaluations: Calls of the network for each item.
        seconds: Time it took, all together.
    """

    items: np.ndarray
    coding: Coding
    seed: int
    numbers: tuple[int, ...]
    labels: tuple[str | None, ...]
    settings: dict[str, Any]
    evaluations: int = 0
    seconds: float = 0.0

    @property
    def kind(self) -> str:
        """Kind of data: "image", "series", "vector" or "table"."""
        return self.coding.kind

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int | slice) -> Samples:
        """Return one item, or several, as samples again."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"there are {len(self)} samples, no number {index}.")
            index = slice(index, index + 1 or None)
        return replace(
            self,
            items=self.items[index],
            numbers=self.numbers[index],
            labels=self.labels[index],
        )

    def __iter__(self) -> Iterator[Samples]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.items.shape[1:]))
        how = f"{self.settings.get('solver')}, {self.settings.get('steps')} steps"
        return f"Samples({len(self)} of {shape} ({self.kind}), seed {self.seed}, {how})"

    def images(self) -> list[Image.Image]:
        """Return the pictures.

        Raises:
            UsageError: the samples are series or vectors.
        """
        if self.kind != "image":
            raise UsageError(f"these samples are of kind '{self.kind}', not pictures; use .items.")
        return [_picture(shown) for shown in self.coding.show(self.items)]

    def grid(self, columns: int | None = None) -> Image.Image:
        """Draw all on one sheet: pictures in a grid, series as plots, vectors as a cloud.

        Rows of a table are a histogram of each column.
        """
        shown = self.coding.show(self.items) if self.kind == "image" else self.items
        return sheet(shown, self.kind, columns=columns, labels=self.coding.captions)

    def save(self, folder: str | Path) -> list[Path]:
        """Write one PNG for each picture, its settings inside; series and vectors as one .npy.

        Numbers that 8 bits do not hold are written as .npy as well. Rows of a table are one CSV
        file, with the settings beside it.

        Raises:
            DiskError: they cannot be written.
        """
        folder = Path(folder)
        with explained("saving samples", folder, self.items.nbytes):
            make_folder(folder)
        paths = []
        if self.kind == "image":
            for k, image in enumerate(self.images()):
                path = folder / f"seed{self.seed}-{self.numbers[k]:05d}.png"
                write_atomically(path, _png(image, self.about(k)))
                paths.append(path)
        if self.items.dtype != np.uint8:
            stem = f"seed{self.seed}-{self.numbers[0]:05d}-{self.numbers[-1]:05d}"
            files = self.coding.files(self.items, stem) or {f"{stem}.npy": _npy(self.items)}
            for name, content in files.items():
                write_atomically(folder / name, content)
            items = [
                {"item": n, "class": c} for n, c in zip(self.numbers, self.labels, strict=True)
            ]
            text = jsons.dumps({**self.settings, "items": items}, sort_keys=True)
            write_atomically(folder / f"{stem}.json", text.encode())
            paths += [folder / name for name in files]
        return paths

    def save_sheet(self, path: str | Path, columns: int | None = None) -> Path:
        """Write :meth:`grid` as PNG, the settings inside.

        Raises:
            DiskError: it cannot be written.
        """
        path = Path(path)
        with explained(f"saving {path.name}", path.parent, self.items.nbytes):
            make_folder(path.parent)
        about = {**self.settings, "items": [self.numbers[0], self.numbers[-1]]}
        write_atomically(path, _png(self.grid(columns), about))
        return path

    def about(self, k: int) -> dict[str, Any]:
        """All that sample k follows from: no paths, no names of persons."""
        return {**self.settings, "item": self.numbers[k], "class": self.labels[k]}

    def _repr_png_(self) -> bytes:
        return _png(self.grid(), self.settings)


def read_settings(path: str | Path) -> dict[str, Any] | None:
    """Return the settings inside a picture, None if it has none of ours.

    Only a JSON object of at most 64 kB is read; it is data and nothing in it is looked up or run.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(CHUNK)
        found = json.loads(text) if isinstance(text, str) and len(text) <= MOST else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _npy(items: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, items, allow_pickle=False)
    return file.getvalue()


def _picture(shown: np.ndarray) -> Image.Image:
    """(C, H, W) uint8 as a picture; channel counts that no format has lie side by side."""
    if shown.shape[0] == 1:
        return Image.fromarray(shown[0])
    if shown.shape[0] in (3, 4):
        return Image.fromarray(np.ascontiguousarray(np.moveaxis(shown, 0, -1)))
    return Image.fromarray(as_tiles(shown[None])[0])


def _png(image: Image.Image, about: dict[str, Any]) -> bytes:
    text = jsons.dumps(about, sort_keys=True)
    inside = PngInfo()
    if len(text) <= MOST:
        inside.add_text(CHUNK, text)
        inside.add_text("parameters", _line(about))
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=inside)
    return out.getvalue()


def _line(about: dict[str, Any]) -> str:
    """The settings on one line, in the manner that other programs read."""
    prompt = f"{about['class']}\n" if about.get("class") else ""
    # The chunk holds Latin-1 only; what it lacks is written as an escape.
    prompt = prompt.encode("latin-1", "backslashreplace").decode("latin-1")
    return (
        f"{prompt}Steps: {about.get('steps')}, Sampler: {about.get('solver')}, "
        f"Schedule type: {about.get('grid')}, Seed: {about.get('seed')}, Model: "
        f"{about.get('model')}"
    )
