"""The one formula of the multistep and single-step solvers.

In a frame the flow is z_s = z_t + ∫ slope dm. The slope is replaced by the polynomial, in some
clock, through the answers at hand, and the integral of that polynomial is taken exactly:

    x_s = first-order point + sum_j w_j·(slope_j - slope_t)

With places u_j = (c_j - c_t)/(c_s - c_t) on the clock c the weights solve sum_j w_j·u_j^k = mu_k,
k = 1, 2, ..., where mu_k is the moment ∫ u^k dm of the frame's clock over the step. Written as
differences to the answer at t, a step is finite at pure noise and keeps its digits in float32.
Methods differ in frame, clock and number of answers, and some round a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ornstein.core import Estimate, Level, spread
from ornstein.solvers.frame import Clock, Frame


def _gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    """Return the places in (0, 1) and the shares of Gauss's rule (Golub and Welsch 1969)."""
    k = torch.arange(1, count, dtype=torch.float64)
    side = k / (4 * k * k - 1).sqrt()
    places, axes = torch.linalg.eigh(side.diag(1) + side.diag(-1))
    return 0.5 * (1 + places), axes[0] ** 2


# Exact to rounding, even where one step crosses the log-SNR of a whole grid.
_PLACES, _SHARES = _gauss_legendre(32)


class Answer(NamedTuple):
    """A slope, (B, *D), and its place on the clock."""

    slope: Tensor
    place: Tensor


@dataclass(frozen=True)
class Span:
    """A step from level t to level s: of x in a frame, of the polynomial on a clock."""

    frame: Frame
    clock: Clock
    t: Level
    s: Level

    @property
    def length(self) -> Tensor:
        """Length of the step on the clock."""
        return self.clock(self.s) - self.clock(self.t)

    @property
    def stride(self) -> Tensor:
        """The moment mu_0, in units of x."""
        return self.frame.stride(self.t, self.s)

    @property
    def finite(self) -> bool:
        """Whether both ends have a place on the clock."""
        return bool(torch.isfinite(self.length + self.stride).all())

    def moments(self, count: int) -> Tensor:
        """The moments mu_1 to mu_count, in units of x, in the last dimension.

        By parts: mu_k = k·∫ u^(k-1)·(m_s - m(u)) du, which needs no derivative of a clock.
        """
        u, share = (part.to(self.t.alpha.device) for part in (_PLACES, _SHARES))
        inside = self.clock.level(self.clock(self.t)[..., None] + self.length[..., None] * u)
        left = self.frame.clock(self.s)[..., None] - self.frame.clock(inside)
        left = self.frame.scale(self.s)[..., None] * left * share
        return torch.stack([k * (left * u ** (k - 1)).sum(-1) for k in range(1, count + 1)], -1)

    def flat(self, count: int) -> Tensor:
        """What the moments would be if the frame's clock ran evenly on this one."""
        return self.stride[..., None] / torch.arange(2, count + 2, device=self.stride.device)


@dataclass(frozen=True)
class Framed:
    """What the solvers of this formula share: a frame, and a clock for its polynomials.

    Args:
        frame: What the flow is written in.
        clock: In what the slope is a polynomial; None for the frame's own.
    """

    frame: Frame
    clock: Clock | None = None

    def span(self, t: Level, s: Level) -> Span:
        """Return the step from t to s."""
        return Span(self.frame, self.clock or self.frame.clock, t, s)

    def answer(self, estimate: Estimate, level: Level) -> Answer:
        """Return the slope of an estimate and the place of its level."""
        clock = self.clock or self.frame.clock
        return Answer(self.frame.slope(estimate, level), clock(level))


@dataclass(frozen=True)
class Rule:
    """How the weights follow from the places of the answers.

    Attributes:
        weights: Of a span and the places, (..., J) in units of the step; (..., J) in units of x.
        order: The highest order that it keeps.
    """

    weights: Callable[[Span, Tensor], Tensor]
    order: int = 9


def _fit(places: Tensor, moments: Tensor) -> Tensor:
    k = torch.arange(1, places.shape[-1] + 1, device=places.device)
    solved: Tensor = torch.linalg.solve(places[..., None, :] ** k[:, None], moments)
    return solved


def _exact(span: Span, places: Tensor) -> Tensor:
    return _fit(places, span.moments(places.shape[-1]))


def _midpoint(span: Span, places: Tensor) -> Tensor:
    return _fit(places, span.flat(1)) if places.shape[-1] == 1 else _exact(span, places)


def _published(span: Span, places: Tensor) -> Tensor:
    if places.shape[-1] != 2:
        return _midpoint(span, places)
    return _fit(places, span.moments(2) * torch.tensor([1, 0.5], device=places.device))


def _adams(span: Span, places: Tensor) -> Tensor:
    count = places.shape[-1]
    return _fit(-torch.arange(1, count + 1).to(places).expand_as(places), span.flat(count))


EXACT = Rule(_exact)
"""The moments as they are."""

MIDPOINT = Rule(_midpoint)
"""A line through two answers counts as its value half-way: DPM-Solver's shortcut, UniPC's bh2."""

PUBLISHED = Rule(_published, order=2)
"""DPM-Solver's third order as published and shipped: half of the second moment."""

ADAMS = Rule(_adams, order=2)
"""The textbook's weights 3/2, -1/2; 23/12, ...: as if answers and clock were evenly spaced."""


def bend(point: Tensor, rule: Rule, span: Span, now: Answer, others: Sequence[Answer]) -> Tensor:
    """Turn the first-order point of a step into that of the polynomial through all answers.

    Args:
        point: x at the end of the span for a constant slope, (B, *D).
        rule: How to weigh.
        span: The step.
        now: The answer at the start of the span.
        others: Those at other levels. Without any, or over an infinite span, the point stays.
    """
    if not others or not span.finite:
        return point
    places = torch.stack([(other.place - now.place) / span.length for other in others], -1)
    weights = rule.weights(span, places).unbind(-1)
    for weight, other in zip(weights, others, strict=True):
        point = point + spread(weight, point) * (other.slope - now.slope)
    return point
