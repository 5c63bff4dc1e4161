"""How a pair of answers is mixed, in plain values that a command or a file can hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ornstein.core import Denoiser, Level
from ornstein.errors import UsageError, look_up
from ornstein.guide.mix import (
    Mix,
    Pair,
    across,
    inside,
    mixed,
    renoised,
    rescaled,
    towards,
    within,
)

GUIDES: dict[str, Callable[[float, Level], Mix]] = {
    "cfg": lambda scale, levels: towards(scale),
    "cfg++": renoised,
    "apg": lambda scale, levels: across(scale),
}


@dataclass(frozen=True, order=True)
class Guide:
    """The manner of guidance; its strength is a number beside it.

    Attributes:
        kind: Key of ``GUIDES``.
        low: Levels are guided whose sigma/alpha is above this
        high: and at most this.
        rescale: Share of the way back to the deviation that the unguided answer has.
    """

    kind: str = "cfg"
    low: float = 0.0
    high: float = math.inf
    rescale: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: an unknown kind, an empty interval, or a share that is none.
        """
        look_up("guidance", self.kind, GUIDES)
        if not 0 <= self.low < self.high:
            raise UsageError(
                "guidance is kept to levels of sigma/alpha from a low to a higher number, not "
                f"{self.low:g} to {self.high:g}."
            )
        if not 0 <= self.rescale <= 1:
            raise UsageError(
                f"guidance is rescaled by a share from 0 (off) to 1, not {self.rescale:g}."
            )

    def off(self, scale: float) -> bool:
        """Whether this scale leaves the conditional answer as it is."""
        return scale == 1 and self.kind != "cfg++"

    @property
    def settings(self) -> dict[str, Any]:
        """All of it, fit for JSON, which has no infinity; nothing where it is the plainest."""
        said = {k: None if v == math.inf else v for k, v in asdict(self).items()}
        return {} if self == Guide() else {"guide": said}

    def at(self, level: Level) -> Tensor:
        """Whether each level is guided, bool of its shape."""
        return inside(level, self.low, self.high)

    def bind(self, plain: Denoiser, pair: Pair, scale: float, levels: Level) -> Denoiser:
        """Guide on the way along a grid.

        Args:
            plain: The first of the pair alone.
            pair: What is mixed.
            scale: Strength: 1 is off, except for cfg++, whose scale goes from 0 to 1.
            levels: The grid that is walked.
        """
        if self.off(scale):
            return plain
        mix = GUIDES[self.kind](scale, levels)
        guided = mixed(pair, rescaled(mix, self.rescale) if self.rescale else mix)
        if self.low == 0 and self.high == math.inf:
            return guided
        return within(guided, plain, self.low, self.high)
