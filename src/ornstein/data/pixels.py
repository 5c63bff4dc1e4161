"""Decoded pictures to arrays: exact scaling of every mode, alpha on white, resize, crop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Size = tuple[int, int]  # height, width
Range = tuple[float, float]  # what is black, and what is white
_WHITE = 255.0
_SIXTEEN: Range = (0.0, 65535.0)


class NotFiniteError(ValueError):
    """A float picture with NaN or infinity; the caller turns it into a reason."""


class NoRangeError(ValueError):
    """A picture of real numbers of which nobody knows what is white; the same."""


def is_real(picture: Image.Image) -> bool:
    """Whether a format leaves it open what is black and white: floats, and integers of a TIFF.

    "I;16*" is 16 bits wide by definition. "I" is so too, but for TIFF, where it stands for signed
    numbers and for 32 bits.
    """
    return picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF")


def flatten(picture: Image.Image, span: Range | None = None) -> Image.Image:
    """Any mode to "L", "RGB" or (16-bit, 32-bit, float pictures) "F" in 0..255, alpha on white.

    Transparent pixels may hold any colour, so alpha is composed before any resizing. 16-bit
    values are scaled by 255/65535 without rounding; Pillow's own conversion would cut them off
    at 255.

    Args:
        picture: As it was opened.
        span: What is black and white in real numbers, see :func:`is_real`; one for all pictures
            of a set, so that they can be compared.

    Raises:
        NotFiniteError: a value is not finite.
        NoRangeError: it holds real numbers, and ``span`` is None.
    """
    from PIL import Image

    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        span = span if is_real(picture) else _SIXTEEN
        return Image.fromarray(_scaled(np.asarray(picture), span))
    if mode == "LAB" or mode == "HSV" or mode == "YCbCr" or mode == "CMYK":
        return picture.convert("RGB")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(white, over)
        return flat.convert("L" if mode in ("L", "LA", "La", "1") else "RGB")
    if mode in ("1", "L"):
        return picture.convert("L")
    return picture.convert("RGB")


def _scaled(values: np.ndarray, span: Range | None) -> np.ndarray:
    """Deep grey values as float32, 0 and 255 at the ends of the span."""
    if not np.isfinite(values).all():
        raise NotFiniteError
    if span is None:
        raise NoRangeError
    low, high = span
    return ((values.astype(np.float64) - low) * (255 / ((high - low) or 1.0))).astype(np.float32)


def fit(picture: Image.Image, size: Size | None) -> Image.Image:
    """Resize keeping the aspect so that ``size`` is covered, then crop the centre.

    The part to keep is chosen first and resized in one LANCZOS pass, so no pixel is
    interpolated twice.
    """
    from PIL import Image

    if size is None or (picture.height, picture.width) == size:
        return picture
    height, width = size
    scale = max(height / picture.height, width / picture.width)
    kept_w, kept_h = width / scale, height / scale
    left, top = (picture.width - kept_w) / 2, (picture.height - kept_h) / 2
    box = (
        max(0.0, left),
        max(0.0, top),
        min(float(picture.width), left + kept_w),
        min(float(picture.height), top + kept_h),
    )
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


def to_array(picture: Image.Image) -> np.ndarray:
    """Channels-first uint8 array of an "L", "RGB" or "F" picture; real values are rounded."""
    values = np.asarray(picture)
    if values.dtype != np.uint8:
        values = np.rint(values.clip(0, _WHITE)).astype(np.uint8)
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def resize_items(items: np.ndarray, size: Size) -> np.ndarray:
    """Resize and crop an array of pictures (N, C, H, W), uint8 or float32, keeping its type."""
    from PIL import Image

    if items.shape[2:] == size:
        return items
    out = np.empty((*items.shape[:2], *size), dtype=items.dtype)
    for n, item in enumerate(items):
        if items.dtype == np.uint8 and len(item) == 3:
            out[n] = to_array(fit(Image.fromarray(item.transpose(1, 2, 0)), size))
            continue
        for c, plane in enumerate(item):
            made = np.asarray(fit(Image.fromarray(np.ascontiguousarray(plane)), size))
            # The filter overshoots at edges, and would leave the range of the pictures.
            out[n, c] = made.clip(plane.min(), plane.max())
    return out
