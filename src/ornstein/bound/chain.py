"""The reverse chain that a denoiser makes of a list of levels, and the terms of its bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ornstein.bound.decoder import Decoder, Density
from ornstein.core import VARIANCES, Bridge, Estimate, Level, bridge, check_descent, spread
from ornstein.core.variance import resolve
from ornstein.errors import LevelError, look_up


@dataclass(frozen=True)
class Chain:
    """p(x_s | x_t) for neighbouring levels of a grid, and p(x0 | x_1) for the last.

    Attributes:
        levels: From most noise to clean, (n + 1,).
        variance: Key of ``VARIANCES``.
        decoder: Of the last step.

    Raises:
        LevelError: the grid does not lead from noise to clean data.
        UsageError: unknown variance.
    """

    levels: Level
    variance: str = "own"
    decoder: Decoder = field(default_factory=Density)

    def __post_init__(self) -> None:
        check_descent(self.levels)
        if float(self.levels.sigma[-1]) != 0:
            raise LevelError(
                f"the bound is that of clean data, but the grid ends at {self.levels[-1]}. "
                "Append a level with sigma = 0."
            )
        look_up("variance", self.variance, VARIANCES)

    @property
    def steps(self) -> int:
        """Steps of the chain, the decoder's included."""
        return len(self.levels) - 1

    @cached_property
    def floor(self) -> Tensor:
        """What stands for the lower variance of the last step, which is 0: that of the one before.

        (arXiv:2102.09672, section 3.1, as in its code.) It is taken on the variance-preserving
        scale and given on that of the data.
        """
        t, s = self.levels[max(0, self.steps - 2)], self.levels[max(1, self.steps - 1)]
        x = t.sigma.new_zeros(1, 1)
        law = bridge(x, x, t, s)
        last = law.lower if self.steps > 1 else law.upper
        return last * (self.levels[-1].alpha / s.norm) ** 2

    def reverse(self, estimate: Estimate, x: Tensor, t: Level, s: Level) -> tuple[Bridge, Tensor]:
        """Return the bridge at the estimate and the variance of p(x_s | x_t), (B, *D) each."""
        law = bridge(x, estimate.x0, t, s)
        name = resolve(self.variance, estimate)
        if name != "analytic":  # which is not 0 anywhere
            clean = s.sigma == 0
            floor = self.floor.to(law.lower.device)
            law = law._replace(lower=torch.where(clean, floor, law.lower))
            if name == "large":  # the decoder is narrow whichever bound the steps take
                law = law._replace(upper=torch.where(clean, floor, law.upper))
        return law, VARIANCES[name](law, estimate)

    def term(self, estimate: Estimate, x: Tensor, x0: Tensor, t: Level, s: Level) -> Tensor:
        """L_{t-1} or, where s is clean, L_0, in nats of each dimension, (B, *D) float64.

        The first is KL(q(x_s | x_t, x0) || p(x_s | x_t)) (arXiv:2006.11239, eq. 5). Its gradient
        reaches the estimate.

        Args:
            estimate: The denoiser's answer at x.
            x: Noisy point at level t, (B, *D).
            x0: Clean point.
            t: Level of x, () or (B,), of the grid.
            s: The one after it.
        """
        estimate = Estimate._make(None if part is None else part.double() for part in estimate)
        x, x0 = x.double(), x0.double()
        law, variance = self.reverse(estimate, x, t, s)
        clean = s.sigma == 0
        if bool(clean.all()):
            return self.decode(estimate, x, x0, t, s, variance)
        exact = spread(torch.where(clean, self.floor.to(t.sigma.device), law.lower), x)
        # The means differ by pull·(x0 - estimate): their own difference would lose its digits.
        apart = spread(law.pull, x) * (x0 - estimate.x0)
        kl = 0.5 * ((variance / exact).log() + (exact + apart**2) / variance - 1)
        if not bool(clean.any()):
            return kl
        return torch.where(spread(clean, x) > 0, self.decode(estimate, x, x0, t, s, variance), kl)

    def decode(
        self, estimate: Estimate, x: Tensor, x0: Tensor, t: Level, s: Level, variance: Tensor
    ) -> Tensor:
        """-log p(x0 | x_t) in nats of each dimension, (B, *D)."""
        if self.decoder.reads_x:
            return self.decoder(x0, x / spread(t.alpha, x), spread(t.rho**2, x))
        return self.decoder(x0, estimate.x0, variance / spread(s.alpha**2, x))
