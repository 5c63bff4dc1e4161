"""UniPC (arXiv:2302.04867): a multistep predictor, mended by the next answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ornstein.core import Denoiser, Draw, Level, spread
from ornstein.solvers.base import State
from ornstein.solvers.frame import DATA, LOG_SNR, Clock, Frame
from ornstein.solvers.multistep import Multistep
from ornstein.solvers.weights import EXACT, MIDPOINT, Answer, Rule, Span, bend


def _bh1(span: Span, places: Tensor) -> Tensor:
    # B(h) = h for the first of UniPC's shortcuts: the speed of the frame's clock at s, times h.
    if places.shape[-1] > 1:
        return EXACT.weights(span, places)
    speed = span.s.alpha if span.frame is DATA else -span.s.sigma
    return 0.25 * (speed * span.length)[..., None] / places  # the clock runs twice as fast as h


BH1 = Rule(_bh1)
"""A line through two answers counts half of h (for a frame of x0 or eps in the log-SNR)."""

BH2 = MIDPOINT
"""It counts half of the step; from three answers on the two rules are one."""


class Made(NamedTuple):
    """A step that the next answer will mend: its first-order point, and what it was bent by."""

    point: Tensor
    span: Span
    now: Answer
    earlier: tuple[Answer, ...]


@dataclass(frozen=True)
class UniPC(Multistep):
    """UniP of order ``points``, and UniC that raises it by one (arXiv:2302.04867, algorithms 1-2).

    The answer at the predicted point serves twice: it mends that point, and starts the next step.
    The last point of a walk is not mended. Without the corrector UniP is ``Multistep`` with the
    same fields.

    Args:
        frame: DATA for x0, or RHO for eps.
        clock: The log-SNR.
        points: Answers of the predictor; the corrector has one more.
        rule: BH1 or BH2.
    """

    frame: Frame = DATA
    clock: Clock | None = LOG_SNR
    points: int = 2
    rule: Rule = BH2

    @property
    def order(self) -> int:
        """One more than the predictor's."""
        return self.points + 1

    def init(self) -> State:
        """No earlier answers, and no step to mend."""
        return (), None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        """Mend x with the answer there, and predict x at level s."""
        answers, made = state
        estimate = denoise(x, t)
        span, now = self.span(t, s), self.answer(estimate, t)
        point = self.frame.point(estimate, t, s, randn)
        if made is not None:
            mended = bend(made.point, self.rule, made.span, made.now, (now, *made.earlier))
            ratio = self.frame.scale(s) / self.frame.scale(t)
            point = point + spread(ratio, x) * (mended - x)
        earlier = answers[: self.points - 1]
        y = bend(point, self.rule, span, now, earlier)
        made = Made(point, span, now, earlier) if span.finite else None
        return y, (self.kept(now, answers), made)
