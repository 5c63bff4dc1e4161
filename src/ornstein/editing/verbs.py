"""The edits themselves, of items in raw units: fill in, restore, vary, mix, invert."""

from __future__ import annotations

import numpy as np
import torch

from ornstein.bundle import Bundle
from ornstein.edit import Linear, Mask, Measurement, part_way, slerp
from ornstein.editing.workbench import Ask, Edited, Workbench, settled
from ornstein.errors import UsageError
from ornstein.solvers import sample


def fill(bundle: Bundle, item: np.ndarray, seen: np.ndarray, ask: Ask) -> Edited:
    """Make the unknown part of an item anew; the known part is kept to the last bit.

    Args:
        bundle: The model.
        item: Raw units, (*shape); values where ``seen`` is 0 are not read.
        seen: 1 where the item is known, (*shape) or broadcast to it.
        ask: How.

    Raises:
        UsageError: nothing or all of the item is to be made, an unknown method, or known values
            that the items of the model cannot have.
    """
    ask = settled(bundle, ask)
    seen = np.broadcast_to(np.asarray(seen, dtype=bool), item.shape).copy()
    if seen.all() or not seen.any():
        raise UsageError(
            f"{'nothing' if seen.all() else 'all'} of the item is to be made anew; mark that part "
            "of it in white in the mask, or as NaN in an .npy, and leave the rest."
        )
    _check_levels(bundle, item[seen])
    bench = Workbench(bundle, ask)
    mask = torch.as_tensor(seen).to(bench.device)
    known = bench.encoded(np.where(seen, item, 0)) * mask
    x = bench.drawn(Measurement(Mask(mask), known), (known, mask))
    made = bench.samples(x, {"edit": "fill", "method": ask.method})
    items = np.where(seen, item, made.items).astype(made.items.dtype)
    gap = np.where(seen, made.items.astype(np.float64) - item, 0)
    return Edited(
        bench.samples(x, made.settings, items),
        np.where(seen, item, _middle(bundle)).astype(made.items.dtype),
        {"misfit before the known part was put back": float(np.sqrt((gap**2).mean()))},
    )


def _check_levels(bundle: Bundle, known: np.ndarray) -> None:
    """Refuse known values that pictures of 8 bits cannot have: they would not be kept.

    Raises:
        UsageError: the first of them.
    """
    odd = known[known != np.rint(known.clip(0, 255))]
    if bundle.coding.is_uint8 and len(odd):
        raise UsageError(
            f"this model makes pictures of whole levels from 0 to 255, so {odd[0]:g} cannot be "
            "kept; round to such levels, or mark it as unknown."
        )


def restore(bundle: Bundle, y: np.ndarray, operator: Linear, ask: Ask, std: float = 0.0) -> Edited:
    """Make items that a linear operator maps to what is given: upscale, deblur, colourise.

    Args:
        bundle: The model.
        y: The measurement of one item in raw units.
        operator: Acts on batches in raw units.
        ask: How; its method must not be one for masks.
        std: Standard deviation of the noise in y, in raw units.
    """
    ask = settled(bundle, ask, masked=False)
    bench = Workbench(bundle, ask)
    value = np.asarray(y, dtype=np.float32)[None]
    x = bench.drawn(posed(bench, value, operator, std), None)
    made = bench.samples(x, {"edit": "restore", "method": ask.method})
    items = torch.as_tensor(made.items.astype(np.float32), device=bench.device)
    gap = operator(items) - torch.as_tensor(value, device=bench.device)
    return Edited(made, y, {"misfit to what was given": float(gap.square().mean().sqrt())})


def posed(bench: Workbench, y: np.ndarray, operator: Linear, std: float = 0.0) -> Measurement:
    """A measurement in raw units as the network's units have it.

    Args:
        bench: Of the model.
        y: What was measured of one item, or of each row, (1 or rows, ...).
        operator: Acts on batches in raw units.
        std: Standard deviation of the noise in y, in raw units.

    Raises:
        UsageError: y has another shape than the operator makes.
    """
    bundle = bench.bundle
    mean, scale = (bench.column(values) for values in (bundle.coding.mean, bundle.coding.std))
    offset = operator(mean.expand(1, *bundle.shape))
    value = torch.as_tensor(y, dtype=torch.float32, device=bench.device)
    if value.shape[1:] != offset.shape[1:]:
        raise UsageError(
            f"the measurement has shape {tuple(value.shape[1:])}, but the operator makes "
            f"{tuple(offset.shape[1:])} of an item of this model; resize it."
        )
    unit = float(np.mean(bundle.coding.std))  # the posterior's noise is one number
    known = ((value - offset) / unit).expand(bench.rows, *offset.shape[1:])
    return Measurement(lambda x0: operator(x0 * scale) / unit, known, std / unit)


def vary(bundle: Bundle, item: np.ndarray, strength: float, ask: Ask) -> Edited:
    """Noise an item part of the way and walk down again; see :func:`ornstein.edit.part_way`."""
    bench = Workbench(bundle, ask)
    start, rest = part_way(bench.encoded(item), bench.levels, strength, bench.noise)
    x = sample(bench.denoise, start, rest, bench.solver, bench.noise)
    made = bench.samples(x, {"edit": "vary", "strength": strength})
    apart = made.items.astype(np.float64) - item
    return Edited(made, item, {"distance from the original": float(np.sqrt((apart**2).mean()))})


def mix(bundle: Bundle, first: np.ndarray, second: np.ndarray, ask: Ask) -> Edited:
    """Go from one item to another through their codes, in n equal parts, both ends included."""
    if ask.n < 2:
        raise UsageError("a mixture has two ends, so it takes at least 2 versions: -n 2.")
    bench = Workbench(bundle, ask)
    codes = [bench.code(item) for item in (first, second)]
    shares = torch.linspace(0, 1, ask.n).tolist()
    x = torch.cat([slerp(codes[0], codes[1], share) for share in shares])
    made = bench.samples(bench.decoded(x), {"edit": "mix"})
    ends = np.stack([made.items[0] - 1.0 * first, made.items[-1] - 1.0 * second])
    return Edited(made, first, {"round trip of the two ends": float(np.sqrt((ends**2).mean()))})


def invert(bundle: Bundle, item: np.ndarray, ask: Ask) -> Edited:
    """Carry an item to its code and back; the error of the round trip is reported."""
    bench = Workbench(bundle, ask)
    code = bench.code(item)
    made = bench.samples(bench.decoded(code), {"edit": "invert"})
    apart = made.items[0].astype(np.float64) - item
    unit = code / bench.levels.norm[0].to(code)
    figures = {
        "round trip": float(np.sqrt((apart**2).mean())),
        "deviation of the code": float(unit.std()),
    }
    return Edited(made, item, figures)


def _middle(bundle: Bundle) -> np.ndarray:
    """What is shown where nothing is known: the mean of each channel."""
    return np.reshape(bundle.coding.mean, (-1, *(1,) * (len(bundle.shape) - 1)))
