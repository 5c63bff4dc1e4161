"""Guidance by a classifier that knows noisy items."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ornstein.core import Denoiser, Estimate, Level, spread


class LogProbability(Protocol):
    """log p(y | x) of each item under the class it is to be, (B, *D) to (B,)."""

    def __call__(self, x: Tensor, level: Level, /) -> Tensor: ...


def classifier_guided(denoise: Denoiser, log_prob: LogProbability, scale: float) -> Denoiser:
    """Add scale·grad log p(y | x) to the score (ADM-G, arXiv:2105.05233, algorithm 2).

    On an unconditional denoiser scale 1 is Bayes' rule and 0 is off. Pure noise tells nothing of
    a class, so nothing is added there.

    Args:
        denoise: Any denoiser.
        log_prob: Of the wished class, differentiable in x, at any level.
        scale: Weight of the classifier.
    """

    def guided(x: Tensor, level: Level) -> Estimate:
        answer = denoise(x, level)
        pull = _gradient(log_prob, x, level)
        # Tweedie: eps = -sigma·score, and x0 = (x + sigma²·score)/alpha.
        gain = torch.where(level.alpha > 0, level.sigma**2 / level.alpha, 0.0)
        return answer._replace(
            x0=answer.x0 + scale * spread(gain, x) * pull,
            eps=answer.eps - scale * spread(gain * level.alpha / level.sigma, x) * pull,
        )

    return guided


def _gradient(log_prob: LogProbability, x: Tensor, level: Level) -> Tensor:
    """Gradient of each item's log p(y | x), (B, *D); constant to who differentiates the answer.

    So edits that do need no second derivative of the classifier, which fused attention has not.
    """
    with torch.enable_grad():
        # Inside of torch.func, where x is differentiated already, requires_grad_ is refused.
        point = x if x.requires_grad else x.detach().requires_grad_()
        (pull,) = torch.autograd.grad(log_prob(point, level).sum(), point)
    return pull.detach()
