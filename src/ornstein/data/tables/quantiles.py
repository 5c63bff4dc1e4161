"""A monotone map of one column of numbers to a standard normal one, with its inverse.

Every recorded number stands for the cell it was rounded to: 37 of whole numbers for 36.5 to 37.5.
The map takes a number to the middle, in probability, of its cell, and a code back to the number
whose cell holds it. So numbers that come often (the zeros of rain) take as much room as they have
probability, between others nothing leaks, and codes near the right one give the right number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KNOTS = 128  # quantiles that a column is described by, besides numbers that come often
OFTEN = 3  # a number that comes so often, and as often as a quantile is wide, has its own cell
_SPARE = 1e-3  # of the probability, spread over all knots: so the map rises where no data lie
_REACH = 4.0  # codes go so far beyond the outermost knots


@dataclass(frozen=True)
class Quantiles:
    """A piecewise linear map, rising from ``values`` to ``codes``.

    Attributes:
        values: Numbers, not falling; the same twice where it comes often.
        codes: Their places on the normal axis, rising.
        step: Width of a cell, 0 for numbers that were not rounded.
    """

    values: tuple[float, ...]
    codes: tuple[float, ...]
    step: float

    @property
    def repeats(self) -> bool:
        """Whether some number comes so often that it has a cell of its own."""
        return bool((np.diff(self.values) <= self.step).any())

    def code(self, numbers: np.ndarray) -> np.ndarray:
        """Code of each number, (N,) float64: the middle of its cell in probability."""
        import torch

        half = self.step / 2
        ends = [self._inverse(numbers - half, "left"), self._inverse(numbers + half, "right")]
        # The tails are mirrored, where probabilities near 1 would lose their digits.
        sign = np.where(ends[0] + ends[1] > 0, -1.0, 1.0)
        low, high = (torch.special.ndtr(torch.from_numpy(sign * end)) for end in ends)
        middle = torch.special.ndtri((low + high) / 2).numpy()
        found: np.ndarray = np.where(ends[0] == ends[1], ends[0], sign * middle)
        return found

    def number(self, codes: np.ndarray) -> np.ndarray:
        """Number of each code, not yet rounded, (N,) float64."""
        return np.asarray(np.interp(codes, self.codes, self.values))

    def _inverse(self, numbers: np.ndarray, side: str) -> np.ndarray:
        """Least ("left") or greatest ("right") code that the map takes to each number."""
        values, codes = np.array(self.values), np.array(self.codes)
        after = np.searchsorted(values, numbers, side="left" if side == "left" else "right")
        after = after.clip(1, len(values) - 1)
        low, high = values[after - 1], values[after]
        width = np.where(high > low, high - low, 1.0)
        share = ((numbers - low) / width).clip(0, 1)
        share = np.where(high > low, share, float(side == "right"))
        return np.asarray(codes[after - 1] + share * (codes[after] - codes[after - 1]))


def measure_quantiles(numbers: np.ndarray, step: float) -> Quantiles:
    """Map measured on the numbers of a training part, (N,), at least one of them."""
    import torch

    n = len(numbers)
    found, count = np.unique(numbers, return_counts=True)
    below = np.concatenate([[0.0], np.cumsum(count)[:-1]]) / n
    share = count / n
    picked = np.unique(np.searchsorted(np.cumsum(count), np.linspace(0.5, n - 0.5, KNOTS)))
    often = (count >= OFTEN) & (share >= 1 / KNOTS)
    picked = np.union1d(picked.clip(0, len(found) - 1), np.flatnonzero(often))
    values, places = [], []
    for k in picked:
        if often[k] or len(picked) == 1:
            values += [found[k] - step / 2, found[k] + step / 2]
            places += [below[k], below[k] + share[k]]
        else:
            values.append(found[k])
            places.append(below[k] + share[k] / 2)
    spread = np.linspace(0, 1, len(places))
    places_ = (1 - _SPARE) * np.array(places) + _SPARE * spread
    codes = torch.special.ndtri(torch.from_numpy(places_.clip(0.5 / (n + 1), 1 - 0.5 / (n + 1))))
    return _reaching(np.array(values), codes.numpy(), step)


def _reaching(values: np.ndarray, codes: np.ndarray, step: float) -> Quantiles:
    """The map with straight tails, so that numbers beyond those measured have codes too."""
    codes = np.maximum.accumulate(codes + 1e-6 * np.arange(len(codes)))
    scale = max(float(values[-1] - values[0]) / max(float(codes[-1] - codes[0]), 1.0), step)
    reach = scale * _REACH or 1.0
    ends = values[0] - reach, values[-1] + reach
    return Quantiles(
        values=(float(ends[0]), *map(float, values), float(ends[1])),
        codes=(float(codes[0] - _REACH), *map(float, codes), float(codes[-1] + _REACH)),
        step=step,
    )
