"""Grids, strips and films of 8-bit pictures; small ones are enlarged pixel by pixel."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ornstein.errors import UsageError

PAPER = (255, 255, 255)
INK = (60, 64, 72)
TILE_SIDE = 64  # a picture smaller than this is enlarged
GRID_SIDE = 1024  # ... as long as the whole grid stays within this
TEXT_HEIGHT = 15
LONGEST = 200  # letters of a text, of which a picture has no room for more

Encoder = Callable[[list[Image.Image], list[int], int], bytes]
"""Frames, their times in milliseconds and 0, 1 or 2 for ever less quality, to the file."""

FILM_FRAMES = 60
FILM_BYTES = 2_000_000


def as_tiles(images: np.ndarray) -> np.ndarray:
    """Pictures as RGB, (N, H, W, 3) uint8.

    Args:
        images: uint8, (N, C, H, W) or (N, H, W, C) or grey (N, H, W). One channel is grey, three
            are RGB, four RGBA (laid on white); any other number is shown as that many grey
            pictures side by side.

    Raises:
        UsageError: not 8-bit, or not a batch of pictures.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise UsageError(
            "a grid needs 8-bit pictures of shape (N, C, H, W) or (N, H, W, C), got "
            f"{images.dtype} of shape {images.shape}."
        )
    if images.ndim == 3:
        images = images[:, None]
    if images.shape[1] > 4 and images.shape[-1] <= 4:
        images = np.moveaxis(images, -1, 1)
    channels = images.shape[1]
    if channels == 4:
        opacity = images[:, 3:].astype(np.float64) / 255
        images = np.rint(images[:, :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
    elif channels != 3:
        images = np.concatenate([images[:, c] for c in range(channels)], axis=-1)[:, None]
        images = np.repeat(images, 3, axis=1)
    return np.ascontiguousarray(np.moveaxis(images, 1, -1))


def best_scale(height: int, width: int, columns: int, rows: int) -> int:
    """Whole factor that makes small pictures big enough to see, the grid still within a screen."""
    wanted = math.ceil(TILE_SIDE / max(height, width))
    room = GRID_SIDE // max(width * columns, height * rows)
    return max(1, min(wanted, room))


def grid(
    images: np.ndarray,
    columns: int | None = None,
    scale: int | None = None,
    gap: int = 2,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Lay pictures out row by row on white.

    Args:
        images: uint8 pictures, see :func:`as_tiles`.
        columns: Pictures in a row; default makes the grid about square.
        scale: Whole factor of enlargement; default :func:`best_scale`.
        gap: White pixels between pictures and around them.
        labels: A short text under each picture.

    Raises:
        UsageError: not pictures, no whole factor, or labels of another number.
    """
    tiles = as_tiles(images)
    if labels is not None and len(labels) != len(tiles):
        raise UsageError(f"{len(labels)} labels were given for {len(tiles)} pictures.")
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    if scale is None:
        scale = best_scale(tiles.shape[1], tiles.shape[2], columns, rows)
    if scale < 1 or gap < 0:
        raise UsageError(f"a grid needs scale >= 1 and gap >= 0, got {scale} and {gap}.")
    tiles = enlarge(tiles, scale)
    height, width = tiles.shape[1], tiles.shape[2]
    down = height + gap + (TEXT_HEIGHT if labels is not None else 0)
    canvas = Image.new("RGB", (columns * (width + gap) + gap, rows * down + gap), PAPER)
    draw = ImageDraw.Draw(canvas)
    for k, tile in enumerate(tiles):
        left, top = gap + k % columns * (width + gap), gap + k // columns * down
        canvas.paste(Image.fromarray(tile), (left, top))
        if labels is not None:
            write(draw, (left + width // 2, top + height), labels[k], "ma", width)
    return canvas


def strip(
    rows: Sequence[np.ndarray],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    gap: int = 2,
) -> Image.Image:
    """Lay rows of equally many tiles under each other, with texts before rows and over columns.

    Args:
        rows: Each (K, H, W, 3) uint8, all of one shape.
        row_labels: One for each row, or none.
        column_labels: One for each column, or none.
        gap: White pixels between tiles.
    """
    count, height, width = rows[0].shape[:3]
    margin = max((int(font().getlength(one_line(t))) + 8 for t in row_labels), default=0)
    head = TEXT_HEIGHT if column_labels else 0
    size = (margin + count * (width + gap) + gap, head + len(rows) * (height + gap) + gap)
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(rows):
        top = head + gap + i * (height + gap)
        if row_labels:
            write(draw, (margin - 4, top + height // 2), row_labels[i], "rm", margin)
        for k, tile in enumerate(row):
            canvas.paste(Image.fromarray(tile), (margin + gap + k * (width + gap), top))
    for k, text in enumerate(column_labels):
        write(draw, (margin + gap + k * (width + gap) + width // 2, 1), text, "ma", width + gap)
    return canvas


def enlarge(tiles: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel ``scale`` times in both directions, (N, H, W, 3)."""
    return tiles.repeat(scale, axis=1).repeat(scale, axis=2)


def font(size: int = 11) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, anchor: str, room: int
) -> None:
    """Write a text on one line, cut to ``room`` pixels."""
    draw.text(place, _cut(text, room), fill=INK, font=font(), anchor=anchor)


def one_line(text: str) -> str:
    """A text that can be drawn: names of columns may hold ends of lines, and be very long."""
    return " ".join(text[:LONGEST].split())


def _cut(text: str, room: int) -> str:
    text, letters = one_line(text), font()
    while len(text) > 1 and letters.getlength(text) > room:
        text = text[:-1]
    return text


def thin(count: int, most: int) -> list[int]:
    """At most ``most`` indices spread evenly over range(count), first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def film(
    frames: Sequence[Image.Image], path: str | Path, fps: float = 12, most_bytes: int = FILM_BYTES
) -> Path:
    """Write an animated picture that plays for ever and rests on its last frame.

    At most 60 frames are kept, evenly chosen. What is then over ``most_bytes`` is saved with less
    quality, then with fewer frames, then smaller.

    Args:
        frames: At least one; all of one size.
        path: Ends in .webp or .gif.
        fps: Frames a second.
        most_bytes: Size that the file should not exceed.

    Raises:
        UsageError: another suffix, or no frames.
    """
    path = Path(path)
    encode = _ENCODERS.get(path.suffix.lower())
    if encode is None:
        raise UsageError(f"a film is written as .webp or .gif, not '{path.suffix or path.name}'.")
    if not frames:
        raise UsageError("a film needs at least one frame.")
    data = b""
    for shrink in (1, 2, 4, 8):
        small = [_smaller(frame, shrink) for frame in frames]
        for most in (FILM_FRAMES, FILM_FRAMES // 2):
            chosen = [small[k] for k in thin(len(small), most)]
            # A film thinned by half lasts as long as before.
            pace = 1000 / fps * max(1, min(len(frames), FILM_FRAMES) / len(chosen))
            times = [round(pace)] * (len(chosen) - 1) + [1500]
            for effort in range(3):
                if _far_over(encode, chosen, effort, most_bytes):
                    continue
                data = encode(chosen, times, effort)
                if len(data) <= most_bytes:
                    path.write_bytes(data)
                    return path
    path.write_bytes(data or encode(chosen, times, 2))
    return path


def _far_over(encode: Encoder, frames: list[Image.Image], effort: int, most_bytes: int) -> bool:
    """Whether a few frames alone show that the film will be far too big."""
    few = [frames[k] for k in thin(len(frames), 4)]
    guess = len(encode(few, [100] * len(few), effort)) * len(frames) / len(few)
    return guess > 3 * most_bytes


def _smaller(frame: Image.Image, shrink: int) -> Image.Image:
    frame = frame.convert("RGB")
    return frame if shrink == 1 else frame.reduce(shrink)


def _webp(frames: list[Image.Image], times: list[int], effort: int) -> bytes:
    out = io.BytesIO()
    frames[0].save(
        out, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0,
        quality=(85, 65, 40)[effort], method=3, minimize_size=False, kmax=30,
    )  # fmt: skip
    return out.getvalue()


def _gif(frames: list[Image.Image], times: list[int], effort: int) -> bytes:
    colours = (128, 64, 24)[effort]
    small = [f.quantize(colours, method=Image.Quantize.FASTOCTREE) for f in frames]
    out = io.BytesIO()
    small[0].save(out, "GIF", save_all=True, append_images=small[1:], duration=times, loop=0)
    return out.getvalue()


_ENCODERS: dict[str, Encoder] = {
    ".webp": _webp,
    ".gif": _gif,
}
