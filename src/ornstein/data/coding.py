"""The map between raw data and what the network sees: mean 0 and standard deviation 1 per channel.

The processes of ``core`` assume data of unit scale (mission item A12). The numbers are
measured once, on the training part only, and travel in the model file as JSON, so a sample
is turned back into raw units without the data set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ornstein.data.moments import chunks, moments_of_bytes, moments_of_reals, usual_range
from ornstein.errors import DataError, DivergedError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

AXES = {"image": 4, "series": 3, "vector": 2, "table": 2}  # axes of a batch of each kind
SHOWN = 4  # channels whose mean and deviation are told
NOUNS = {"image": "pictures", "series": "series", "vector": "vectors", "table": "rows"}


@dataclass(frozen=True)
class Coding:
    """Per-channel standardisation with its exact inverse.

    Axis 1 of a batch is the channel: (B, C, H, W) pictures, (B, C, L) series, (B, D) vectors.

    Attributes:
        mean: Mean of each channel in raw units.
        std: Standard deviation of each channel in raw units; 1 for a channel that is constant.
        kind: "image", "series", "vector" or "table".
        low: Least raw value that means anything (0 for 8-bit pictures), or None.
        high: Greatest such value, or None.
        levels: Number of equally spaced raw values from low to high, or None for real numbers.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: str
    low: float | None = None
    high: float | None = None
    levels: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers with which encoding or decoding has no value."""
        if self.kind not in AXES:
            raise DataError(f"unknown kind of data '{self.kind}'; it is one of {', '.join(AXES)}.")
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError("a coding needs one mean and one standard deviation for each channel.")
        numbers = (*self.mean, *self.std, self.low or 0.0, self.high or 0.0)
        if not all(math.isfinite(v) for v in numbers) or min(self.std) <= 0:
            raise DataError("a coding needs finite numbers and standard deviations above 0.")
        if self.levels is not None and (self.low is None or self.high is None or self.levels < 2):
            raise DataError("a coding with levels needs low, high and at least 2 levels.")

    @property
    def step(self) -> float | None:
        """Distance of two levels in raw units; None for real numbers."""
        if self.levels is None or self.low is None or self.high is None:
            return None
        return (self.high - self.low) / (self.levels - 1)

    @property
    def meaning(self) -> tuple[str, ...]:
        """What raw values stand for besides numbers: part of what makes data equal."""
        return ()

    @property
    def captions(self) -> tuple[str, ...] | None:
        """Names of what a sheet shows side by side; None for the items themselves."""
        return None

    @property
    def noun(self) -> str:
        """What items are called, many of them."""
        return NOUNS[self.kind]

    @property
    def shares(self) -> tuple[float, ...]:
        """How often items have each class, where samples are to have them as often; else none."""
        return ()

    @property
    def is_uint8(self) -> bool:
        """Whether raw values are the 256 levels of an 8-bit picture."""
        return (self.low, self.high, self.levels) == (0, 255, 256)

    def encode(self, raw: np.ndarray | Tensor) -> Tensor:
        """Standardised float32 tensor of a batch in raw units, same shape."""
        import torch

        x = torch.as_tensor(raw)
        self._check(x.shape)
        if x.dtype == torch.uint8:
            # One multiply-add in float32: 8-bit values are exact in it, so nothing is lost.
            scale = torch.tensor([1.0 / s for s in self.std], device=x.device)
            ratio = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
            shift = torch.tensor(ratio, device=x.device)
            y = x.to(torch.float32)
            return y.mul_(self._over(scale, y)).add_(self._over(shift, y))
        # Real numbers may sit far from 0; the difference is taken in float64.
        y = x.to(torch.float64)
        mean, std = self._moments(y)
        return ((y - mean) / std).to(torch.float32)

    def decode(self, x: Tensor) -> np.ndarray:
        """Raw units of a standardised batch: uint8 for 8-bit pictures, else float32.

        Values are rounded to the nearest level where the data has levels, and clipped to
        the range low..high where it has one.

        Raises:
            DivergedError: a value is not finite.
        """
        import torch

        self._check(x.shape)
        y = x.detach().to("cpu", torch.float64)
        if not bool(torch.isfinite(y).all()):
            raise DivergedError(
                "the values to decode are not finite: the model or the solver that made them "
                "diverged; use an earlier checkpoint or more steps."
            )
        mean, std = self._moments(y)
        y = y * std + mean
        if self.step is not None and self.low is not None:
            y = ((y - self.low) / self.step).round() * self.step + self.low
        if self.low is not None or self.high is not None:
            y = y.clamp(self.low, self.high)
        return y.to(torch.uint8 if self.is_uint8 else torch.float32).numpy()

    def picture(self, x: Tensor) -> np.ndarray:
        """Standardised pictures (B, C, H, W) as uint8 for the eye: low is 0, high is 255."""
        raw = self.decode(x)
        return raw if raw.dtype == np.uint8 else self.show(raw)

    def show(self, raw: np.ndarray) -> np.ndarray:
        """Raw pictures as uint8 for the eye: low is 0, high is 255; 8-bit pictures unchanged."""
        if self.kind != "image" or self.low is None or self.high is None:
            raise UsageError(f"data of kind '{self.kind}' are not pictures; use decode().")
        if raw.dtype == np.uint8:
            return raw
        span = (self.high - self.low) or 1.0
        unit = (raw.astype(np.float64) - self.low) / span
        return np.asarray(np.rint(unit.clip(0, 1) * 255), dtype=np.uint8)

    def coded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of an encoded item whose raw shape is ``shape``."""
        return shape

    def measured(self, items: np.ndarray, train: np.ndarray) -> Coding:
        """The same coding with its numbers measured on the training items of other data."""
        found = measure(items, train, self.kind)
        return found if type(self) is Coding else replace(self, mean=found.mean, std=found.std)

    def about(self, items: np.ndarray) -> list[str]:
        """What a look at the data says of its values, one line each."""
        # A channel that never varies is divided by 1, which is not how far it varies.
        spread = [
            0.0 if v == 1.0 and _still(items, c) else v for c, v in enumerate(self.std[:SHOWN])
        ]
        rest = ", ..." if len(self.mean) > SHOWN else ""
        mean = ", ".join(f"{v:.4g}" for v in self.mean[:SHOWN]) + rest
        std = ", ".join(f"{v:.4g}" for v in spread) + rest
        return [f"mean {mean}; deviation {std} (measured on the training part)"]

    def density(self, raw: np.ndarray) -> tuple[Coding, np.ndarray, str]:
        """A coding by which items have a density, the items for it, and what it is a density of.

        Raises:
            UsageError: they have none.
        """
        return self, raw, ""

    def posed(self, raw: np.ndarray) -> tuple[Tensor, Tensor]:
        """Encoded items whose NaNs are to be filled in, and which of their codes are known."""
        import torch

        gaps = np.isnan(raw)
        return self.encode(np.where(gaps, 0, raw)), torch.from_numpy(~gaps)

    def classes(self, raw: np.ndarray) -> Tensor | None:
        """Class that each item says it has, (N,); None where items say nothing of classes."""
        return None

    def labelled(self, raw: np.ndarray, classes: Sequence[int | None]) -> np.ndarray:
        """Decoded items that say their class themselves, where such data do."""
        return raw

    def files(self, raw: np.ndarray, stem: str) -> dict[str, bytes]:
        """Items in the format that such data come in, by file name; none if there is no such."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Plain dict for a JSON file; floats survive exactly (shortest repr)."""
        fields = asdict(self)
        return {**fields, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Coding:
        """Coding from the dict of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or of the wrong type.
        """
        return cls(**fields_of(fields))

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != AXES[self.kind] or shape[1] != len(self.mean):
            raise UsageError(
                f"got an array of shape {tuple(shape)}; the data is of kind '{self.kind}', "
                f"so it has {AXES[self.kind]} axes and {len(self.mean)} channels on axis 1."
            )

    @staticmethod
    def _over(values: Tensor, like: Tensor) -> Tensor:
        return values.view(1, -1, *[1] * (like.ndim - 2))

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        mean = torch.tensor(self.mean, dtype=torch.float64, device=like.device)
        std = torch.tensor(self.std, dtype=torch.float64, device=like.device)
        return self._over(mean, like), self._over(std, like)


def _still(items: np.ndarray, channel: int) -> bool:
    """Whether a channel of items has one value everywhere."""
    first = items[:1][:, channel].flat[0]
    return all(
        bool((part[:, channel] == first).all()) for part in chunks(items, range(len(items)))
    )


def read_coding(kind: type[Coding], fields: dict[str, Any]) -> Coding:
    """Coding from the dict of its ``to_json``, whatever that holds.

    Raises:
        DataError: a field that is missing or of the wrong type.
    """
    try:
        return kind.from_json(fields)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"the data coding in the file is damaged: {error!r}.") from error


def measure(items: np.ndarray, train: np.ndarray, kind: str) -> Coding:
    """Coding measured on the training items only.

    8-bit values are counted (exact in integers); real numbers take two passes in float64.
    """
    if items.dtype == np.uint8:
        mean, std = moments_of_bytes(items, train)
        return Coding(mean, std, kind, low=0.0, high=255.0, levels=256)
    mean, std = moments_of_reals(items, train)
    low, high = usual_range(items) if kind == "image" else (None, None)
    return Coding(mean, std, kind, low=low, high=high)


def fields_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Arguments that every coding of channels has, from the dict of its ``to_json``."""
    return {
        "mean": tuple(float(v) for v in fields["mean"]),
        "std": tuple(float(v) for v in fields["std"]),
        "kind": str(fields["kind"]),
        "low": None if fields["low"] is None else float(fields["low"]),
        "high": None if fields["high"] is None else float(fields["high"]),
        "levels": None if fields["levels"] is None else int(fields["levels"]),
    }
