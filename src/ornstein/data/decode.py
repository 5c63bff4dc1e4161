"""One picture file to an array, or to a short reason why not.

No text of the decoding library gets out: it may hold paths and addresses of memory.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ornstein.data.pixels import (
    NoRangeError,
    NotFiniteError,
    Range,
    Size,
    fit,
    flatten,
    is_real,
    to_array,
)
from ornstein.data.walk import Found
from ornstein.errors import OrnsteinWarning

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 64_000_000
LEAST_SIDE = 4
# Formats are recognised by content. PostScript, metafiles and the like are left out on purpose:
# reading them runs other programs.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "MPO", "AVIF"),
    *("JPEG2000", "ICO", "PCX", "QOI", "SGI"),
)
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
# A file that ends like this is meant to be a picture; one that fails counts as bad.
PICTURE_ENDINGS = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".mpo",
        ".avif",
        ".jp2",
        ".j2k",
        ".ico",
        ".pcx",
        ".qoi",
        ".sgi",
        ".heic",
        ".heif",
        ".tga",
        ".psd",
        ".jxl",
        ".fits",
        ".fit",
        ".dds",
        ".raw",
        ".dng",
        ".cr2",
        ".nef",
        ".arw",
    ]
)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Bad:
    """Why a file cannot be used; ``counts`` when it was meant to be a picture."""

    reason: str
    counts: bool = True


@dataclass(frozen=True)
class Head:
    """What the header of a picture says; size after rotation."""

    height: int
    width: int
    mode: str
    rotated: bool
    animated: bool


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the decoder's warnings about size and metadata, which checks here replace; not ours.

    To be entered once, outside the threads: warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", OrnsteinWarning)
        yield


@cache
def readable() -> tuple[str, ...]:
    """Those of the formats that the decoder here knows; an older one lacks some."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def head(file: Found) -> Head | Bad:
    """Read and check the header only."""
    picture = _open(file)
    if isinstance(picture, Bad):
        return picture
    with picture:
        # A PNG may tell its rotation behind its pixels, which are not worth reading for it here.
        told = picture.format != "PNG" or "exif" in picture.info
        turned = _orientation(picture) if told else 1
        height, width = picture.height, picture.width
        if turned >= 5:
            height, width = width, height
        animated = bool(getattr(picture, "is_animated", False))
        return Head(height, width, picture.mode, turned > 1, animated)


def extent(file: Found) -> Range | None:
    """Least and greatest value of a picture whose format leaves open what is black and white.

    None for all others, and for one that cannot be read.
    """
    picture = _open(file)
    if isinstance(picture, Bad):
        return None
    with picture:
        if not is_real(picture):
            return None
        try:
            values = np.asarray(picture)
        except Exception:  # noqa: BLE001 - a decoder may raise anything; decode() says why
            return None
    low, high = float(values.min()), float(values.max())
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def decode(file: Found, size: Size, span: Range | None = None) -> np.ndarray | Bad:
    """Upright picture at ``size``, (1 or 3, H, W) uint8; one channel when all its pixels are grey.

    Order: first frame, EXIF rotation, colour (CMYK and palettes to RGB), deep values scaled,
    alpha on white, resize of the short side, centre crop, rounding.

    Args:
        file: The picture.
        size: Height and width to bring it to.
        span: What is black and white in real numbers, see ``pixels.flatten``.
    """
    from PIL import Image

    picture = _open(file)
    if isinstance(picture, Bad):
        return picture
    try:
        if picture.format == "PNG":
            # The decoder skips the checksums of pixel data; checking them uses the picture up.
            with picture:
                picture.verify()
            picture = Image.open(file.source(), formats=["PNG"])
        with picture:
            turned = _orientation(picture)
            # A JPEG can be decoded at a half, a quarter or an eighth of its size, much faster.
            side = 2 * max(size)
            if picture.mode in ("L", "RGB") and min(picture.size) > 2 * side:
                scale = side / min(picture.size)
                wanted = tuple(math.ceil(n * scale) for n in picture.size)
                picture.draft(picture.mode, (wanted[0], wanted[1]))
            array = to_array(fit(upright(flatten(picture, span), turned), size))
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on hostile bytes; all end here
        return _reason(error)
    grey = len(array) == 3 and bool((array[0] == array[1]).all() and (array[0] == array[2]).all())
    return array[:1] if grey else array


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Undo the rotation and mirroring that EXIF orientation 1..8 describes."""
    from PIL import Image

    turn = Image.Transpose
    moves = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return picture.transpose(moves[orientation]) if orientation in moves else picture


def _open(file: Found) -> Image.Image | Bad:
    """Header of a picture that is neither a bomb nor a speck, not yet decoded."""
    from PIL import Image, UnidentifiedImageError

    if file.size == 0:
        return Bad("empty file")
    try:
        picture = Image.open(file.source(), formats=readable())
    except UnidentifiedImageError:
        return _unknown(file)
    except Image.DecompressionBombError:
        return Bad("too large (more than 64 megapixels)")
    except FileNotFoundError:
        return Bad("removed while reading")
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on hostile bytes; all end here
        return _reason(error)
    bad = None
    if picture.width * picture.height > MOST_PIXELS:
        bad = Bad(f"too large ({picture.width}x{picture.height}, more than 64 megapixels)")
    elif min(picture.size) < LEAST_SIDE:
        bad = Bad(f"too small ({picture.width}x{picture.height}, less than {LEAST_SIDE} px)")
    if bad is not None:
        picture.close()
        return bad
    return picture


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged metadata does not make the pixels bad
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _reason(error: Exception) -> Bad:
    if isinstance(error, PermissionError):
        return Bad("no permission to read")
    if isinstance(error, MemoryError):
        return Bad("too large for the memory")
    if isinstance(error, NotFiniteError):
        return Bad("holds values that are not finite")
    if isinstance(error, NoRangeError):
        return Bad("holds real numbers, and is not called .tif")
    cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return Bad("truncated" if cut else "damaged")


def _unknown(file: Found) -> Bad:
    """Reason for a file of no known format; only a name that promised a picture counts."""
    ending = Path(file.path).suffix.lower()
    counts = ending in PICTURE_ENDINGS
    try:
        if file.data is not None:
            start = file.data[:1024]
        else:
            with Path(file.path).open("rb") as opened:
                start = opened.read(1024)
    except OSError:
        return Bad("no permission to read", counts)
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc") or ending == ".heic":
        return Bad("HEIC, which is not read; convert to JPEG", True)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return Bad("SVG drawing without pixels", counts)
    if text.startswith((b"<!doctype html", b"<html")):
        return Bad("a web page, not a picture", counts)
    if file.size < 12 or not start.strip(b"\0"):
        return Bad("not a picture", counts)
    return Bad(f"not a picture ({ending or 'no ending'})", counts)
