"""Restoring what an operator made of an item, by any model or by one that was trained to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ornstein.cli.options import chosen
from ornstein.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from ornstein.bundle import Bundle
    from ornstein.edit import Linear
    from ornstein.editing import Ask, Edited

OPERATORS = ("blur", "grey")


def reach(bundle: Bundle) -> tuple[float, float]:
    """Least and greatest raw value of pictures; of numbers without a range, 0 and 1."""
    low, high = bundle.coding.low, bundle.coding.high
    return (0.0, 1.0) if low is None or high is None else (low, high)


def operator_of(kind: str, value: object, width: float) -> Linear:
    """The operator that is to be undone: by --upscale so many times, or by its name."""
    from ornstein.edit import Blur, Grey, Shrink

    if kind == "upscale":
        return Shrink(int(str(value)))
    return Blur(width) if chosen("operator", str(value), OPERATORS) == "blur" else Grey()


def restored(
    bundle: Bundle, picture: Path, operator: Linear, spoil: bool, ask: Ask, noise: float
) -> tuple[Edited, np.ndarray | None]:
    """Undo an operator on a picture, or spoil the picture with it first and compare.

    Returns:
        What was made, and the original where it is known.
    """
    import numpy as np
    import torch

    from ornstein.data import read_item
    from ornstein.edit import Shrink

    _check(bundle, operator, noise)
    original = None
    if spoil:
        original = read_item(picture, bundle.shape, bundle.coding)
        given = operator(torch.as_tensor(original.astype(np.float32))[None])[0].numpy()
    else:
        small = tuple(operator(torch.zeros(1, *bundle.shape)).shape[1:])
        given = read_item(picture, small, bundle.coding)
        if bundle.kind == "image" and isinstance(operator, Shrink):
            _check_size(picture, bundle.shape, small)
    done = _undone(bundle, given, operator, ask, noise)
    factor = operator.factor if isinstance(operator, Shrink) else 0
    done.figures.update(_compared(bundle, done, original, factor))
    return done, original


def _check(bundle: Bundle, operator: Linear, noise: float) -> None:
    """Refuse what a model trained to upscale was not trained for, and what is for such only.

    The grey of one channel is the item itself, of which nothing is left to be made.
    """
    from ornstein.edit import Grey, Shrink

    if isinstance(operator, Grey) and bundle.shape[0] == 1:
        raise UsageError("items of one channel are grey already; --operator grey is for more.")
    trained = bundle.upscales
    if isinstance(operator, Shrink) and trained not in (None, operator.factor):
        raise UsageError(f"this model upscales {trained} times; say --upscale {trained}.")
    if noise and (trained is None or not isinstance(operator, Shrink)):
        raise UsageError("--noise is for models trained to upscale, with --upscale.")


def _check_size(picture: Path, shape: tuple[int, ...], small: tuple[int, ...]) -> None:
    """Refuse to enlarge what is as large as the answer, which would be made small unasked.

    Raises:
        UsageError: it is.
    """
    if _sides(picture) == shape[1:]:
        raise UsageError(
            f"'{picture}' is as large as what the model makes; it enlarges pictures of "
            f"{small[1]}x{small[2]}, so give a smaller one, or add --spoil to make it small first."
        )


def check_mask(picture: Path, mask: Path, shape: tuple[int, ...]) -> None:
    """Refuse a mask of another form than its picture: cropped alike, it would lie elsewhere.

    One as large as what the model makes is taken as it is, and so are arrays.

    Raises:
        UsageError: it has another form.
    """
    whole, part = _sides(picture), _sides(mask)
    if whole is None or part in (None, shape[1:]):
        return
    apart = abs(part[0] * whole[1] / (part[1] * whole[0]) - 1) * max(shape[1:])
    if apart > 0.5:  # pixels of the item
        raise UsageError(
            f"the mask is {part[1]}x{part[0]}, the picture {whole[1]}x{whole[0]}; give a mask "
            f"of the picture's form, or of the {shape[2]}x{shape[1]} that the model makes."
        )


def _sides(picture: Path) -> tuple[int, int] | None:
    """Height and width of a picture held upright; None for an array."""
    from PIL import Image, ImageOps

    if picture.suffix.lower() == ".npy":
        return None
    with Image.open(picture) as opened:
        upright = ImageOps.exif_transpose(opened)
        return upright.height, upright.width


def _undone(bundle: Bundle, given: np.ndarray, operator: Linear, ask: Ask, noise: float) -> Edited:
    """By a model that was trained to upscale, if that is asked of one; else by any model."""
    from ornstein import editing
    from ornstein.edit import Shrink
    from ornstein.editing import versions

    if bundle.upscales and isinstance(operator, Shrink):
        return versions(bundle, given, ask, noise)
    return editing.restore(bundle, given, operator, ask)


def _compared(
    bundle: Bundle, done: Edited, original: np.ndarray | None, factor: int
) -> dict[str, float]:
    """How far the versions are from the original, and beside them what needs no model."""
    import numpy as np

    from ornstein.editing import bicubic, misfit, psnr

    made, figures = done.samples.items, {}
    tried: dict[str, np.ndarray] = {"": made, " of their mean": made.mean(axis=0, keepdims=True)}
    if factor:
        low, high = reach(bundle)
        bounds = (low, high) if bundle.kind == "image" else (-np.inf, np.inf)
        small = np.asarray(done.given)[None]
        smooth = bicubic(small, factor).clip(*bounds)
        figures["misfit of bicubic to what was given"] = misfit(smooth, small)
        tried[" of bicubic"] = smooth
    if original is None:
        return figures
    for name, items in tried.items():
        if bundle.kind == "image":
            low, high = reach(bundle)
            figures[f"PSNR{name} to the original in dB"] = psnr(items, original, high - low)
        else:
            apart = items.astype(np.float64) - original
            figures[f"distance{name} from the original"] = float(np.sqrt((apart**2).mean()))
    return figures
