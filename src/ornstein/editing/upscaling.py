"""Items made of smaller versions of themselves, by a model that was trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from ornstein.bundle import Bundle, Sampler
from ornstein.bundle.asking import Said, joined
from ornstein.bundle.parts import Progress
from ornstein.bundle.walking import sample
from ornstein.core import key
from ornstein.data.conditions import CLASS
from ornstein.data.lowered import LOW, NOISED, smaller
from ornstein.editing.workbench import Ask, Edited
from ornstein.errors import UsageError
from ornstein.samples import Samples


def upscale(
    bundle: Bundle,
    small: np.ndarray,
    *,
    seed: int = 0,
    first: int = 0,
    noise: float = 0.0,
    said: Said | None = None,
    labels: Sequence[str | None] | None = None,
    sampler: Sampler | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> Samples:
    """Make one item of each smaller version.

    Args:
        bundle: A model trained to upscale.
        small: The smaller versions in raw units, (n, C, *space).
        seed: Where the noise comes from; item k is a function of it, of k and of its version.
        first: Number of the first item.
        noise: Share of noise, from 0 to 1, that is put on the small versions and told: more of it
            forgives more of what is odd about them, and keeps less of them.
        said: What else is said of all of them, as for sampling; without a class none is. Nothing
            of the small versions, which are given.
        labels: Class of each; one that the model does not know is not said.
        sampler: The way to go; default the model's own.
        batch: Items at a time.
        progress: Called with steps done and steps in all.

    Raises:
        UsageError: the model was not trained for it, other sizes, or small versions said twice.
    """
    factor = factor_of(bundle)
    if twice := {LOW, NOISED.format(LOW)} & set(said or {}):
        raise UsageError(
            "what is made larger is given by itself, and its noise by --noise (noise=); leave "
            f"{' and '.join(sorted(twice))} out of what is said."
        )
    known = {declared.name: declared for declared in bundle.conditions}
    low = known[LOW]
    if small.shape[1:] != low.shape:
        raise UsageError(
            f"this model makes {_sides(bundle.shape)} of {_sides(low.shape)}, {factor} times "
            f"larger; got {_sides(small.shape[1:])}."
        )
    if not 0 <= noise <= 1:
        raise UsageError(f"the noise on a small picture is a share from 0 to 1; got {noise:g}.")
    each = {LOW: low.encode(small), NOISED.format(LOW): torch.full((len(small), 1), noise)}
    if bundle.classes and CLASS not in (said or {}):
        places = {name: k for k, name in enumerate(bundle.classes)}
        named = labels or [None] * len(small)
        each[CLASS] = torch.tensor([places.get(str(name), len(places)) for name in named])
    return sample(
        bundle,
        len(small),
        seed=seed,
        first=first,
        said=said or {},
        sampler=sampler or bundle.how(),
        batch=batch,
        progress=progress,
        each=each,
    )


def versions(bundle: Bundle, small: np.ndarray, ask: Ask, noise: float = 0.0) -> Edited:
    """Make several items of one smaller version, as ``ornstein edit`` asks for them."""
    made = upscale(
        bundle,
        np.repeat(small[None], ask.n, axis=0),
        seed=ask.seed,
        noise=noise,
        said=joined(ask.cond, ask.class_name),
        sampler=ask.sampler,
    )
    made.settings.update({"edit": "upscale", "noise": noise})
    return Edited(made, small, {"misfit to what was given": misfit(made.items, small[None])})


def cascade(
    bundle: Bundle,
    base: Samples,
    *,
    noise: float = 0.1,
    sampler: Sampler | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> Samples:
    """Make the samples of another model larger: a cascade, as ADM-U of arXiv:2105.05233.

    Args:
        bundle: A model trained to upscale.
        base: Samples of the sizes it was trained on.
        noise: As in :func:`upscale`; a little of it hides what is odd about samples.
        sampler: The way to go; default the model's own.
        batch: Items at a time.
        progress: Called with steps done and steps in all.

    Raises:
        UsageError: the sizes do not fit, or the samples are not numbered one after another.
    """
    made = upscale(
        bundle,
        np.asarray(base.items),
        first=_first(base),
        seed=key(base.seed, "cascade"),  # not the noise that the base was made of
        noise=noise,
        labels=base.labels,
        sampler=sampler,
        batch=batch,
        progress=progress,
    )
    told = {**made.settings, "seed": base.seed, "noise": noise, "base": base.settings}
    return replace(made, seed=base.seed, settings=told)


def _first(base: Samples) -> int:
    """Number of the first sample.

    Raises:
        UsageError: the others do not follow it one by one.
    """
    first = min(base.numbers, default=0)
    if base.numbers != tuple(range(first, first + len(base))):
        raise UsageError(
            "samples are made larger in the order of their numbers, without gaps, since each "
            f"number has noise of its own; got {', '.join(map(str, base.numbers[:6]))}. Make "
            "others larger one by one."
        )
    return first


def factor_of(bundle: Bundle) -> int:
    """How many times larger a model makes what it is given.

    Raises:
        UsageError: it was not trained for it.
    """
    if bundle.upscales is None:
        raise UsageError(
            "this model was not trained to upscale; train one with ornstein train DATA --task "
            "upscale --factor 4."
        )
    return bundle.upscales


def misfit(made: np.ndarray, small: np.ndarray) -> float:
    """Root mean square of the made items' smaller versions less the given ones, in raw units."""
    apart = smaller(made, made.shape[2] // small.shape[2]) - small.astype(np.float64)
    return float(np.sqrt((apart**2).mean()))


def bicubic(small: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge pictures or series by cubic interpolation, (N, C, *space): what needs no model."""
    values = torch.as_tensor(small.astype(np.float32))
    rows = values if values.ndim == 4 else values[:, :, None]
    sides = [rows.shape[2] * (factor if values.ndim == 4 else 1), rows.shape[3] * factor]
    # Keys' kernel, which keeps ramps, is what torch takes with antialias; a larger one has none.
    large = functional.interpolate(rows, sides, mode="bicubic", antialias=True)
    return (large if values.ndim == 4 else large[:, :, 0]).numpy()


def psnr(made: np.ndarray, original: np.ndarray, reach: float) -> float:
    """Peak signal-to-noise ratio in dB, of items whose raw values reach so far."""
    error = (made.astype(np.float64) - original).reshape(-1)
    return float(20 * np.log10(reach / max(np.sqrt((error**2).mean()), 1e-12)))


def _sides(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
